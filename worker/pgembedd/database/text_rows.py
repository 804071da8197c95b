"""Rows as texts, by libpq's own call: of a short statement psycopg's cursor takes half of the processor time."""

from collections.abc import Mapping
from functools import cache
from typing import LiteralString

import psycopg
from psycopg.pq import ExecStatus


def text_rows(
    connection: psycopg.Connection, statement: LiteralString, values: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Returns the rows of a statement whose columns are texts, none of them null. psycopg.Error."""
    given = [value.encode() for value in values.values()]
    result = connection.pgconn.exec_params(_numbered(statement, tuple(values)), given)
    if result.status != ExecStatus.TUPLES_OK:
        return connection.execute(statement, values).fetchall()  # which has the same error, as an exception
    cell, columns = result.get_value, range(result.nfields)
    return [tuple([(cell(row, one) or b"").decode() for one in columns]) for row in range(result.ntuples)]


@cache
def _numbered(statement: LiteralString, names: tuple[str, ...]) -> bytes:
    """Returns the statement with the parameters of libpq."""
    numbered: str = statement
    for number, name in enumerate(names, 1):
        numbered = numbered.replace(f"%({name})s", f"${number}")
    return numbered.encode()

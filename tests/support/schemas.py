"""Databases whose functions are, for a while, not those of this version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.sql import column

FUNCTIONS = """
    select oid::regprocedure::text from pg_proc
    where pronamespace = 'pgembedd'::regnamespace and proname = any (%s::text[])
"""


@contextmanager
def without(connection: psycopg.Connection, *names: str) -> Iterator[None]:
    """While the block runs the database has no functions of these names."""
    found = column(connection, FUNCTIONS, list(names))
    assert len(found) >= len(names), names
    for function in found:
        name = function.removeprefix("pgembedd.").partition("(")[0]
        connection.execute(
            f"alter routine pgembedd.{function.removeprefix('pgembedd.')} rename to away_{name}".encode()
        )
    try:
        yield
    finally:
        for function in found:
            name, _, rest = function.removeprefix("pgembedd.").partition("(")
            connection.execute(f"alter routine pgembedd.away_{name}({rest} rename to {name}".encode())

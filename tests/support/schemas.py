"""Databases whose functions are, for a while, not those of this version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.sql import column

FUNCTIONS = """
    select oid::regprocedure::text from pg_proc
    where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace) and proname = any (%s::text[])
"""


@contextmanager
def without(connection: psycopg.Connection, *names: str) -> Iterator[None]:
    """While the block runs the database has no functions of these names."""
    found = column(connection, FUNCTIONS, list(names))
    assert len(found) >= len(names), names
    for function in found:
        name = function.partition("(")[0].partition(".")[2]
        connection.execute(f"alter routine {function} rename to away_{name}".encode())
    try:
        yield
    finally:
        for function in found:
            schema, _, rest = function.partition(".")
            name, _, arguments = rest.partition("(")
            connection.execute(f"alter routine {schema}.away_{name}({arguments} rename to {name}".encode())

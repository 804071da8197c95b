"""What is no key of a pipeline is refused with one sentence by every function that takes keys."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import column, create_pipeline, make_documents
from tests.support.transaction import connection

__all__ = ["connection"]

CALLS = {
    "requeue": "select pgembedd.requeue('{name}', array[{key}])",
    "row_status": "select pgembedd.row_status('{name}', array[{key}])",
    "search_row": "select pgembedd.search_row('{name}', {key})",
    "similar": "select pgembedd.\"similar\"('{name}', {key})",
    "wait_for_row": "call pgembedd.wait_for_row('{name}', {key})",
}
ONE, TWO = (
    "A row is named by its key, id (integer).",
    "A row is named by its key as a JSON object: a (integer), b (date).",
)
MISTYPED = {
    '"abc"': 'invalid input syntax for type integer: "abc"',
    "99999999999": 'value "99999999999" is out of range for type integer',
    '{"id": 7}': 'invalid input syntax for type integer: "{"id": 7}"',
    "[7]": 'invalid input syntax for type integer: "[7]"',
}


@prepared
def two_tables(connection: psycopg.Connection) -> None:
    """`documents` by a number, and `pairs` by a number and a date."""
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("create table pairs (a int, b date, title text, primary key (a, b))")
    create_pipeline(connection, pipeline="pairs", source="pairs", content_columns=["title"])
    connection.execute("delete from pgmq.q_pgembedd_backfill")


@pytest.mark.own_database
@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("key", MISTYPED)
def test_a_key_of_another_type(two_tables: psycopg.Connection, function: str, key: str) -> None:
    call = CALLS[function].format(name="documents", key=f"'{key}'::jsonb")
    with refused(f'{key} is no key of "documents": {MISTYPED[key]}.', ONE):
        two_tables.execute(call.encode())


@pytest.mark.own_database
@pytest.mark.parametrize("function", CALLS)
def test_a_composite_key_of_other_types(two_tables: psycopg.Connection, function: str) -> None:
    for key, reason in (
        ("7", ""),
        ('"abc"', ""),
        ('{"a": "abc", "b": "2026-01-01"}', ': invalid input syntax for type integer: "abc"'),
        ('{"a": 1, "b": "2026-13-01"}', ': date/time field value out of range: "2026-13-01"'),
    ):
        with refused(f'{key} is no key of "pairs"{reason}.', TWO):
            two_tables.execute(CALLS[function].format(name="pairs", key=f"'{key}'::jsonb").encode())


def test_each_function_that_takes_keys_is_tried(connection: psycopg.Connection) -> None:
    taking = column(
        connection,
        "select proname::text from pg_proc where pronamespace = 'pgembedd'::regnamespace"
        " and proargnames[1:pronargs] && '{key,keys}' order by proname",
    )
    assert taking == sorted(CALLS)

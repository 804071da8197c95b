"""Numbers in sentences agree with their nouns: 1 job, 2 jobs."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.text.quantities import counted
from tests.support.search import search
from tests.support.sql import create_pipeline, make_documents, value
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.mark.parametrize("number", [0, 1, 2, 10**12])
@pytest.mark.parametrize("nouns", [("job", None), ("row is", "rows are")])
def test_sql_and_python_count_alike(connection: psycopg.Connection, number: int, nouns: tuple[str, str | None]) -> None:
    assert value(connection, "select pgembedd_internal._counted(%s, %s, %s)", number, *nouns) == counted(number, *nouns)


def test_one_row_waits(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    connection.execute("update documents set content = repeat('word ', 1000)")
    told: list[str | None] = []
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
    create_pipeline(connection, model="a:model")
    assert str(told.pop(0)).startswith("1 of 1 sampled row of public.documents seems to be longer than 512 tokens")
    assert search(connection) == []
    rest = "in the backfill: rows without a vector are not found yet, others by their old one."
    assert told == [f'1 job of "documents" waits {rest}']

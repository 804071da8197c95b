"""What searches know of a pipeline is prepared, and looked up again where its tables are not what they were."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.search import make_source, search
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection"]

# Each with what the record of a hit has then.
ALTERED = {
    "alter table documents rename content to body": ("body", "content 1"),
    "alter table documents rename id to number": ("number", 1),
    "alter table documents add note text default 'new'": ("note", "new"),
    "alter table documents alter share type text using 'now a text'": ("share", "now a text"),
    "alter table documents rename to papers": ("id", 1),
    "create schema app; alter table documents set schema app": ("id", 1),
    "create domain small as int; alter table documents alter id type small": ("id", 1),
    "alter table documents alter id type bigint": ("id", 1),
}


def known(connection: psycopg.Connection) -> Any:
    """Whether what was prepared is what a search uses."""
    return value(
        connection,
        "select s.basis = pgembedd_internal._search_basis(p) from pgembedd_internal.prepared_search s"
        " join pgembedd_internal.pipeline p on p.id = s.pipeline_id",
    )


def test_what_is_prepared_is_used(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    connection.execute(
        "update pgembedd_internal.prepared_search"
        " set target = target || jsonb_build_object('row_expression', '''{\"prepared\": 1}''::pg_catalog.jsonb')"
    )
    assert search(connection, k=1)[0].record == {"prepared": 1}


@pytest.mark.parametrize("statement", ALTERED)
def test_a_table_that_is_altered_is_searched_as_it_is(connection: psycopg.Connection, statement: str) -> None:
    make_source(connection, 3)
    assert known(connection)
    connection.execute(statement)
    assert not known(connection)
    name, shown = ALTERED[statement]
    assert shown in [hit.record[name] for hit in search(connection, k=3)]


def test_an_embedding_table_that_is_renamed_is_searched(connection: psycopg.Connection) -> None:
    make_source(connection, 3, embedding_table="chunks")
    assert known(connection)
    connection.execute("alter table chunks rename to parts")
    assert not known(connection)
    assert len(search(connection, k=3)) == 3

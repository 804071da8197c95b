"""What SQL knows of the built-in models is what the program that migrated last brought."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.model.specs import DEFAULT_MODEL, GTE_SMALL, REGISTRY, RERANKERS
from tests.support.databases import Database
from tests.support.sql import column, make_documents, value

CREATE = "select pgembedd.create_pipeline('documents', 'documents', array['title'], model => 'Big')"


def test_a_model_of_another_size_needs_its_spec_alone(
    database: Database, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_documents(connection)
    with monkeypatch.context() as patch:
        patch.setitem(REGISTRY, "big", replace(GTE_SMALL, name="big", aliases=("huge",), dims=768))
        migrate(database.conninfo)
    connection.execute(CREATE)
    assert value(connection, "select dimensions from pgembedd_internal.pipeline") == 768
    connection.execute("select pgembedd.change_model('documents', model => 'all-MiniLM-L6-v2')")
    assert column(connection, "select dimensions from pgembedd_internal.pipeline order by id") == [768, 384]


def test_the_rows_are_those_of_the_program_that_migrates(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("delete from pgembedd_internal.model where name = 'gte-small'")
    connection.execute("update pgembedd_internal.model set dimensions = 5")
    connection.execute("insert into pgembedd_internal.model values ('of another release', '{x}', 7)")
    migrate(database.conninfo)
    expected = {spec.name: spec.dims or None for spec in (*REGISTRY.values(), *RERANKERS.values())}
    assert dict(connection.execute("select name, dimensions from pgembedd_internal.model").fetchall()) == expected


def test_the_default_model_is_that_of_python(connection: psycopg.Connection) -> None:
    defaults = "select pg_get_function_arguments('pgembedd.create_pipeline'::regproc)"
    assert f"model text DEFAULT '{DEFAULT_MODEL}'::text" in value(connection, defaults)

"""A role that may read the source may read its chunks, other roles may not, and no role may write to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.pages import contracts, pages, parse_all
from tests.support.roles import Roles, connect_as
from tests.support.sql import call, column, create_pipeline, make_documents, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

SECRET = "create policy mine on documents using (id <> 2)"


@pytest.fixture
def reader(roles: Roles, connection: psycopg.Connection) -> str:
    """A role that may read `documents`, whose chunks are made: of the rows 1 and 2."""
    name = roles.make("reader")
    make_documents(connection, 2)
    connection.execute(f"grant select on documents to {name}")
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    work(connection)
    return name


def seen(database: Database, role: str, relation: str) -> list[int]:
    with connect_as(database, role) as theirs:
        return sorted(set(column(theirs, f"select id from {relation}")))


@pytest.mark.parametrize("relation", ["chunks", "chunks_view"])
@pytest.mark.parametrize("paused", [False, True])
def test_what_is_hidden_or_taken_away_later(
    database: Database, connection: psycopg.Connection, reader: str, relation: str, paused: bool
) -> None:
    if paused:
        call(connection, "pause", pipeline="documents")
    assert seen(database, reader, relation) == [1, 2]
    connection.execute(f"alter table documents enable row level security; {SECRET}")
    connection.execute("select pgembedd.tick(0, 0)")
    assert seen(database, reader, relation) == [1]
    connection.execute(f"revoke select on documents from {reader}")
    connection.execute("select pgembedd.tick(0, 0)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(database, reader, relation)


@pytest.mark.parametrize("relation", ["chunks", "chunks_view"])
def test_what_is_taken_away_is_gone_at_once(
    roles: Roles, database: Database, connection: psycopg.Connection, reader: str, relation: str
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(f"alter table documents enable row level security; {SECRET}; set local role {reader}")
        assert column(connection, f"select distinct id from {relation}") == [1]
    connection.execute(f"revoke select on documents from {reader}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(database, reader, relation)


@pytest.mark.slow
def test_a_search_looks_up_the_rows_of_the_chunks_that_it_meets(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    reader = roles.make("reader")
    make_documents(connection, 5000)
    connection.execute(f"alter table documents enable row level security; grant select on documents to {reader}")
    connection.execute("create policy visible on documents using (id % 2 = 0)")
    create_pipeline(connection, embedding_table="chunks", index_type="hnsw")
    connection.execute(
        "insert into chunks select i, 0, 'c', 0, 1, ('[' || i || ',1,' || i % 7 || ']')::halfvec, '', 'x', 1, 1"
        " from generate_series(1, 5000) i"
    )
    connection.execute("analyze documents, chunks")
    with connect_as(database, reader) as theirs:
        plan = value(
            theirs, "explain (analyze, format json) select id from chunks order by embedding <=> '[1,1,1]' limit 10"
        )
    nodes = list(scans(plan[0]["Plan"]))
    assert {node["Relation Name"] for node in nodes} == {"chunks", "documents"}
    for node in nodes:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
        assert node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) <= 50, node


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the nodes of a plan that read a table."""
    if "Relation Name" in node:
        yield node
    for below in node.get("Plans", []):
        yield from scans(below)


def test_default_privileges_give_nothing_but_reading(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    anon = roles.make("anon")
    connection.execute(f"alter default privileges in schema public grant all on tables to {anon}")
    make_documents(connection, 1)
    connection.execute(f"revoke all on documents from {anon}; grant select on documents to {anon}")
    create_pipeline(connection, embedding_table="chunks")
    for relation in ("chunks", "chunks_view"):
        given = rows(
            connection,
            "select privilege_type from pg_class, aclexplode(relacl) where oid = %s::regclass"
            " and grantee = %s::regrole",
            relation,
            anon,
        )
        assert given == [("SELECT",)], relation


def test_a_relation_that_is_called_like_the_view_is_left_alone(roles: Roles, connection: psycopg.Connection) -> None:
    analyst, reader = roles.make("analyst"), roles.make("reader")
    make_documents(connection, 1)
    connection.execute(f"grant select on documents to {reader}; create table chunks_view (salary int)")
    connection.execute(f"grant select on chunks_view to {analyst}")
    create_pipeline(connection, embedding_table="chunks")
    assert value(connection, "select has_table_privilege(%s, 'chunks_view', 'select')", analyst)
    assert not value(connection, "select has_table_privilege(%s, 'chunks_view', 'select')", reader)
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)
    assert value(connection, "select to_regclass('chunks_view')") is not None


def test_columns_called_like_ours_and_like_our_way_out(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, content text, model text, embedding_model text)")
    create_pipeline(connection, content_columns=["content"], embedding_table="chunks")
    connection.execute("select model, embedding_model, pgembedd_model from chunks_view")


def test_who_may_read_a_file_may_read_its_pages(roles: Roles, connection: psycopg.Connection) -> None:
    reader = roles.make("reader")
    contracts(connection)
    connection.execute("insert into contracts values (1, 'lease', 'one'), (2, 'secret', 'hidden')")
    parse_all(connection)
    connection.execute(f"alter table contracts enable row level security; grant select on contracts to {reader}")
    connection.execute(f"create policy own on contracts to {reader} using (id = 1)")
    connection.execute("select pgembedd.sweep(), pgembedd.grant_search(%s::text::regrole)", (reader,))
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local role {reader}")
        assert pages(connection) == [(1, 1, "one")]
        found = "select key, status from pgembedd.row_status('contract_text', array['1', '2']::jsonb[])"
        assert rows(connection, found) == [(1, "parsed")]

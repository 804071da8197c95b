"""Queueing rows by key, and the keys that verify goes by."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.sql.generated_code.test_keys import KEYS, TYPES, _names
from tests.support.prepared import prepared
from tests.support.sql import (
    BACKFILL,
    FRESH,
    column,
    create_pipeline,
    empty,
    make_documents,
    queued,
    rows,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Ten rows that have their vectors."""
    make_documents(connection, 10)
    create_pipeline(connection)
    work(connection)


def requeue(connection: psycopg.Connection, *ids: Any, name: str = "documents") -> int:
    return int(
        value(connection, "select pgembedd.requeue(%s, %s::text[]::jsonb[])", name, [json.dumps(each) for each in ids])
    )


def test_rows_are_queued_behind_fresh_writes_once(documents: psycopg.Connection) -> None:
    assert requeue(documents, 3, 7, 3, 99) == 2
    assert (queued(documents, FRESH), sorted(queued(documents, BACKFILL))) == ([], [3, 7])
    assert requeue(documents, 3, 4) == 1
    documents.execute("update documents set title = 'new' where id = 5")
    assert requeue(documents, 5) == 0, "a fresh job will do"


def test_a_wrong_vector_heals(documents: psycopg.Connection) -> None:
    good = vectors(documents)
    documents.execute("alter table documents disable trigger all")
    documents.execute("update documents set embedding = '[1,2,3]' where id = 3")
    requeue(documents, 3)
    assert work(documents) == {3: "written"}
    assert vectors(documents) == good


def test_a_key_is_written_as_the_triggers_write_it(connection: psycopg.Connection) -> None:
    make_documents(connection, 1, key="id numeric(10, 2) primary key")
    create_pipeline(connection)
    empty(connection)
    assert requeue(connection, 1) == 1
    assert column(connection, "select message ->> 'id' from pgmq.q_pgembedd_backfill") == ["1.00"]
    assert requeue(connection, 1.0) == 0


@pytest.mark.own_database
@pytest.mark.parametrize("wrong", ["seven", {"id": 7}, [7]])
def test_what_is_no_key_is_refused(documents: psycopg.Connection, wrong: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='is no key of "documents"'):
        requeue(documents, 1, wrong)
    assert queued(documents, BACKFILL) == []


def test_a_pipeline_that_is_not_there(documents: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject, match='no pipeline "nope"'):
        requeue(documents, 1, name="nope")


# -- Keys, page by page and at random ----------------------------------------------------------------------


def pages(connection: psycopg.Connection, size: int, name: str = "documents") -> list[str]:
    """All keys as verify sees them, in its order."""
    found: list[str] = []
    after = None
    while page := column(connection, "select pgembedd_internal._next_keys(%s, %s::jsonb, %s)::text", name, after, size):
        found += page
        after = page[-1]
    return found


def sample(connection: psycopg.Connection, wanted: int, seed: int = 1, name: str = "documents") -> list[Any]:
    return column(connection, "select pgembedd_internal._sample_keys(%s, %s, %s)", name, wanted, seed)


@prepared
def typed(connection: psycopg.Connection) -> None:
    """The types of the keys."""
    connection.execute(TYPES)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_is_paged_once(connection: psycopg.Connection, kind: str) -> None:
    columns, samples = KEYS[kind]
    connection.execute(f"create table documents ({columns}, content text, primary key ({_names(columns)}))")
    connection.execute(f"insert into documents values {', '.join(f'({each}, $$x$$)' for each in samples)}")
    create_pipeline(connection, content_columns=["content"])
    sent = set(column(connection, "select (message -> 'id')::text from pgmq.q_pgembedd_backfill"))
    assert len(sent) == len(samples)
    found = pages(connection, 1)
    assert (set(found), len(found)) == (sent, len(sent))
    assert {json.dumps(each) for each in sample(connection, 10)} == {json.dumps(json.loads(each)) for each in sent}
    empty(connection)
    assert value(connection, "select pgembedd.requeue('documents', %s::text[]::jsonb[])", found) == len(sent)


def test_a_composite_key_is_paged_across_its_columns(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (a int, b text, c int, content text, primary key (a, b, c))")
    connection.execute(
        "insert into documents select a, b, c, 'x' from generate_series(1, 3) a, unnest('{x,y,Z}'::text[]) b,"
        " generate_series(1, 3) c"
    )
    create_pipeline(connection, content_columns=["content"])
    for size in (1, 2, 5, 27, 100):
        found = pages(connection, size)
        assert (len(found), len(set(found))) == (27, 27)


def test_paging_uses_the_index_of_the_key(connection: psycopg.Connection) -> None:
    connection.execute("create domain part as int")
    connection.execute("create table documents (a part, b part, content text, primary key (a, b))")
    connection.execute("insert into documents select i / 100, i, 'x' from generate_series(1, 20000) i")
    create_pipeline(connection, content_columns=["content"], backfill=False)
    connection.execute("analyze documents")
    read = "select seq_tup_read from pg_stat_xact_user_tables where relname = 'documents'"
    with connection.transaction():
        before = value(connection, read)  # what making the pipeline read, as far as it was not counted yet
        connection.execute("""select pgembedd_internal._next_keys('documents', '{"a": 150, "b": 15000}', 10)""")
        assert value(connection, read) == before


def test_a_sample_is_the_same_for_the_same_seed(connection: psycopg.Connection) -> None:
    make_documents(connection, 1000)
    create_pipeline(connection, backfill=False)
    first = sample(connection, 50, seed=1)
    assert len(set(first)) == 50
    assert sample(connection, 50, seed=1) == first
    assert set(sample(connection, 50, seed=2)) != set(first)
    assert len(sample(connection, 5000)) == 1000
    assert max(first) > 500 > min(first)


@pytest.mark.slow
def test_a_large_partitioned_table_is_sampled_by_blocks(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, content text) partition by hash (id)")
    for part in range(3):
        connection.execute(
            f"create table documents_{part} partition of documents for values with (modulus 3, remainder {part})"
        )
    connection.execute("insert into documents select i, 'x' from generate_series(1, 150000) i")
    connection.execute("analyze documents")
    create_pipeline(connection, content_columns=["content"], backfill=False)
    first = sample(connection, 100, seed=3)
    assert len(set(first)) == 100
    assert sample(connection, 100, seed=3) == first
    drawn = rows(connection, "select tableoid::regclass::text from documents where id = any (%s)", first)
    assert len(set(drawn)) == 3
    # What the statistics do not know of does not leave us without rows.
    connection.execute("delete from documents where id > 50")
    assert set(sample(connection, 100)) == set(range(1, 51))

"""create_pipeline makes what is missing and takes what fits."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.refusals import refused
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    column,
    connected,
    create_pipeline,
    made_up,
    make_documents,
    queued,
    read,
    rows,
    store,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

INDEXES = """
    select indexrelid::regclass::text from pg_index
    where indrelid = 'documents'::regclass and not indisprimary order by 1
"""
TYPE = """
    select format_type(atttypid, atttypmod) from pg_attribute
    where attrelid = 'documents'::regclass and attname = 'embedding'
"""


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, "halfvec(384)"),
        ({"vector_type": "vector"}, "vector(384)"),
        ({"vector_type": "vector", "dimensions": 5}, "vector(5)"),
        ({"dimensions": 3000}, "halfvec(3000)"),
    ],
)
def test_the_column_is_created(connection: psycopg.Connection, options: dict[str, object], made: str) -> None:
    make_documents(connection)
    create_pipeline(connection, **{"dimensions": 384, **options})
    assert value(connection, TYPE) == made


def test_the_indexes_are_created(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection, index_type="hnsw", index_options='{"m": 8, "ef_construction": 40}')
    hnsw, missing = (
        value(connection, "select pg_get_indexdef(%s::regclass)", name) for name in column(connection, INDEXES)
    )
    assert "USING hnsw (embedding halfvec_cosine_ops) WITH (m='8', ef_construction='40')" in hnsw
    assert missing.endswith("USING btree (id) WHERE (embedding IS NULL)")


@pytest.mark.parametrize("distance", ["cosine", "l2", "ip"])
def test_the_index_is_of_the_distance(connection: psycopg.Connection, distance: str) -> None:
    make_documents(connection)
    create_pipeline(connection, index_type="hnsw", distance=distance, vector_type="vector")
    definition = value(connection, "select pg_get_indexdef('documents_embedding_hnsw'::regclass)")
    assert f"vector_{distance}_ops" in definition


def test_a_fitting_index_is_taken(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("alter table documents add embedding halfvec(3)")
    connection.execute("create index mine on documents using hnsw (embedding halfvec_cosine_ops)")
    create_pipeline(connection, index_type="hnsw")
    assert column(connection, INDEXES) == ["documents_embedding_missing", "mine"]


def test_an_index_of_the_waiting_rows_is_taken(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("alter table documents add embedding halfvec(3)")
    connection.execute("create index others on documents (id) where title is null")
    connection.execute("create index mine on documents (id) where embedding is null")
    create_pipeline(connection, index_type="hnsw")
    assert column(connection, INDEXES) == ["documents_embedding_hnsw", "mine", "others"]


def test_an_index_of_other_columns_or_rows_is_not_taken(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("alter table documents add embedding halfvec(3)")
    connection.execute("create index other on documents (title) where embedding is null")
    connection.execute("create index all_rows on documents (id)")
    create_pipeline(connection, index_type="hnsw")
    made = ["documents_embedding_hnsw", "documents_embedding_missing"]
    assert column(connection, INDEXES) == ["all_rows", *made, "other"]


@pytest.mark.parametrize("mine", ["embedding halfvec_l2_ops", "embedding halfvec_cosine_ops) where (id > 5"])
def test_an_index_that_does_not_fit_is_not_taken(connection: psycopg.Connection, mine: str) -> None:
    make_documents(connection)
    connection.execute("alter table documents add embedding halfvec(3)")
    connection.execute(f"create index mine on documents using hnsw ({mine})")
    create_pipeline(connection, index_type="hnsw")
    assert column(connection, INDEXES) == ["documents_embedding_hnsw", "documents_embedding_missing", "mine"]


def test_index_names_that_are_taken_get_a_number(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("create table documents_embedding_hnsw ()")
    connection.execute("create view documents_embedding_missing as select 1")
    connection.execute("create sequence documents_embedding_missing2")
    create_pipeline(connection, index_type="hnsw")
    assert column(connection, INDEXES) == ["documents_embedding_hnsw2", "documents_embedding_missing3"]


def test_long_names_of_wide_letters_make_index_names(connection: psycopg.Connection) -> None:
    table, embedding = "文" * 21, "ベ" * 21  # 63 bytes each, the longest Postgres takes
    connection.execute(f'create table "{table}" (id int primary key, content text)')
    connection.execute("set statement_timeout = '1min'")
    options = {"content_columns": ["content"], "embedding_column": embedding, "index_type": "hnsw"}
    create_pipeline(connection, source=table, **options)
    created = column(
        connection,
        "select relname from pg_class, pgembedd_internal.pipeline where oid = any (created_indexes::regclass[])",
    )
    assert sorted(name.rpartition("_")[2] for name in created) == ["hnsw", "missing"]


def test_without_index(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection, index_type="none")
    assert column(connection, INDEXES) == []


def test_existing_rows_are_queued_in_the_backfill_lane(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    assert create_pipeline(connection) == 3
    assert queued(connection) == []
    assert sorted(queued(connection, BACKFILL)) == [1, 2, 3]


def test_without_backfill_nothing_is_queued(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    assert create_pipeline(connection, backfill=False) == 0
    assert queued(connection, BACKFILL) == []


@pytest.mark.slow
def test_the_extension_may_live_in_any_schema(server: EmbeddedPostgres) -> None:
    with fresh_database(server) as database:
        with database.connect() as connection:
            connection.execute('create schema "my extensions"')
            connection.execute('create extension vector schema "my extensions"')
        migrate(database.conninfo)
        with connected(database) as connection:
            make_documents(connection, 2)
            create_pipeline(connection, index_type="hnsw")
            assert set(work(connection).values()) == {"written"}


def test_drop_pipeline_leaves_the_vectors(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, index_type="hnsw")
    connection.execute("insert into documents values (3)")
    work(connection, ["pgembedd_backfill"])
    before = vectors(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    connection.execute("insert into documents values (4)")
    connection.execute("update documents set title = 'changed'")
    assert queued(connection) == queued(connection, BACKFILL) == []
    assert vectors(connection)[:3] == before
    assert column(connection, INDEXES) == ["documents_embedding_hnsw"]
    assert rows(connection, "select * from pg_trigger where tgrelid = 'documents'::regclass") == []
    assert rows(connection, "select * from pg_proc where proname like 'pipeline\\_1%%'") == []


def test_drop_pipeline_with_its_column(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, index_type="hnsw")
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)
    assert rows(connection, TYPE) == []


def test_drop_pipeline_spares_the_others(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, pipeline="one", embedding_column="one")
    for number in range(10):
        create_pipeline(connection, pipeline=f"other{number}", embedding_column=f"other{number}")
    call(
        connection, "drop_pipeline", pipeline="one"
    )  # the first of eleven: its functions are pipeline_1_…, not pipeline_1…
    connection.execute("insert into documents values (2)")
    assert queued(connection) == [2] * 10
    assert sorted(queued(connection, BACKFILL)) == [1] * 10


def test_drop_pipeline_after_its_table(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("drop table documents")
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)
    assert rows(connection, "select * from pgembedd_internal.pipeline") == []


def test_everything_is_one_transaction(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    with connection.transaction(force_rollback=True):
        create_pipeline(connection, index_type="hnsw")
    assert rows(connection, TYPE) == []
    assert queued(connection, BACKFILL) == []


def test_a_column_called_like_the_row_is_not_taken_for_it(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, body text, s text)")
    connection.execute("create function inp(d documents) returns text language sql as 'select d.body'")
    connection.execute("create function inp(t text) returns text language sql as $$select 'planted'$$")
    create_pipeline(connection, content_function="inp")
    connection.execute("insert into documents values (1, 'mine', 's')")
    work(connection)
    assert vectors(connection) == [made_up("mine")]


def test_the_model_that_serves_a_pipeline_first_is_pinned(connection: psycopg.Connection) -> None:
    """Whichever of two workers comes later is told of the first one's."""
    make_documents(connection)
    create_pipeline(connection)
    assert call(connection, "pin_model", pipeline_id=1, fingerprint="first") == "first"
    assert call(connection, "pin_model", pipeline_id=1, fingerprint="second") == "first"
    assert value(connection, "select fingerprint from pgembedd.status") == "first"
    for vector in ([1.0], [2.0]):
        assert value(connection, "select pgembedd_internal.probe_model(1, %s::real[])", vector) == [1.0]


def test_as_many_content_columns_as_a_function_takes_are_read_and_searched(connection: psycopg.Connection) -> None:
    names = [f"column_{number}" for number in range(100)]
    connection.execute(f"create table documents (id int primary key, {' text, '.join(names)} text)".encode())
    with refused("content_columns has 100 members, and at most 99 are taken.", "Give fewer at a time."):
        create_pipeline(connection, content_columns=names)
    create_pipeline(connection, content_columns=names[:99], text_config="english")
    connection.execute("insert into documents (id, column_0, column_98) values (1, 'first', 'last')")
    jobs = claim(connection)
    (content,) = read(connection, jobs)
    assert content.text == "first\n\nlast"
    store(connection, jobs)
    found = rows(connection, "select key, snippet from pgembedd.search('documents', 'last', mode => 'text')")
    assert found == [(1, "first\n\n**last**")]

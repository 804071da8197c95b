"""ALTER that rewrites contents fires no trigger: the sweep notices it and queues the rows, and nothing else."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.postgres_versions import has
from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, call, column, create_pipeline, look_twice, queued, rows, value, work

TABLE = """
    create type mood as enum ('happy', 'sad');
    create table documents (
        id int primary key, title text, content text, other int, feeling mood, named int,
        loud text generated always as (upper(title)) stored);
"""
COLUMNS = ["title", "content", "feeling", "named", "loud"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three embedded rows."""
    connection.execute(TABLE)
    create_pipeline(connection, content_columns=COLUMNS)
    fill(connection)


def fill(connection: psycopg.Connection) -> None:
    connection.execute(
        "insert into documents select i, 'title ' || i, 'text', i, 'happy', i from generate_series(1, 3) i"
    )
    work(connection)
    assert sweep(connection) == 0


def sweep(connection: psycopg.Connection) -> int:
    return int(value(connection, "select pgembedd.sweep()"))


@pytest.mark.parametrize(
    ("ddl", "said"),
    [
        ("alter table documents alter content type text using reverse(content)", "content"),
        ("alter table documents alter named type text using 'number ' || named", "named"),
        ("alter table documents alter named type numeric(9, 2)", "named"),
        ("alter type mood rename value 'happy' to 'glad'", "feeling"),
        (
            """alter type mood rename value 'happy' to 'x'; alter type mood rename value 'sad' to 'happy';
            alter type mood rename value 'x' to 'sad'""",
            "feeling",
        ),
        (
            """alter table documents rename title to swapped; alter table documents rename content to title;
            alter table documents rename swapped to content""",
            "content, loud, title",
        ),
        (
            "alter table documents alter loud drop expression; alter table documents alter loud type text using ''",
            "loud",
        ),
    ],
)
def test_rows_whose_content_was_altered_are_queued(documents: psycopg.Connection, ddl: str, said: str) -> None:
    documents.execute(ddl)
    assert sweep(documents) == 3
    assert queued(documents, BACKFILL) == [1, 2, 3]
    ((state, reason, coverage),) = rows(documents, "select state, reason, coverage from pgembedd.status")
    assert (state, coverage) == ("running", 0)
    assert reason.startswith(f"The contents of public.documents were altered ({said}), so its 3 rows were queued at 20")
    work(documents)
    assert sweep(documents) == 0
    assert value(documents, "select coverage from pgembedd.status") == 1


def test_another_expression_of_a_generated_column_is_noticed(documents: psycopg.Connection) -> None:
    if not has("ALTER COLUMN SET EXPRESSION"):
        documents.execute("alter table documents drop loud")  # older ones cannot change it, and this stops the pipeline
        look_twice(documents)
        assert value(documents, "select state from pgembedd.status") == "stopped"
        return
    documents.execute("alter table documents alter loud set expression as (lower(title))")
    assert sweep(documents) == 3


@pytest.mark.parametrize(
    "ddl",
    [
        "vacuum full documents",
        "alter table documents alter other type bigint",
        "alter table documents alter content set statistics 10, alter title set not null",
        "grant select (content) on documents to public",
        "alter type mood add value 'tired' before 'sad'",
        "alter table documents alter content type varchar",
        "alter table documents add more text default 'x' || random()",
        "alter table documents set unlogged",
    ],
)
def test_what_leaves_the_contents_alone_queues_nothing(documents: psycopg.Connection, ddl: str) -> None:
    documents.execute(ddl)
    assert sweep(documents) == 0
    assert value(documents, "select reason from pgembedd.status") is None


def test_a_restored_dump_is_noted_again(documents: psycopg.Connection) -> None:
    """Tables and transactions have other numbers then."""
    documents.execute(
        "update pgembedd_internal.pipeline set content_shape = jsonb_set(content_shape, '{of}', '\"elsewhere\"')"
    )
    documents.execute("alter table documents alter content type text using reverse(content)")
    assert sweep(documents) == 0
    documents.execute("alter table documents alter content type text using reverse(content)")
    assert sweep(documents) == 3


def test_partitions_and_chunks_are_noticed_as_well(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, content text) partition by range (id)")
    connection.execute("create table low partition of documents for values from (0) to (3)")
    create_pipeline(connection, content_columns=["content"], embedding_table="chunks")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("insert into documents values (1, 'a'), (2, 'b')")
    work(connection)
    connection.execute("create table high partition of documents for values from (3) to (9)")
    assert sweep(connection) == 0, "a new partition changes no content"
    connection.execute("drop view chunks_view")
    connection.execute("alter table documents alter content type text using content || content")
    assert sweep(connection) == 2
    work(connection)
    assert column(connection, "select chunk from chunks order by id") == ["aa", "bb"]


def test_the_line_is_shown_for_a_day(documents: psycopg.Connection) -> None:
    documents.execute("alter table documents alter content type text using reverse(content)")
    sweep(documents)
    documents.execute("update pgembedd_internal.pipeline set requeued_at = requeued_at - interval '25 hours'")
    assert value(documents, "select reason from pgembedd.status") is None


def test_an_altered_content_is_noticed_once_the_pipeline_runs_again(documents: psycopg.Connection) -> None:
    call(documents, "pause", pipeline="documents")
    documents.execute("alter table documents alter content type text using reverse(content)")
    assert sweep(documents) == 0
    call(documents, "resume", pipeline="documents")
    assert sweep(documents) == 3

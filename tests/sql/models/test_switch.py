"""A switch among sessions that write, read and switch at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.sql.models.test_change import begin, pin, work_both
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.sql import call, claim, column, connected, create_pipeline, rows, store, value, work
from tests.support.transaction import connection
from tests.support.waiting import eventually

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """`documents` with three rows, embedded in `chunks` by the old model and next to them by the new one."""
    connection.execute("create table documents (id int primary key, content text)")
    create_pipeline(connection, content_columns=["content"], embedding_table="chunks")
    pin(connection, "documents", "old")
    connection.execute("insert into documents select i, 'text ' || i from generate_series(1, 3) i")
    work(connection)
    begin(connection)
    work_both(connection)


def blocked(connection: psycopg.Connection) -> bool:
    return bool(
        value(connection, "select exists (select from pg_locks l where not l.granted and l.locktype = 'relation')")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "there_and_back", [["switch_model"], ["switch_model", "revert_model"]], ids=["switch", "revert"]
)
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_writer_that_waits_for_a_switch_writes_to_both_sides(
    database: Database, documents: psycopg.Connection, there_and_back: list[str], isolation: str
) -> None:
    for function in there_and_back[:-1]:
        call(documents, function, pipeline="documents")
    with database.connect() as writer, database.connect() as watching, ThreadPoolExecutor(1) as pool:
        writer.execute(f"begin isolation level {isolation}")
        writer.execute("select count(*) from documents")
        with documents.transaction():
            call(documents, there_and_back[-1], pipeline="documents")
            waiting = pool.submit(writer.execute, "delete from documents where id = 1")
            eventually(lambda: blocked(watching))
        waiting.result()
        writer.execute("update documents set id = 20 where id = 2")
        writer.commit()
    beside = value(
        documents, "select embedding_table::text from pgembedd_internal.pipeline where shadow_of is not null"
    )
    for table in ("chunks", beside):
        assert column(documents, f"select distinct id from {table}") == [3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then", "left"),
    [
        (
            "select count(*) from chunks",
            "update documents set content = 'changed' where id = 1; delete from documents where id = 2",
            [1, 3],
        ),
        ("insert into documents values (4, 'text 4')", "truncate documents", []),
    ],
    ids=["a reader of the vectors writes rows", "a writer truncates"],
)
def test_a_user_who_writes_then_is_in_no_deadlock(
    database: Database, documents: psycopg.Connection, first: str, then: str, left: list[int]
) -> None:
    """The switch waits for the user, not the user for the switch."""
    with database.connect() as user, ThreadPoolExecutor(1) as pool:
        user.execute("begin")
        user.execute(first.encode())
        switching = pool.submit(call, documents, "switch_model", pipeline="documents")
        with connected(database) as watching:
            eventually(lambda: blocked(watching))
        user.execute(then.encode())
        user.commit()
        switching.result()
    assert rows(documents, "select name from pgembedd_internal.pipeline where shadow is null") == [("documents",)]
    assert column(documents, "select distinct id from chunks_previous order by id") == left


COMMENTS = """
    select p.name, (regexp_match(obj_description(t.oid, 'pg_class'), 'by the pipeline "(.*)"'))[1]
    from pgembedd_internal.pipeline p cross join unnest(array[p.embedding_table, p.words_table]) as t(oid)
"""


def test_the_comments_on_both_sides_tables_name_their_pipelines(documents: psycopg.Connection) -> None:
    for function in ("switch_model", "revert_model"):
        call(documents, function, pipeline="documents", force=True)
        named = rows(documents, COMMENTS)
        assert len(named) == 4
        assert [pair for pair in named if pair[0] != pair[1]] == []


@pytest.mark.slow
def test_a_table_that_is_never_free_keeps_its_names(database: Database, documents: psycopg.Connection) -> None:
    names = rows(documents, "select name, embedding_table::text from pgembedd_internal.pipeline order by id")
    with database.connect(autocommit=False) as reader:
        reader.execute("select from chunks")
        with pytest.raises(psycopg.errors.LockNotAvailable, match="all the time; nothing was changed"):
            call(documents, "switch_model", pipeline="documents")
    assert rows(documents, "select name, embedding_table::text from pgembedd_internal.pipeline order by id") == names
    call(documents, "switch_model", pipeline="documents")
    assert rows(documents, "select name, embedding_table::text from pgembedd_internal.pipeline order by id") != names


def test_of_two_switches_at_once_one_is_refused(database: Database, documents: psycopg.Connection) -> None:
    with connected(database) as other, connected(database) as watching, ThreadPoolExecutor(1) as pool:
        with documents.transaction():
            call(documents, "switch_model", pipeline="documents", force=True)
            second = pool.submit(call, other, "switch_model", pipeline="documents", force=True)
            waits = "select exists (select from pg_locks where not granted)"
            eventually(lambda: value(watching, waits))
        with pytest.raises(
            psycopg.errors.ObjectNotInPrerequisiteState, match='There is nothing to switch "documents" to'
        ):
            second.result()
    assert rows(documents, "select name, fingerprint from pgembedd_internal.pipeline order by name") == [
        ("documents", "new"),
        ("documents.previous", "old"),
    ]


@pytest.mark.slow
def test_what_only_the_old_model_has_embedded_again_hinders_a_switch(documents: psycopg.Connection) -> None:
    documents.execute("update documents set content = 'changed' where id = 1")
    store(documents, [job for job in claim(documents) if job.pipeline == "documents"])
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState,
        match=r'1 row of "documents" is up to date, but still queued for "documents\.next"',
    ):
        documents.execute(
            "select pgembedd_internal._await_vectors(c, n, '0')"
            " from pgembedd_internal.pipeline c join pgembedd_internal.pipeline n on n.shadow_of = c.id"
        )
    documents.execute("update documents set content = 'changed again' where id = 1")
    call(documents, "switch_model", pipeline="documents")


def test_a_switch_waits_for_what_was_queued_before_it(database: Database, documents: psycopg.Connection) -> None:
    documents.execute("update documents set content = 'changed' where id = 1")
    jobs = claim(documents)
    store(documents, [job for job in jobs if job.pipeline == "documents"])
    with connected(database) as other, ThreadPoolExecutor(1) as pool:
        switching = pool.submit(call, other, "switch_model", pipeline="documents")
        store(documents, [job for job in jobs if job.pipeline == "documents.next"])
        switching.result()

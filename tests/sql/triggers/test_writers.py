"""A writer never waits for us, nor two writers for each other because of us."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import call, claim, create_pipeline, make_documents, queued, read, store, value, vectors, work


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Ten rows that are not queued."""
    make_documents(connection, 10)
    create_pipeline(connection, backfill=False, on_update="clear", index_type="hnsw")


@pytest.fixture
def impatient(documents: psycopg.Connection, other: psycopg.Connection) -> psycopg.Connection:
    """Both sessions give up where they would wait for a lock, which the other holds until then."""
    for session in (documents, other):
        session.execute("set lock_timeout = '1min'")
    return other


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize("idle", [False, True])
def test_two_open_transactions(
    connection: psycopg.Connection, impatient: psycopg.Connection, isolation: str, idle: bool
) -> None:
    connection.execute("select pgembedd_internal.set_idle(%s)", [idle])
    connection.execute(f"begin isolation level {isolation}")
    impatient.execute(f"begin isolation level {isolation}")
    for round_ in (1, 2):
        connection.execute(f"insert into documents values ({round_ * 100 + 1}), ({round_ * 100 + 2})")
        impatient.execute(f"insert into documents values ({round_ * 100 + 3})")
        connection.execute(f"update documents set title = 'a{round_}' where id between 1 and 3")
        impatient.execute(f"update documents set title = 'b{round_}' where id between 4 and 6")
    impatient.execute("commit")
    connection.execute("commit")
    assert len(queued(connection)) == 6 + 2 * 6


def test_a_writer_does_not_wait_for_what_a_worker_does(
    connection: psycopg.Connection, impatient: psycopg.Connection
) -> None:
    connection.execute("update documents set title = 'new'")
    jobs = claim(connection)
    contents = read(connection, jobs)
    with connection.transaction():
        connection.execute("select pgembedd.tick(0, 0)")
        store(connection, jobs[:5], contents[:5])
        # Rows that are just being stored are locked by that as by any other update; all others are free.
        impatient.execute("update documents set title = 'newer' where id > 5")
        impatient.execute("insert into documents values (20)")
    assert len(queued(connection)) == 5 + 5 + 1


def test_a_worker_does_not_wait_for_a_writer(connection: psycopg.Connection, impatient: psycopg.Connection) -> None:
    connection.execute("update documents set title = 'new'")
    with impatient.transaction():
        impatient.execute("update documents set title = 'newer' where id = 3")
        impatient.execute("insert into documents values (20)")
        jobs = claim(connection)
        outcomes = dict(zip((job.id for job in jobs), store(connection, jobs), strict=True))
        assert outcomes == {number: "locked" if number == 3 else "written" for number in range(1, 11)}
        assert connection.execute("select pgembedd.tick(0, 0)").fetchall()
    connection.execute("update pgmq.q_pgembedd_fresh set vt = now()")
    assert work(connection) == {3: "written", 20: "unchanged"}  # which has no content
    assert None not in vectors(connection)[:10]


def test_a_foreign_key_check_does_not_hold_up_a_store(
    connection: psycopg.Connection, impatient: psycopg.Connection
) -> None:
    """A child's insert locks its parent FOR KEY SHARE, which is no reason to skip it."""
    connection.execute("create table children (id int primary key, document int references documents)")
    connection.execute("update documents set title = 'new' where id = 3")
    with impatient.transaction():
        impatient.execute("insert into children values (1, 3)")
        assert store(connection, claim(connection)) == ["written"]


def test_a_child_can_be_inserted_during_a_store(connection: psycopg.Connection, impatient: psycopg.Connection) -> None:
    connection.execute("create table children (id int primary key, document int references documents)")
    connection.execute("update documents set title = 'new' where id = 3")
    with connection.transaction():
        store(connection, claim(connection))
        impatient.execute("insert into children values (1, 3)")


def test_a_pause_does_not_hold_up_a_writer(connection: psycopg.Connection, impatient: psycopg.Connection) -> None:
    with connection.transaction():
        call(connection, "pause", pipeline="documents")
        impatient.execute("insert into documents values (20)")
        impatient.execute("update documents set title = 'new'")


def test_a_writer_keeps_its_cursors_and_prepared_statements(connection: psycopg.Connection) -> None:
    """Of one string of statements, too, in which they are as old as the write."""
    make_documents(connection, 2)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("""
        begin; prepare kept as select 1; declare kept cursor with hold for select 1;
        update documents set id = id + 10; commit; execute kept; fetch kept""")
    assert value(connection, "select count(*) from documents where id > 10") == 2

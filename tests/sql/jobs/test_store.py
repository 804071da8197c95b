"""A vector is written only to the content it was made from; what is locked or changed comes back."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    Job,
    claim,
    claim_one,
    create_pipeline,
    fail,
    let_leases_run_out,
    made_up,
    make_documents,
    postponing,
    queued,
    read,
    rows,
    store,
    value,
    vectors,
    work,
)
from tests.support.undone import connection

__all__ = ["connection"]

TEXT = "title 1\n\ncontent 1"


@prepared
def documents(connection: psycopg.Connection) -> None:
    """An empty table with a pipeline."""
    make_documents(connection)
    create_pipeline(connection)


@pytest.fixture
def job(documents: psycopg.Connection) -> Job:
    """Row 1, claimed from the fresh lane."""
    documents.execute("insert into documents values (1, 'title 1', 'content 1')")
    return claim_one(documents)


CHANGES = {
    "changed": (["update documents set title = 'new'"], "changed"),
    "there and back": (["update documents set title = 'new'", "update documents set title = 'title 1'"], "written"),
    "deleted": (["delete from documents"], "gone"),
    "deleted and inserted": (["delete from documents", "insert into documents values (1, 'new', 'new')"], "changed"),
    "reinserted as it was": (
        ["delete from documents", "insert into documents values (1, 'title 1', 'content 1')"],
        "written",
    ),
    "another key": (["update documents set id = 2"], "gone"),
    "blank": (["update documents set title = null, content = null"], "changed"),
    "unrelated": (["update documents set other = 5"], "written"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_read(connection: psycopg.Connection, job: Job, change: str) -> None:
    statements, outcome = CHANGES[change]
    contents = read(connection, [job])
    for statement in statements:
        connection.execute(statement)
    assert store(connection, [job], contents) == [outcome]
    if outcome == "changed":
        assert vectors(connection) == [None]
    work(connection)
    assert queued(connection) == []
    for text, vector in rows(connection, "select concat_ws(E'\\n\\n', title, content), embedding from documents"):
        assert (None if vector is None else vector.to_list()) == (made_up(text) if text else None)


def test_a_change_is_read_again_at_once_and_is_no_attempt(connection: psycopg.Connection, job: Job) -> None:
    contents = read(connection, [job])
    connection.execute("update documents set title = 'new'")
    connection.execute("delete from pgmq.q_pgembedd_jobs where msg_id <> %s", [job.msg_id])
    assert store(connection, [job], contents) == ["changed"]
    again = claim_one(connection)
    assert again.suspect is False
    assert fail(connection, again)[1] == 1


def test_a_late_commit_is_not_missed(connection: psycopg.Connection, other: psycopg.Connection, job: Job) -> None:
    """A transaction that began before the job was read, and commits after it was stored."""
    with other.transaction():
        other.execute("insert into documents values (2, 'late', '')")
        assert store(connection, [job]) == ["written"]
        assert claim(connection) == []
    assert work(connection) == {2: "written"}


def test_a_row_that_is_not_committed_yet_is_not_claimed(
    connection: psycopg.Connection, other: psycopg.Connection, job: Job
) -> None:
    with other.transaction():
        other.execute("update documents set title = 'newer'")
        contents = read(connection, [job])
        assert contents[0].text == TEXT
        assert store(connection, [job], contents) == ["locked"]
    let_leases_run_out(connection)
    assert work(connection) == {1: "written"}
    assert vectors(connection) == [made_up("newer\n\ncontent 1")]


def test_a_locked_row_is_deferred_ever_longer(
    connection: psycopg.Connection, other: psycopg.Connection, job: Job
) -> None:
    waits = []
    with other.transaction():
        other.execute("select from documents for update")
        for _ in range(12):
            with postponing(connection) as wait:
                assert store(connection, [job]) == ["locked"]
            waits.append(wait)
            let_leases_run_out(connection)
            job = claim_one(connection)
            assert job.suspect is False
    assert waits[0].at_most_s > 0.1
    assert waits[0].at_least_s < 0.35
    assert waits[-1].at_most_s > 30
    assert waits[-1].at_least_s <= 75
    assert fail(connection, job)[1] == 1


def test_content_that_is_never_the_same_is_read_ever_less_often(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute(
        "create function embedding_input(d documents) returns text language sql as 'select random()::text'"
    )
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("insert into documents values (1)")
    waits = []
    for _ in range(12):
        job = claim_one(connection)
        assert store(connection, [job]) == ["changed"]
        waits.append(value(connection, "select extract(epoch from vt - clock_timestamp()) from pgmq.q_pgembedd_jobs"))
        let_leases_run_out(connection)
    assert max(waits[:3]) <= 0
    assert waits[-1] > 30


def test_changes_with_a_lock_between_them_are_not_one_after_another(
    connection: psycopg.Connection, other: psycopg.Connection, job: Job
) -> None:
    for changed in (True, True, False, False, True):
        contents = read(connection, [job])
        with other.transaction():
            other.execute(
                "update documents set title = title || '!'" if changed else "select from documents for update"
            )
            if not changed:
                assert store(connection, [job], contents) == ["locked"]
        if changed:
            assert store(connection, [job], contents) == ["changed"]
            connection.execute("delete from pgmq.q_pgembedd_jobs where msg_id <> %s", [job.msg_id])
        else:
            let_leases_run_out(connection)
        job = claim_one(connection)  # at once after each change


def test_several_jobs_of_one_row(connection: psycopg.Connection, job: Job) -> None:
    for number in range(3):
        connection.execute("update documents set title = %s", [f"title {number}"])
    jobs = [job, *claim(connection)]
    assert store(connection, jobs) == ["written"] * 4
    assert queued(connection) == []


def test_several_jobs_of_one_row_of_which_one_is_stale(connection: psycopg.Connection, job: Job) -> None:
    (stale,) = read(connection, [job])
    connection.execute("update documents set title = 'new'")
    (newer,) = claim(connection)
    # The later job's content counts for both; a claim reads all its rows at once.
    assert store(connection, [job, newer], [stale, *read(connection, [newer])]) == ["written", "written"]
    assert vectors(connection) == [made_up("new\n\ncontent 1")]


def test_an_unchanged_vector_is_not_written_again(connection: psycopg.Connection, job: Job) -> None:
    store(connection, [job])
    before = value(connection, "select xmin::text from documents")
    connection.execute('insert into pgmq.q_pgembedd_jobs (vt, message) values (now(), \'{"id": 1, "pipeline": 1}\')')
    assert store(connection, [claim_one(connection)]) == ["unchanged"]
    assert value(connection, "select xmin::text from documents") == before


def test_gone_rows_are_acknowledged(connection: psycopg.Connection, job: Job) -> None:
    connection.execute("delete from documents")
    (content,) = read(connection, [job])
    assert (content.state, content.text) == ("gone", None)
    assert store(connection, [job], [content]) == ["gone"]
    assert queued(connection) == []

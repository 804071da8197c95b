"""A vector is written only under a valid claim, and only to the content it was made from; the rest comes back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    FRESH,
    Job,
    claim,
    claim_one,
    create_pipeline,
    extend,
    fail,
    let_leases_run_out,
    made_up,
    make_documents,
    mark_alone,
    postponing,
    queued,
    read,
    release,
    rows,
    store,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S

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
    connection.execute("delete from pgmq.q_pgembedd_fresh where msg_id <> %s", [job.msg_id])
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
        waits.append(value(connection, "select extract(epoch from vt - clock_timestamp()) from pgmq.q_pgembedd_fresh"))
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
            connection.execute("delete from pgmq.q_pgembedd_fresh where msg_id <> %s", [job.msg_id])
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
    connection.execute('insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), \'{"id": 1, "pipeline": 1}\')')
    assert store(connection, [claim_one(connection)]) == ["unchanged"]
    assert value(connection, "select xmin::text from documents") == before


def test_a_message_of_another_row_that_has_its_number(connection: psycopg.Connection, job: Job) -> None:
    """As after a failover that lost the claim, and the message: its number was given again."""
    connection.execute("create table others (id int primary key, title text, content text)")
    create_pipeline(connection, pipeline="others", source="others")
    connection.execute("delete from pgmq.q_pgembedd_fresh")
    connection.execute(f"alter table pgmq.q_pgembedd_fresh alter msg_id restart with {job.msg_id}".encode())
    connection.execute("insert into others values (999, 'title', 'content')")
    (other,) = claim(connection)
    assert (other.msg_id, other.read_ct, other.pipeline) == (job.msg_id, job.read_ct, "others")
    assert store(connection, [job]) == ["lost"]
    assert fail(connection, job, permanent=True)[0] == "lost"
    assert queued(connection) == [999]


def test_gone_rows_are_acknowledged(connection: psycopg.Connection, job: Job) -> None:
    connection.execute("delete from documents")
    (content,) = read(connection, [job])
    assert (content.state, content.text) == ("gone", None)
    assert store(connection, [job], [content]) == ["gone"]
    assert queued(connection) == []


def queue_rows(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return rows(connection, "select * from pgmq.q_pgembedd_fresh")


def test_a_job_goes_round(connection: psycopg.Connection, job: Job) -> None:
    assert (job.id, job.read_ct, job.suspect, job.pipeline) == (1, 1, False, "documents")
    (content,) = read(connection, [job])
    assert (content.state, content.text) == ("ok", TEXT)
    assert store(connection, [job], [content]) == ["written"]
    assert vectors(connection) == [made_up(TEXT)]
    assert queued(connection) == []


def test_a_claim_is_hidden_until_its_lease_ends(connection: psycopg.Connection, job: Job) -> None:
    assert claim(connection) == []
    let_leases_run_out(connection)
    assert claim_one(connection).read_ct == 2


OLD_ACTS: list[Callable[[psycopg.Connection, Job], object]] = [
    lambda connection, job: store(connection, [job]) == ["lost"],
    lambda connection, job: fail(connection, job) == ("lost", None, None),
    lambda connection, job: fail(connection, job, permanent=True) == ("lost", None, None),
    lambda connection, job: extend(connection, [job], 600) == [],
    lambda connection, job: release(connection, [job]) == 0,
    lambda connection, job: mark_alone(connection, job) is False,
]


@pytest.mark.parametrize("act", OLD_ACTS, ids=["store", "fail", "fail for good", "extend", "release", "mark_alone"])
def test_the_old_worker_can_do_nothing(
    connection: psycopg.Connection, job: Job, act: Callable[[psycopg.Connection, Job], object]
) -> None:
    let_leases_run_out(connection)
    new = claim_one(connection)
    before = queue_rows(connection)
    assert act(connection, job) is True
    assert queue_rows(connection) == before
    assert vectors(connection) == [None]
    assert rows(connection, "select * from pgembedd_internal.dead_letter") == []
    assert store(connection, [new]) == ["written"]


@pytest.mark.parametrize("act", OLD_ACTS, ids=["store", "fail", "fail for good", "extend", "release", "mark_alone"])
def test_nothing_is_left_to_do_for_a_finished_job(
    connection: psycopg.Connection, job: Job, act: Callable[[psycopg.Connection, Job], object]
) -> None:
    store(connection, [job])
    before = vectors(connection)
    assert act(connection, job) is True
    assert vectors(connection) == before
    assert rows(connection, "select * from pgembedd_internal.dead_letter") == []


def test_what_is_lost_does_not_stop_the_rest(connection: psycopg.Connection, job: Job) -> None:
    connection.execute("insert into documents values (2, 'title 2', '')")
    jobs = [job, *claim(connection)]
    connection.execute("update pgmq.q_pgembedd_fresh set vt = now() where msg_id = %s", [job.msg_id])
    claim(connection)
    assert store(connection, jobs) == ["lost", "written"]


def test_an_expired_lease_that_nobody_took_still_stands(connection: psycopg.Connection, job: Job) -> None:
    let_leases_run_out(connection)
    assert store(connection, [job]) == ["written"]


def test_extend_keeps_the_claim(connection: psycopg.Connection, job: Job) -> None:
    let_leases_run_out(connection)
    assert extend(connection, [job]) == [job.msg_id]
    assert claim(connection) == []


def test_release_gives_it_to_the_next(connection: psycopg.Connection, job: Job) -> None:
    assert release(connection, [job]) == 1
    again = claim_one(connection)
    assert (again.read_ct, again.suspect) == (2, False)
    assert release(connection, [again], delay_s=60) == 1
    assert claim(connection) == []


def test_release_wakes_a_sleeping_worker(connection: psycopg.Connection, other: psycopg.Connection, job: Job) -> None:
    connection.execute("select pgembedd_internal.set_idle(true)")
    other.execute("listen pgembedd")
    release(connection, [job])
    assert [notice.payload for notice in other.notifies(timeout=PATIENCE_S, stop_after=1)] == [FRESH]


def test_either_both_or_neither(connection: psycopg.Connection, job: Job) -> None:
    with connection.transaction(force_rollback=True):
        assert store(connection, [job]) == ["written"]
    assert vectors(connection) == [None]
    assert queued(connection) == [1]

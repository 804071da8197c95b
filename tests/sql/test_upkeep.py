"""Pause and resume, sweep, retention, tick, and pipelines that break."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import (
    BACKFILL,
    FRESH,
    LANES,
    call,
    claim,
    claim_one,
    create_pipeline,
    empty,
    fail,
    let_leases_run_out,
    make_documents,
    queued,
    read,
    reason,
    refused,
    release,
    rows,
    state,
    store,
    value,
    vectors,
    work,
)


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """Three rows that nobody has queued."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)
    return connection


def parked(connection: psycopg.Connection, queue: str = FRESH) -> int:
    return int(value(connection, f"select count(*) from pgmq.q_{queue} where vt = 'infinity'"))


def test_a_paused_pipeline_keeps_its_jobs(documents: psycopg.Connection) -> None:
    call(documents, "pause", name="documents")
    assert (state(documents), reason(documents)) == ("paused", "paused by postgres")
    documents.execute("insert into documents values (4, 'x')")
    call(documents, "backfill", name="documents")
    assert [claim(documents, lane) for lane in LANES] == [[], []]
    assert [parked(documents, lane) for lane in LANES] == [1, 3]
    assert value(documents, "select queued + backfill from pgembedd.status") == 4
    call(documents, "resume", name="documents")
    assert state(documents) == "running"
    assert set(work(documents).values()) == {"written"}


def test_being_parked_is_no_attempt_and_no_death(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x')")
    for _ in range(5):
        call(documents, "pause", name="documents")
        assert claim(documents) == []
        call(documents, "resume", name="documents")
    job = claim_one(documents)
    assert not job.suspect
    assert fail(documents, job)[1] == 1


def test_a_pause_stops_only_its_own_pipeline(documents: psycopg.Connection) -> None:
    create_pipeline(documents, name="other", embedding_column="other_vector", backfill=False)
    documents.execute("insert into documents values (4, 'x')")
    call(documents, "pause", name="documents")
    assert [job.pipeline for job in claim(documents)] == ["other"]


def test_what_is_in_flight_at_a_pause_is_finished(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x')")
    job = claim_one(documents)
    call(documents, "pause", name="documents")
    assert store(documents, [job]) == ["written"]


def test_a_resume_during_the_claim_that_parks_is_mended_by_the_sweep(
    documents: psycopg.Connection, other: psycopg.Connection
) -> None:
    documents.execute("insert into documents values (4, 'x')")
    call(documents, "pause", name="documents")
    with other.transaction():
        assert claim(other) == []  # set aside, but not committed yet
        call(documents, "resume", name="documents")
    assert parked(documents) == 1
    assert value(documents, "select pgembedd.sweep()") == 3
    assert parked(documents) == 0
    assert work(documents)[4] == "written"


def test_resume_wakes_a_sleeping_worker(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    call(documents, "pause", name="documents")
    documents.execute("select pgembedd.set_idle(true)")
    other.execute("listen pgembedd")
    call(documents, "resume", name="documents")
    assert len(list(other.notifies(timeout=5, stop_after=1))) == 1


def test_the_sweep_finds_what_triggers_missed(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("alter table documents disable trigger user")
    documents.execute("insert into documents values (4, 'x'), (5, 'y')")
    documents.execute("alter table documents enable trigger user")
    assert queued(documents) == []
    assert value(documents, "select pgembedd.sweep()") == 5
    assert sorted(queued(documents, BACKFILL)) == [1, 2, 3, 4, 5]
    assert value(documents, "select pgembedd.sweep()") == 0
    assert set(work(documents).values()) == {"written"}
    assert value(documents, "select pgembedd.sweep()") == 0


def test_the_sweep_leaves_alone_what_is_queued_in_any_lane(documents: psycopg.Connection) -> None:
    documents.execute("update documents set title = 'x' where id = 1")
    documents.execute(
        "insert into pgmq.q_embedding_backfill (vt, message) values (now() + '1 hour', '{\"id\": 2, \"pipeline\": 1}')"
    )
    assert value(documents, "select pgembedd.sweep()") == 1
    assert queued(documents, BACKFILL) == [2, 3]


def test_the_sweep_takes_so_many_at_a_time(documents: psycopg.Connection) -> None:
    assert [value(documents, "select pgembedd.sweep(2)") for _ in range(3)] == [2, 1, 0]


def test_the_sweep_wakes_a_sleeping_worker(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    documents.execute("select pgembedd.set_idle(true)")
    other.execute("listen pgembedd")
    documents.execute("select pgembedd.sweep()")
    assert [notice.payload for notice in other.notifies(timeout=5, stop_after=1)] == [BACKFILL]


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_the_sweep_leaves_alone_what_does_not_run(documents: psycopg.Connection, how: str) -> None:
    if how == "pause":
        call(documents, "pause", name="documents")
    else:
        documents.execute("select pgembedd.stop_pipeline(1, 'broken')")
    assert value(documents, "select pgembedd.sweep()") == 0


def test_a_forced_backfill_queues_every_row(documents: psycopg.Connection) -> None:
    call(documents, "backfill", name="documents")
    work(documents)
    assert call(documents, "backfill", name="documents") == 0
    assert call(documents, "backfill", name="documents", force=True) == 3
    assert work(documents) == {1: "unchanged", 2: "unchanged", 3: "unchanged"}


def test_retention(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, ' '), (5, ' '), (6, 'bad')")
    jobs = {job.id: job for job in claim(documents)}
    store(documents, [jobs[4], jobs[5]])
    fail(documents, jobs[6], permanent=True)
    documents.execute("insert into pgembedd.activity values (now() - interval '25 hours', 1, 1, 1, 1, 1)")
    documents.execute("delete from documents where id in (5, 6)")
    assert value(documents, "select pgembedd.retention()") == 3  # activity, and two rows that are gone
    assert rows(documents, "select key, state from pgembedd.row_state") == [(4, "blank")]
    assert rows(documents, "select * from pgembedd.dead_letter") == []
    assert value(documents, "select count(*) from pgembedd.activity") == 1


def due(connection: psycopg.Connection) -> None:
    connection.execute("update pgembedd.installation set swept_at = '-infinity', retained_at = '-infinity'")


def test_the_tick_does_what_is_due(documents: psycopg.Connection) -> None:
    due(documents)
    assert value(documents, "select pgembedd.tick()") == 3
    empty(documents)
    assert value(documents, "select pgembedd.tick()") is None
    documents.execute("update pgembedd.installation set swept_at = now() - interval '61 s'")
    assert value(documents, "select pgembedd.tick()") == 3
    assert value(documents, "select now() - least(swept_at, retained_at) < interval '1 min' from pgembedd.installation")
    empty(documents)
    assert value(documents, "select pgembedd.tick(0)") == 3


def test_the_tick_is_one_sessions_at_a_time(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    due(documents)
    with documents.transaction():
        assert value(documents, "select pgembedd.tick(0)") == 3
        other.execute("set lock_timeout = '1s'")
        assert value(other, "select pgembedd.tick(0)") is None
    assert value(other, "select pgembedd.tick(0)") == 0


def test_a_deep_queue_puts_the_sweep_off_for_ten_minutes(documents: psycopg.Connection) -> None:
    documents.execute(
        "insert into pgmq.q_embedding_jobs (vt, message) select now(), '{}' from generate_series(1, 50000)"
    )
    documents.execute("update pgembedd.installation set swept_at = now() - interval '9 min'")
    assert value(documents, "select pgembedd.tick()") is None
    documents.execute("update pgembedd.installation set swept_at = now() - interval '11 min'")
    assert value(documents, "select pgembedd.tick()") == 3


AGAIN = 'drop the pipeline "documents" and create it again'
BACK = f"Change the type back, or {AGAIN}."
BREAKAGES = {
    "dropped": (
        "drop table documents",
        "The table public.documents was dropped. Remove the pipeline with pgembedd.drop_pipeline('documents').",
    ),
    "renamed": (
        "alter table documents rename to papers",
        "The table public.documents is now public.papers. Call pgembedd.resume('documents') to follow it.",
    ),
    "moved": (
        "create schema app; alter table documents set schema app",
        "The table public.documents is now app.documents. Call pgembedd.resume('documents') to follow it.",
    ),
    "content column renamed": (
        "alter table documents rename title to name",
        f'public.documents has no column "title" any more. Rename it back, or {AGAIN}.',
    ),
    "content column dropped": (
        "alter table documents drop content",
        f'public.documents has no column "content" any more. Rename it back, or {AGAIN}.',
    ),
    "embedding column dropped": (
        "alter table documents drop embedding",
        f'public.documents has no column "embedding" any more. Rename it back, or {AGAIN}.',
    ),
    "embedding column changed": (
        "alter table documents alter embedding type vector(3)",
        f"public.documents.embedding is public.vector(3) now, but the pipeline writes halfvec(3). {BACK}",
    ),
    "key dropped": (
        "alter table documents drop constraint documents_pkey",
        f"The primary key of public.documents changed. D{AGAIN[1:]}; the vectors stay.",
    ),
    "key renamed": (
        "alter table documents rename id to number",
        f"The primary key of public.documents changed. D{AGAIN[1:]}; the vectors stay.",
    ),
}


@pytest.fixture
def two(connection: psycopg.Connection) -> psycopg.Connection:
    """`documents`, about to break, and `letters` after it, which must go on."""
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(connection, name="letters", source="letters", content_columns=["title"])
    return connection


def letters_go_on(connection: psycopg.Connection) -> bool:
    connection.execute("insert into letters select count(*), 'x' from letters")
    jobs = [job for job in claim(connection) if job.pipeline == "letters"]
    return state(connection, "letters") == "running" and store(connection, jobs) == ["written"]


@pytest.mark.parametrize("kind", BREAKAGES)
@pytest.mark.parametrize("finder", ["sweep", "diagnose"])
def test_a_broken_pipeline_stops_alone_with_a_sentence(two: psycopg.Connection, kind: str, finder: str) -> None:
    breakage, sentence = BREAKAGES[kind]
    two.execute(breakage)
    if finder == "sweep":
        two.execute("select pgembedd.sweep()")
    else:
        assert value(two, "select pgembedd.diagnose(1)") == sentence
    assert (state(two), reason(two)) == ("stopped", sentence)
    assert letters_go_on(two)
    assert value(two, "select pgembedd.diagnose(2)") is None
    assert claim(two, BACKFILL) == []


@pytest.mark.parametrize("kind", BREAKAGES)
@pytest.mark.parametrize("function", ["tick(0, 0)", "retention()", "_repair()"])
def test_the_upkeep_outlives_a_broken_pipeline(two: psycopg.Connection, kind: str, function: str) -> None:
    two.execute(BREAKAGES[kind][0])
    two.execute("set client_min_messages = error")
    two.execute("insert into letters values (100, ' ')")
    store(two, [job for job in claim(two) if job.pipeline == "letters"])
    two.execute("delete from letters")
    two.execute(f"select pgembedd.{function}")
    if "tick" in function or "retention" in function:
        assert rows(two, "select * from pgembedd.row_state") == []
    assert letters_go_on(two)


def test_a_pipeline_that_the_repair_cannot_mend_stops_alone(two: psycopg.Connection) -> None:
    two.execute("update pgembedd.pipeline set search_path = 'no list' where id = 1")
    two.execute("select pgembedd._repair()")
    assert reason(two).startswith("The repair failed: ")
    assert reason(two).endswith("Mend that, then call pgembedd.resume('documents').")
    assert letters_go_on(two)


def test_a_content_function_that_is_gone(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    connection.execute("create function embedding_input(documents) returns text language sql as $$ select $1.title $$")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("drop function embedding_input(documents)")
    sentence = (
        "The content function public.embedding_input(public.documents) is gone. "
        "Create it again, then call pgembedd.resume('documents')."
    )
    assert value(connection, "select pgembedd.diagnose(1)") == sentence
    with refused(f'The pipeline "documents" cannot resume: {sentence}'):
        call(connection, "resume", name="documents")
    connection.execute("create function embedding_input(documents) returns text language sql as $$ select 'x' $$")
    call(connection, "resume", name="documents")
    assert work(connection) == {1: "written"}


def test_resume_follows_a_renamed_table(documents: psycopg.Connection) -> None:
    documents.execute("alter table documents rename to papers")
    documents.execute("update papers set title = 'x' where id = 1")
    documents.execute("select pgembedd.sweep()")
    assert claim(documents) == []
    call(documents, "resume", name="documents")
    documents.execute("update papers set title = 'x' where id = 2")
    assert value(documents, "select source from pgembedd.status") in ("papers", "public.papers")
    assert work(documents) == {1: "written", 2: "written"}
    assert value(documents, "select pgembedd.sweep()") == 1
    assert value(documents, "select message ->> 'table' from pgmq.q_embedding_backfill") == "papers"


def test_a_rename_is_followed_before_anybody_notices(documents: psycopg.Connection) -> None:
    """Between the rename and the sweep no job is lost: the read fails, and the jobs come back."""
    documents.execute("update documents set title = 'x' where id = 1")
    job = claim_one(documents)
    documents.execute("alter table documents rename to papers")
    with pytest.raises(psycopg.errors.UndefinedTable):
        read(documents, [job])
    assert "is now public.papers" in value(documents, "select pgembedd.diagnose(1)")
    release(documents, [job])
    call(documents, "resume", name="documents")
    let_leases_run_out(documents)
    assert work(documents) == {1: "written"}


def test_a_column_of_no_concern_may_come_and_go(documents: psycopg.Connection) -> None:
    documents.execute("alter table documents drop other, add another int")
    documents.execute("insert into documents values (4, 'x', 'y')")
    assert work(documents) == {4: "written"}


def test_a_changed_type_of_the_content_does_no_harm(documents: psycopg.Connection) -> None:
    documents.execute("update documents set title = id::text")
    documents.execute("alter table documents alter title type int using title::int")
    documents.execute("update documents set title = 7 where id = 1")
    assert set(work(documents).values()) == {"written"}
    assert None not in vectors(documents)


def test_stopping_is_told_once(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    other.execute("listen pgembedd_events")
    for text in ("first", "second"):
        documents.execute("select pgembedd.stop_pipeline(1, %s)", [text])
    assert reason(documents) == "first"
    other.execute("select 1")
    assert len(list(other.notifies(timeout=0))) == 1


def test_a_model_is_pinned_once(documents: psycopg.Connection) -> None:
    assert value(documents, "select pgembedd.pin_model(1, 'one')") == "one"
    assert value(documents, "select pgembedd.pin_model(1, 'two')") == "one"
    assert value(documents, "select fingerprint from pgembedd.status") == "one"
    assert value(documents, "select pgembedd.pin_model(99, 'one')") is None


def test_status_counts(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x'), (5, ' '), (6, 'long'), (7, 'bad'), (8, 'worse')")
    documents.execute("select pgembedd.sweep()")
    jobs = {job.id: job for job in claim(documents)}
    store(documents, [jobs[4], jobs[5]])
    store(documents, [jobs[6]], dropped=3)
    fail(documents, jobs[7])
    fail(documents, jobs[8], permanent=True)
    columns = "queued, backfill, failing, dead, blank, truncated, oldest_age > '0'::interval, rows_per_minute::float8"
    assert rows(documents, f"select {columns} from pgembedd.status") == [(1, 3, 1, 1, 1, 1, True, 0.6)]

"""One bad row never blocks others, nothing retries for ever, nothing vanishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.errors import ModelError
from pgembedd.loop.worker import Worker
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, put_off_upkeep, stale, waiting
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.sql import call, let_leases_run_out, rows, value
from tests.support.tiny_models import panic
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, brisk, worker_thread

BAD = [3, 6]
# From the failure on, not from now: the machine may have been slow in between. A little more than it was told.
WAIT_S = """
    select extract(epoch from vt - (message -> 'pgembedd' -> 'history' -> -1 ->> 'at')::timestamptz)::float8
    from pgmq.q_pgembedd_fresh
"""


@dataclass(frozen=True)
class Cause:
    """A cause of failure for rows whose body starts with `bad`: statements that make and repair it, and its name."""

    made_by: str
    mended_by: str
    reason: str
    content: str = "content_columns => array['body']"


CAUSES = {
    "content function": Cause(
        """create function content_of(d documents) returns text language plpgsql as $$
           begin
               if d.body like 'bad%' then raise exception 'Cannot use %', d.body; end if;
               return d.body;
           end $$""",
        "create or replace function content_of(d documents) returns text language sql as 'select d.body'",
        "content",
        "content_function => 'content_of'",
    ),
    "check": Cause(
        "alter table documents add constraint no_bad check (embedding is null or body not like 'bad%')",
        "alter table documents drop constraint no_bad",
        "write",
    ),
    "trigger": Cause(
        """create function refuse() returns trigger language plpgsql as $$
           begin
               if new.body like 'bad%' then raise exception 'Cannot store %', new.body; end if;
               return new;
           end $$;
           create trigger refuse before update on documents for each row execute function refuse()""",
        "drop trigger refuse on documents",
        "write",
    ),
}


def insert_with_bad_ones(connection: psycopg.Connection) -> None:
    """Eight rows in one statement, of which 3 and 6 are bad."""
    connection.execute(
        "insert into documents select i, case when i in (3, 6) then 'bad secret ' else 'text ' end || i "
        "from generate_series(1, 8) i"
    )


def await_failed_once(connection: psycopg.Connection) -> None:
    """Return when only the bad ones are left, each with one attempt behind it."""
    eventually(lambda: [(job.id, job.attempts) for job in waiting(connection)] == [(i, 1) for i in BAD])


def await_given_up(connection: psycopg.Connection) -> None:
    """Move time on until the bad ones are dead letters."""

    def given_up() -> bool:
        let_leases_run_out(connection)
        return not waiting(connection)

    eventually(given_up, timeout_s=PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_rows_that_fail_in_the_database_fail_alone(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict], cause: Cause
) -> None:
    connection.execute("create table documents (id int primary key, body text, embedding halfvec(384))")
    connection.execute(cause.made_by)
    connection.execute(
        f"select pgembedd.create_pipeline('documents', 'documents', {cause.content}, model => '{MODEL}', "
        "retry_delay => '1 min')"
    )
    put_off_upkeep(connection)
    insert_with_bad_ones(connection)
    claims: list[Sequence[str]] = []
    with worker_thread(database, only(Wrapped(model, on_start=claims.append))):
        await_failed_once(connection)
        assert len(claims) == 1, "the good ones were embedded in the very claim that had the bad ones"
        assert missing(connection) == BAD
        await_given_up(connection)
        failures = rows(
            connection, "select key, reason, attempts, jsonb_array_length(history) from pgembedd.dead_letters"
        )
        assert sorted(failures) == [(i, cause.reason, 5, 5) for i in BAD]
        connection.execute(cause.mended_by)
        assert call(connection, "retry_dead_letters", pipeline="documents") == len(BAD)
        await_quiet(connection)
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0
    assert [event for event in log if "secret" in repr(event)] == [], "the detail of an error may hold content"


@pytest.mark.slow
def test_the_detail_of_an_error_is_kept_for_its_owner(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection, max_attempts=1)
    connection.execute(CAUSES["trigger"].made_by)
    insert_with_bad_ones(connection)
    with worker_thread(database, only(Wrapped(model))):
        await_quiet(connection)
    details = rows(connection, "select error, history -> 0 ->> 'error' from pgembedd.dead_letters order by key")
    assert details == [(f"Cannot store bad secret {i} (SQLSTATE P0001)",) * 2 for i in BAD]


def raising(error: Callable[[str], Exception]) -> Callable[[Sequence[str]], None]:
    """A hook that raises for bad texts."""

    def hook(texts: Sequence[str]) -> None:
        for text in texts:
            if text.startswith("bad"):
                raise error(text)

    return hook


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["on_start", "on_result"])
@pytest.mark.parametrize("error", [ModelError, ValueError, lambda text: OSError(f"\0 \udc80 {text}")])
def test_a_text_the_model_fails_on_fails_alone(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    log: list[EventDict],
    moment: str,
    error: Callable[[str], Exception],
) -> None:
    make_documents(connection, retry_delay="1 min")
    insert_with_bad_ones(connection)
    with worker_thread(database, only(Wrapped(model, **{moment: raising(error)}))):
        await_failed_once(connection)
        assert missing(connection) == BAD
        await_given_up(connection)
    assert sorted(rows(connection, "select key, reason, attempts from pgembedd.dead_letters")) == [
        (i, "model", 5) for i in BAD
    ]
    assert all("secret" in row[0] for row in rows(connection, "select error from pgembedd.dead_letters"))
    assert [event for event in log if "secret" in repr(event)] == []


@pytest.mark.slow
def test_a_failed_attempt_waits_longer_each_time(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    make_documents(connection, retry_delay="20 s")
    insert(connection, [1], text="bad")
    waits_s: list[float] = []
    with worker_thread(database, only(Wrapped(model, on_start=raising(ModelError)))):
        for attempt in range(1, 5):
            eventually(lambda attempt=attempt: waiting(connection)[0].attempts == attempt)  # type: ignore[misc]
            waits_s.append(value(connection, WAIT_S))
            let_leases_run_out(connection)
        eventually(lambda: not waiting(connection))
    told_s = [event["retry_in_s"] for event in log if event["event"] == "job_failed"]
    for attempt, (wait_s, retry_in_s) in enumerate(zip(waits_s, told_s, strict=True)):
        base_s = 20.0 * 2**attempt
        assert wait_s >= 0.75 * base_s
        assert retry_in_s <= 1.25 * base_s + 0.05, "it is rounded"


def test_a_statement_that_takes_too_long_is_halved_until_it_fits(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """A time limit that one row exceeds in any company; it cancels the statement itself, as the limit would."""
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute(
        "create function content_of(d documents) returns text language plpgsql volatile as $$ "
        "begin if d.id = 8 then perform pg_cancel_backend(pg_backend_pid()), pg_sleep(600); end if; "
        "return d.body; end $$"
    )
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', content_function => 'content_of', "
        f"model => '{MODEL}', retry_delay => '1 min')"
    )
    put_off_upkeep(connection)
    insert(connection, range(1, 9))
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: [(job.id, job.reasons) for job in waiting(connection)] == [(8, ("content",))])
    assert missing(connection) == [8]


def divide(*_: object) -> float:
    return 1 / 0


@pytest.mark.parametrize(("mistake", "error"), [(divide, "ZeroDivisionError"), (lambda *_: panic(), "PanicException")])
def test_what_the_worker_itself_fails_of_is_not_handed_back(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[..., object],
    error: str,
) -> None:
    """A mistake of ours that some row brings about: the reads stay without an outcome, which makes it a suspect."""
    make_documents(connection)
    insert(connection, [1, 2])
    monkeypatch.setattr("pgembedd.database.jobs.JobRepository.store", mistake)
    with pytest.raises(BaseException) as died:
        Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model)))).run()
    assert died.type.__name__ == error
    assert [(job.read_ct, job.unrecorded) for job in waiting(connection)] == [(1, 1), (1, 1)]


def test_each_bad_row_of_a_claim_fails_alone(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """Of the content function, of a check, as a trigger keeps the vector out in silence, and of the model."""
    connection.execute("""
        create table documents (id int primary key, body text, embedding halfvec(384));
        alter table documents add check (embedding is null or id <> 4);
        create function content_of(d documents) returns text language plpgsql as $$
        begin
            if d.id = 2 then raise exception 'no'; end if;
            return d.body;
        end $$;
        create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger keep before update on documents for each row when (old.id = 6) execute function keep()
    """)
    call(
        connection,
        "create_pipeline",
        pipeline="documents",
        source="documents",
        content_function="content_of",
        model=MODEL,
        max_attempts=1,
    )
    put_off_upkeep(connection)

    def panics_on(text: str) -> Callable[[Sequence[str]], None]:
        return lambda texts: panic() if text in texts else None

    insert(connection, range(1, 10))
    bad = Wrapped(model, on_start=panics_on("text 7"), on_result=panics_on("text 8"))
    with worker_thread(database, only(bad), claim_size=9):
        await_quiet(connection)
    failures = rows(connection, "select key, reason, attempts from pgembedd.dead_letters order by key")
    assert failures == [(2, "content", 1), (4, "write", 1), (6, "write", 1), (7, "model", 1), (8, "model", 1)]
    assert missing(connection) == [2, 4, 6, 7, 8]

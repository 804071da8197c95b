"""A worker that finds another schema, at its start or while it runs, waits for it, and charges no job."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import httpx
import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.database.own_version import INTERFACE
from pgembedd.database.schema_check import LACKING, MIGRATED
from pgembedd.model import Session
from tests.acceptance.test_serve import service, url
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, waiting
from tests.support.http import PLAIN
from tests.support.schemas import without
from tests.support.sql import column, end_sessions, rows
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

NONE = "This database has no pgembedd schema: run `pgembedd migrate`."
SENTENCES = {
    "schema_version": NONE,
    "interface": f"This database is at pgembedd interface none, this program needs {INTERFACE}: "
    "run `pgembedd migrate`.",
}
CHARGES = ("job_failed", "dead_letter", "failure_not_recorded", "left_to_lease", "claim_failed")
# Each function that a worker calls for a job, and for itself.
OF_COLUMNS = ["due", "claim", "read", "store", "models", "tick", "interface", "schema_version"]
OF_CHUNKS = ["claim", "read_chunks", "store_chunks", "interface"]


def charged(worker: WorkerProcess) -> list[str]:
    return [one["event"] for one in worker.events if one["event"] in CHARGES]


def reasons(worker: WorkerProcess) -> list[str]:
    return [one["why"] for one in worker.named("schema_waits")]


def await_reason(worker: WorkerProcess, reason: str, *, after: int) -> None:
    eventually(lambda: reason in reasons(worker)[after:])


def waits(worker: WorkerProcess) -> bool:
    """Whether it said last that it waits. Of one wait it may give two reasons, so the two are not counted."""
    said = [one["event"] for one in list(worker.events) if one["event"] in ("schema_waits", "schema_fits")]
    return said[-1:] == ["schema_waits"]


def test_a_worker_waits_for_a_database_without_a_schema(empty_database: Database) -> None:
    with WorkerProcess(empty_database.conninfo) as worker:
        worker.await_event("schema_waits")
        migrate(empty_database.conninfo)
        worker.await_event("schema_fits")
        assert reasons(worker) == [NONE]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_worker_that_waits_ends_when_it_is_told_to(empty_database: Database) -> None:
    with WorkerProcess(empty_database.conninfo, "--pipeline", "documents") as worker:
        worker.await_event("schema_waits")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("command", "arguments"), [("serve", ()), ("run", ("--http",))])
def test_the_probes_say_for_what_it_waits(empty_database: Database, command: str, arguments: Sequence[str]) -> None:
    """No orchestrator restarts it for that."""
    with service(empty_database.conninfo, *arguments, command=command) as process:
        process.await_event("schema_waits")
        eventually(lambda: httpx.get(f"{url(process)}/startupz", timeout=60, verify=PLAIN).status_code == 200)
        assert httpx.get(f"{url(process)}/livez", timeout=60, verify=PLAIN).status_code == 200
        ready = httpx.get(f"{url(process)}/readyz", timeout=60, verify=PLAIN)
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, NONE)
        migrate(empty_database.conninfo)
        process.await_event("schema_fits")
        eventually(lambda: httpx.get(f"{url(process)}/readyz", timeout=60, verify=PLAIN).status_code == 200)


@pytest.mark.slow
@pytest.mark.parametrize(("chunked", "names"), [(False, OF_COLUMNS), (True, OF_CHUNKS)])
def test_no_function_that_is_missing_is_charged_to_a_job(
    database: Database, connection: psycopg.Connection, chunked: bool, names: Sequence[str]
) -> None:
    make_documents(connection, **({"embedding_table": "chunks"} if chunked else {}))
    with WorkerProcess(database.conninfo, "--sweep-every-s", "1") as worker:
        worker.await_event("worker_started")
        for number, name in enumerate(names):
            said = len(reasons(worker))
            with without(connection, name):
                insert(connection, range(10 * number, 10 * number + 10))
                if name == "schema_version":
                    assert end_sessions(connection, "application_name like 'pgembedd %'")
                await_reason(worker, SENTENCES.get(name, LACKING), after=said)
                assert {one.attempts for one in waiting(connection)} <= {0}, name
            eventually(lambda: not waits(worker))
            await_quiet(connection)
            assert charged(worker) == [], name
            # A thread whose statement failed says LACKING, also when it looks after another has said more.
            assert set(reasons(worker)[said:]) <= {SENTENCES.get(name, LACKING), LACKING}, name
        assert rows(connection, "select * from pgembedd.dead_letters") == []


@pytest.mark.slow
def test_a_failure_is_counted_once_although_it_waits_for_its_function(
    database: Database, connection: psycopg.Connection
) -> None:
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute("create function odd(documents) returns text language plpgsql as $$ begin raise 'odd'; end $$")
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', content_function => 'odd', "
        "model => 'all-MiniLM-L6-v2', retry_delay => '1 min')"
    )
    with WorkerProcess(database.conninfo) as worker:
        worker.await_event("worker_started")
        with without(connection, "fail"):
            insert(connection, [1])
            worker.await_event("schema_waits")
            assert [one.attempts for one in waiting(connection)] == [0]
        worker.await_event("job_failed")
        assert [one.attempts for one in waiting(connection)] == [1]


@pytest.mark.slow
def test_a_content_function_that_calls_what_is_missing_is_the_rows_fault(
    database: Database, connection: psycopg.Connection
) -> None:
    """Errors of the same kind that code of a user's raises stop nothing."""
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute("create function odd(documents) returns text language sql as $$ select $1.body $$")
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', content_function => 'odd', "
        "model => 'all-MiniLM-L6-v2')"
    )
    connection.execute(
        "create or replace function odd(documents) returns text language plpgsql "
        "as $$ begin return nowhere($1.id); end $$"
    )
    with WorkerProcess(database.conninfo) as worker:
        insert(connection, [1])
        worker.await_event("job_failed")
        assert worker.named("schema_waits") == []


@pytest.mark.slow
def test_an_error_in_the_moment_of_a_migration_is_no_rows_fault(
    database: Database, connection: psycopg.Connection
) -> None:
    """A function that runs calls others, which a migration may have replaced meanwhile."""
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute("create sequence calls")
    connection.execute(
        "create function once(documents) returns text language plpgsql as "
        "$$ begin if nextval('calls') = 1000 then raise 'odd' using errcode = '42883'; end if; return $1.body; end $$"
    )
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', content_function => 'once', "
        "model => 'all-MiniLM-L6-v2')"
    )
    with WorkerProcess(database.conninfo) as worker:
        insert(connection, [1])
        await_quiet(connection)
        connection.execute("update pgembedd_internal.installation set sql_digest = 'later'")
        connection.execute("select setval('calls', 999)")
        insert(connection, [2])
        await_quiet(connection)
        assert reasons(worker) == [MIGRATED]
        assert charged(worker) == []


@pytest.mark.slow
def test_what_is_pushed_to_a_worker_that_waits_is_refused_and_stays_queued(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with service(database.conninfo, PGEMBEDD_HTTP_PUSH_TIMEOUT_S="2") as process:
        process.await_event("model_loaded")
        insert(connection, [1])
        jobs = column(connection, "select j from pgembedd_internal._claim_for_push(10, 300) j")
        with without(connection, "claim_pushed"):
            answer = httpx.post(f"{url(process)}/functions/v1/embed", json=jobs, timeout=60, verify=PLAIN)
            assert (answer.status_code, answer.json()["message"]) == (503, LACKING)
            assert [(one.attempts, one.unrecorded) for one in waiting(connection)] == [(0, 0)]
        jobs = column(
            connection, "update pgmq.q_pgembedd_fresh set vt = now() - interval '1 s' returning msg_id"
        ) and column(connection, "select j from pgembedd_internal._claim_for_push(10, 300) j")
        answer = httpx.post(f"{url(process)}/functions/v1/embed", json=jobs, timeout=60, verify=PLAIN)
        assert (answer.status_code, answer.json()["failedJobs"]) == (200, [])
    assert missing(connection) == []


@pytest.mark.slow
def test_a_command_whose_function_is_missing_says_so_in_a_sentence(
    database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection)
    with without(connection, "backfill"):
        assert pgembedd("backfill", "documents", database=database.conninfo).refused(4) == f"pgembedd: {LACKING}"

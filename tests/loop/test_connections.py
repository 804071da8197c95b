"""A worker has few connections to the database, and fewer while nothing is to be done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgembedd.database.connect import connect
from pgembedd.database.connection import Connection
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError
from pgembedd.loop.connections import WorkerConnections
from pgembedd.model import Session
from pgembedd.retry_policy import RetryPolicy
from pgembedd.telemetry.observer import SILENT
from tests.support.databases import Database
from tests.support.documents import await_quiet, backends, insert, make_documents, stale
from tests.support.embedders import Wrapped, only
from tests.support.sql import column, end_sessions, value
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, brisk, worker_thread

OURS = "application_name like 'pgembedd %'"
STORING = "query ~ 'pgembedd_internal.store' and state = 'active'"


def names(connection: psycopg.Connection) -> list[str]:
    """The names of a worker's sessions."""
    return column(
        connection,
        f"select application_name from pg_stat_activity where datname = current_database() and {OURS} order by 1",
    )


def test_an_idle_worker_has_four_sessions(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgembedd.loop.worker.IDLE_S", 1.0)
    monkeypatch.setattr("pgembedd.loop.embed_requests.POLL_EVERY_S", 0.1)
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), poll_max_s=60.0):
        insert(connection, range(20))
        await_quiet(connection)
        kept = ["pgembedd embed requests", "pgembedd leases", "pgembedd listen", "pgembedd work"]
        eventually(lambda: names(connection) == kept)
    assert stale(connection, model) == []


def test_a_worker_whose_sessions_are_all_ended_is_known_by_new_ones_before_its_next_beat(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgembedd.loop.lease_heartbeat.BEAT_S", 2 * PATIENCE_S)
    known = "select sessions from pgembedd_internal.worker"
    with worker_thread(database, only(Wrapped(model)), lease_s=6 * round(PATIENCE_S)):
        eventually(lambda: len(column(connection, known)) == 1)
        before = set(value(connection, known))
        assert end_sessions(connection, OURS)
        eventually(lambda: set(value(connection, known)) - before)
        eventually(lambda: value(connection, "select pgembedd_internal._listeners() is not null"))


def test_the_first_thread_that_has_a_session_again_wakes_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits after a loss does not sleep on once the database is back."""
    monkeypatch.setattr("pgembedd.database.connection.RECONNECT", RetryPolicy(3600.0, 3600.0))
    sessions, stopping, tries = Sessions(database.conninfo, "test", most=2), threading.Event(), list[int]()

    def lost_once(_: psycopg.Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise psycopg.OperationalError("the connection is lost")
        return len(tries)

    with ThreadPoolExecutor() as pool, closing(sessions):
        waiting = pool.submit(Connection(sessions, stopping).call, lost_once)
        try:
            eventually(lambda: tries and not sessions._up)
            assert not waiting.done()
            assert Connection(sessions, stopping).value("process") > 0
            assert waiting.result(PATIENCE_S) == 2
        finally:
            stopping.set()


def test_a_database_where_no_server_takes_writes_is_away(database: Database, connection: psycopg.Connection) -> None:
    """As in a failover, where the connection string names several servers and asks for the primary."""
    connection.execute(f'alter database "{database.name}" set default_transaction_read_only = on'.encode())
    with pytest.raises(DatabaseUnavailableError, match="session is read-only") as raised:
        connect(make_conninfo(database.conninfo, target_session_attrs="read-write"))
    assert not isinstance(raised.value, DatabaseRefusedError)


def test_a_worker_has_no_more_connections_than_it_may(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """All threads together, while both lanes are busy; the upkeep and both stores share what is left."""
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), max_connections=6, sweep_every_s=1.0):
        insert(connection, range(200))
        value(connection, "select pgembedd.backfill('documents', true)")
        seen = {backends(connection, OURS)}
        eventually(lambda: backends(connection, "query ~ 'pgembedd_internal.store'") > 0)
        await_quiet(connection)
        seen.add(backends(connection, OURS))
    assert max(seen) <= 6
    assert stale(connection, model) == []


@pytest.mark.usefixtures("heartbeat")
def test_leases_are_extended_while_owners_code_holds_all_other_sessions(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """Two sessions are left for four threads, and the stores of both lanes hold them."""
    make_documents(connection)
    connection.execute("alter table documents disable trigger all")
    insert(connection, range(20))
    connection.execute("alter table documents enable trigger all")
    connection.execute("create table gate (closed int)")
    connection.execute("insert into gate values (1)")
    connection.execute(
        "create function wait() returns trigger language plpgsql as $$ begin "
        "while exists (select from gate) loop perform pg_sleep(0.05); end loop; return new; end $$"
    )
    connection.execute("create trigger wait before update on documents for each row execute function wait()")
    with worker_thread(database, only(Wrapped(model)), max_connections=6):
        value(connection, "select pgembedd.backfill('documents')")
        insert(connection, range(101, 120))
        eventually(lambda: backends(connection, STORING) == 2)
        now = value(connection, "select clock_timestamp()")
        extended = (
            f"application_name = 'pgembedd leases' and query ~ 'pgembedd_internal.extend' and query_start > '{now}'"
        )
        eventually(lambda: backends(connection, extended) == 1)
        assert backends(connection, STORING) == 2
        connection.execute("delete from gate")
        await_quiet(connection)
    assert stale(connection, model) == []


def test_a_session_is_one_thread_s_at_a_time(database: Database) -> None:
    sessions, stopping = Sessions(database.conninfo, "test", most=1), threading.Event()
    one, other = Connection(sessions, stopping, "one"), Connection(sessions, stopping, "other")
    with sessions.session(stopping):
        stopping.set()
        with pytest.raises(DatabaseUnavailableError, match="All 1 sessions are in use"):
            other.call(lambda _: None)
    assert one.value("process") == other.value("process")
    sessions.close()


def test_all_sessions_are_opened_again_after_a_loss(database: Database, connection: psycopg.Connection) -> None:
    """One that a restart of the server ended costs one try, and not a try for each session that is not used."""
    sessions, stopping = Sessions(database.conninfo, "test", most=3), threading.Event()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(sessions.session(stopping))
    assert backends(connection, "application_name = 'pgembedd test'") == 3
    assert end_sessions(connection, "application_name = 'pgembedd test'") == 3
    tries = []
    made = Connection(sessions, stopping)
    made.call(lambda session: tries.append(session.execute("select 1")))
    assert len(tries) == 1
    assert backends(connection, "application_name = 'pgembedd test'") == 1
    sessions.close()


def test_threads_take_turns_at_a_session(database: Database) -> None:
    """One that takes it again as soon as it gave it back, as an idle claimer does, leaves it to others in between."""
    sessions, stopping, stored = Sessions(database.conninfo, "test"), threading.Event(), threading.Event()
    idle, store = Connection(sessions, stopping, "idle"), Connection(sessions, stopping, "store")
    held, turns = threading.Event(), list[bool]()

    def wait(_: psycopg.Connection) -> bool:
        held.set()
        return stored.wait(0.05)

    def wait_for_jobs() -> None:
        while not stored.is_set() and len(turns) < 40:
            turns.append(idle.call(wait))

    claimer = threading.Thread(target=wait_for_jobs)
    claimer.start()
    assert held.wait(PATIENCE_S)
    store.call(lambda _: stored.set())
    claimer.join()
    assert len(turns) < 40
    sessions.close()


def test_the_jobs_in_flight_get_a_session_while_the_worker_drains(database: Database) -> None:
    """Others have all sessions at the moment of SIGTERM: what was claimed is read, and what is left released, after."""
    stopping = threading.Event()
    stopping.set()
    made = WorkerConnections(database.conninfo, brisk(max_connections=6), SchemaWait(), SILENT.connection)
    for purpose, most in (("release", 1), ("claim backfill", 3)):
        last, tried = made.connection(purpose, stopping), threading.Event()
        with ThreadPoolExecutor(1) as pool, ExitStack() as held:
            for _ in range(most):
                held.enter_context(last.sessions.session(stopping))

            def read(last: Connection = last, tried: threading.Event = tried) -> int:
                tried.set()
                return int(last.value("process"))

            reading = pool.submit(read)
            assert tried.wait(PATIENCE_S)
            held.close()
            assert reading.result(PATIENCE_S) > 0
    made.close()


def test_a_session_that_the_server_ended_is_not_taken(database: Database, connection: psycopg.Connection) -> None:
    """It says so without a round trip; a program that does not repeat its statements is spared that error."""
    sessions, stopping = Sessions(database.conninfo, "test"), threading.Event()
    with sessions.session(stopping) as session:
        process = session.process
    assert end_sessions(connection, f"pid = {process}") == 1
    with sessions.session(stopping) as session:
        assert session.process != process
        assert session.connection.execute("select 1").fetchall() == [(1,)]
    sessions.close()


def test_a_session_is_given_back_between_transactions(database: Database) -> None:
    sessions, stopping = Sessions(database.conninfo, "test"), threading.Event()
    with sessions.session(stopping) as session:
        process = session.process
        session.connection.execute("begin")
    with sessions.session(stopping) as session:
        assert session.process != process
    sessions.close()


def test_after_the_loss_of_one_session_the_others_are_up(database: Database, connection: psycopg.Connection) -> None:
    """One that was in use serves the next statement, so none is opened."""
    changes: list[bool] = []
    stopping = threading.Event()
    sessions = Sessions(database.conninfo, "test", most=2, on_change=lambda _, up: changes.append(up))
    made = Connection(sessions, stopping)
    with sessions.session(stopping) as kept:
        process = made.value("process")
        assert process != kept.process
        assert end_sessions(connection, f"pid = {process}") == 1
        sessions.lost()
    assert made.value("process") == kept.process
    assert changes == [True, True, False, True]
    sessions.close()


@pytest.mark.parametrize(("own", "limit"), [("0", "1min"), ("9s", "9s"), ("40s", "40s"), ("2min", "1min")])
def test_the_upkeep_keeps_to_the_limit_of_its_role(database: Database, own: str, limit: str) -> None:
    """Ten times six seconds, unless the role has less."""
    conninfo = make_conninfo(database.conninfo, options=f"-c statement_timeout={own}")
    sessions = Sessions(conninfo, "test", limit_s=6.0)
    with sessions.session(threading.Event()) as session:
        with session.limit.over(session.connection, session.limit.allowed(None, 10)):
            assert session.connection.execute("show statement_timeout").fetchall() == [(limit,)]
        session.limit.clean(session.connection)
        assert session.connection.execute("show statement_timeout").fetchall() == [("6s",)]
    sessions.close()

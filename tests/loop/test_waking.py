"""An idle worker learns of jobs by NOTIFY, with a poll as the fallback, or by pgmq's poll without LISTEN."""

from __future__ import annotations

import threading

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.database.listener import Listener, Waker
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_quiet, backends, insert, make_documents, missing, stale
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import end_sessions, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

SLEEP_S = 600.0


def idle(connection: psycopg.Connection) -> bool:
    """Tells that triggers are asked to NOTIFY."""
    return bool(value(connection, "select last_value = 1 from pgembedd_internal.worker_idle"))


LISTENING = "application_name = 'pgembedd listen'"


def asleep(connection: psycopg.Connection) -> bool:
    """Tells that the worker's last statement was a while ago, and that triggers are asked to NOTIFY."""
    recent = "(state <> 'idle' or state_change > clock_timestamp() - interval '300 ms')"
    busy = backends(connection, f"application_name = 'pgembedd work' and {recent}")
    return idle(connection) and backends(connection, LISTENING) == 1 and busy == 0


def end_of_listener(connection: psycopg.Connection) -> None:
    """Terminate the connection that a worker listens on, and return when it is gone."""
    assert end_sessions(connection, LISTENING) == 1


@pytest.fixture
def deep_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that do not look at an empty queue again for ten minutes."""
    monkeypatch.setattr("pgembedd.loop.claimer.FIRST_PAUSE_S", SLEEP_S)


@pytest.mark.slow
@pytest.mark.usefixtures("deep_sleep")
def test_notify_wakes_a_sleeping_worker(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), poll_max_s=SLEEP_S):
        for key in range(1, 3):
            eventually(lambda: asleep(connection))
            insert(connection, [key])
            await_quiet(connection)
        eventually(lambda: asleep(connection))
        connection.execute("update documents set body = 'changed' where id = 1")
        await_quiet(connection)
    assert stale(connection, model) == []


@pytest.mark.slow
@pytest.mark.usefixtures("deep_sleep")
def test_a_lost_connection_listens_again(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), poll_max_s=SLEEP_S):
        eventually(lambda: asleep(connection))
        end_of_listener(connection)
        eventually(lambda: asleep(connection))
        insert(connection, [1])
        await_quiet(connection)


@pytest.mark.slow
@pytest.mark.usefixtures("deep_sleep")
def test_what_was_said_while_nobody_listened_is_looked_for(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), poll_max_s=SLEEP_S):
        eventually(lambda: asleep(connection))
        with connection.transaction():  # the NOTIFY goes out at its end, when the listener is gone
            insert(connection, [1])
            end_of_listener(connection)
        await_quiet(connection)


def test_a_pooler_is_passed_by_to_listen(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps until a NOTIFY instead of inside a statement, and serves embed(); the pooler builds no index."""
    monkeypatch.setenv("DATABASE_LISTEN_URL", database.conninfo)
    monkeypatch.setattr("pgembedd.loop.claimer.FIRST_PAUSE_S", SLEEP_S)
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), wait="poll", poll_max_s=SLEEP_S):
        eventually(lambda: asleep(connection))
        insert(connection, [1])
        await_quiet(connection)
        eventually(lambda: value(connection, "select tasks from pgembedd.workers()") == ["claim", "embed"])
    assert stale(connection, model) == []


def test_polling_is_the_net(database: Database, connection: psycopg.Connection, model: Session) -> None:
    """Jobs that come without a NOTIFY, and those whose time has come, are found."""
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), poll_max_s=0.2):
        eventually(lambda: idle(connection))
        connection.execute("select pgembedd_internal.set_idle(false)")
        insert(connection, [1])
        await_quiet(connection)


@pytest.mark.slow
def test_triggers_are_asked_to_notify_only_while_a_worker_sleeps(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), claim_size=4):
        eventually(lambda: idle(connection))
        insert(connection, range(1, 21))
        assert gate.reached.wait(PATIENCE_S)
        eventually(lambda: not idle(connection))
        with database.connect() as listener:
            listener.execute("listen pgembedd")
            insert(connection, range(21, 25))
            listener.execute("select 1")  # with whose result a notification comes that was committed before
            assert list(listener.notifies(timeout=0)) == [], "it is busy, and looks again by itself"
        gate.open()
        await_quiet(connection)
        eventually(lambda: idle(connection))


@pytest.mark.slow
@pytest.mark.usefixtures("deep_sleep")
def test_a_worker_of_some_pipelines_lets_the_worker_of_others_be_woken(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    make_documents(connection, "others")
    gate = Gate()
    with worker_thread(database, only(Wrapped(model)), pipelines=("others",), poll_max_s=SLEEP_S):
        eventually(lambda: asleep(connection))
        with worker_thread(database, only(Wrapped(model, on_result=gate)), pipelines=("documents",), claim_size=4):
            insert(connection, range(1, 21))
            assert gate.reached.wait(PATIENCE_S)
            insert(connection, [1], table="others")
            eventually(lambda: missing(connection, "others") == [])
            gate.open()
            await_quiet(connection)


@pytest.mark.slow
def test_poll_mode_works_without_listen_and_without_prepared_statements(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model)), wait="poll", poll_max_s=1.0):
        for key in range(1, 4):
            eventually(lambda: backends(connection, "query like '%pgembedd_internal.due%' and state = 'active'") > 0)
            insert(connection, [key])
            await_quiet(connection)
            assert not idle(connection), "no session receives a NOTIFY"
    assert stale(connection, model) == []


def test_a_burst_of_notifications_is_one_reason_to_look(database: Database, connection: psycopg.Connection) -> None:
    listener, waker, payloads = Listener(database.conninfo), Waker(threading.Event()), list[str | None]()
    listener.subscribe("pgembedd", waker.wake)
    listener.subscribe("pgembedd", payloads.append)
    eventually(lambda: payloads == [None])
    assert waker.wait(0.0), "it began to listen, and may have missed some"
    with connection.transaction():
        for number in range(50):
            connection.execute(f"notify pgembedd, '{number}'".encode())
    eventually(lambda: len(payloads) == 51)
    assert waker.wait(0.0)
    assert not waker.wait(0.0)
    listener.close()


def test_a_session_that_has_listened_is_no_failure_in_succession(
    database: Database, connection: psycopg.Connection, log: list[EventDict]
) -> None:
    """A proxy that ends what is silent for half an hour does not make the next session come later each time."""
    listener, payloads = Listener(database.conninfo), list[str | None]()
    listener.subscribe("pgembedd", payloads.append)
    for _ in range(4):
        eventually(lambda: payloads)
        payloads.clear()
        end_of_listener(connection)
    eventually(lambda: payloads)
    listener.close()
    lost = [(event["event"], event["purpose"], event["tries"]) for event in log]
    assert lost == [("database_away", "listen", 1)] * 4


def test_what_comes_just_after_the_timeout_ends_the_next_wait() -> None:
    class Late(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            woken = super().wait(timeout)
            self.set()
            return woken

    waker = Waker(threading.Event())
    waker._woken = Late()  # no other way to come in between
    assert not waker.wait(0.0)
    assert waker.wait(0.0)


def test_one_session_listens_to_what_is_subscribed_to(database: Database, connection: psycopg.Connection) -> None:
    """A channel that ends is left; a session that is lost is opened again, and all are told that it was."""
    listener, one, other = Listener(database.conninfo), list[str | None](), list[str | None]()
    listener.subscribe("one", one.append)
    leave = listener.subscribe("other", other.append)
    eventually(lambda: one == other == [None])
    leave()
    listener.subscribe("one", other.append)
    eventually(lambda: other == [None, None])
    connection.execute("notify other, 'none hears it'; notify one, 'first'")
    eventually(lambda: one == [None, "first"] and other == [None, None, "first"])
    assert backends(connection, LISTENING) == 1
    end_of_listener(connection)
    eventually(lambda: one == [None, "first", None] and other == [None, None, "first", None])
    connection.execute("notify one, 'second'")
    eventually(lambda: one[3:] == other[4:] == ["second"])
    listener.close()
    eventually(lambda: backends(connection, LISTENING) == 0)


def test_behind_a_pooler_no_session_listens(database: Database, connection: psycopg.Connection) -> None:
    listener, waker = Listener(database.conninfo, pooled=True), Waker(threading.Event())
    listener.subscribe("pgembedd", waker.wake)
    assert not listener.hears
    assert not waker.wait(0.0)
    assert backends(connection, LISTENING) == 0
    listener.close()


@pytest.mark.slow
def test_a_worker_sleeps_and_ends_while_all_that_is_due_is_locked(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """As by a drop_pipeline() that is not committed yet: what is due can then be seen, and not claimed."""
    make_documents(connection)
    insert(connection, [1])
    with database.connect(autocommit=False) as other:
        other.execute("select from pgmq.q_pgembedd_fresh for update")
        with worker_thread(database, only(Wrapped(model)), poll_max_s=SLEEP_S, grace_s=SLEEP_S):
            eventually(lambda: asleep(connection))
        other.rollback()
        with worker_thread(database, only(Wrapped(model))):
            await_quiet(connection)
    assert stale(connection, model) == []

"""A worker as a service: what it logs, and what it tells systemd."""

from __future__ import annotations

import signal
import socket
from datetime import datetime

import psycopg
import pytest

from tests.support.databases import Database, open_directory
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.worker import PATIENCE_S, WorkerProcess


@pytest.mark.slow
def test_the_log_is_events_with_fields_and_never_content(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, max_attempts=1)
    connection.execute("alter table documents add constraint positive check (id > 0 or embedding is null)")
    insert(connection, range(-1, 3), text="secret")
    with WorkerProcess(database.conninfo, PGEMBEDD_LOG_LEVEL="debug") as worker:
        await_quiet(connection)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert len(worker.events) == len(worker.lines), "every line is JSON"
    assert {"model_loaded", "worker_started", "dead_letter", "stored", "worker_stopped"} <= {
        event["event"] for event in worker.events
    }
    for event in worker.events:
        assert event["level"] in ("debug", "info", "warning", "error")
        assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
    (stored,) = worker.named("stored")
    assert stored["pipeline"] == "documents"
    assert stored["written"] == 2
    assert stored["failed"] == 2
    assert {event["reason"] for event in worker.named("dead_letter")} == {"write"}
    assert "secret" not in "".join(worker.lines)
    password = psycopg.conninfo.conninfo_to_dict(database.conninfo)["password"]
    assert str(password) not in "".join(worker.lines)


@pytest.mark.slow
def test_the_log_is_text_on_request(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    with WorkerProcess(database.conninfo, "--log-format", "text") as worker:
        insert(connection, [1], text="secret")
        await_quiet(connection)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert worker.events == []
    assert any("worker_started" in line and "pid=" in line for line in worker.lines)
    assert "secret" not in "".join(worker.lines)


@pytest.mark.slow
def test_systemd_is_told_when_it_is_ready_alive_and_stopping(
    database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection)
    with open_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"{directory}/notify")
        channel.settimeout(PATIENCE_S)
        with WorkerProcess(database.conninfo, NOTIFY_SOCKET=f"{directory}/notify") as worker:
            assert channel.recv(100) == b"READY=1"
            worker.await_event("worker_started")
            events = [event["event"] for event in list(worker.events)]
            assert "model_loaded" in events[: events.index("worker_started")], "it is ready when its model is"
            assert channel.recv(100) == b"WATCHDOG=1"
            assert channel.recv(100) == b"WATCHDOG=1"
            worker.send(signal.SIGTERM)
            while (said := channel.recv(100)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"
            assert worker.wait() == 0


@pytest.mark.slow
def test_a_notify_socket_that_is_gone_stops_nothing(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    with WorkerProcess(database.conninfo, NOTIFY_SOCKET="/nonexistent/notify") as worker:
        insert(connection, [1])
        await_quiet(connection)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

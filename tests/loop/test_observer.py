"""The calls of an observer after errors; for those of normal work see tests/http/test_metrics.py."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from pgembedd.database.records import Job
from pgembedd.model import Session
from pgembedd.telemetry.observer import Observer
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import claim, end_sessions, let_leases_run_out
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, worker_thread


class Ear(Observer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def claimed(self, lane: str, jobs: Sequence[Job], seconds: float) -> None:
        assert seconds > 0
        self.heard.append(("claimed", lane, len(jobs)))

    def released(self, jobs: Sequence[Job]) -> None:
        self.heard.append(("released", len(jobs)))

    def suspected(self, job: Job) -> None:
        self.heard.append(("suspected", job.id))

    def extended(self, held: int, lost: int) -> None:
        self.heard.append(("extended", held, lost))

    def connection(self, purpose: str, up: bool) -> None:
        self.heard.append(("connection", purpose, up))


def test_leases_that_are_extended_and_lost(
    database: Database, connection: psycopg.Connection, model: Session, heartbeat: list[float]
) -> None:
    make_documents(connection)
    insert(connection, [1, 2])
    gate, ear = Gate(), Ear()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), observer=ear):
        assert gate.reached.wait(PATIENCE_S)
        eventually(lambda: ("extended", 2, 0) in ear.heard, timeout_s=PATIENCE_S)
        with connection.transaction():
            let_leases_run_out(connection)
            assert len(claim(connection, lease_s=600)) == 2
        eventually(lambda: ("extended", 0, 2) in ear.heard, timeout_s=PATIENCE_S)
        gate.open()
    assert ("claimed", "fresh", 2) in ear.heard


def test_a_suspect(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    insert(connection, [1])
    for _ in range(2):  # a worker reads it and dies
        assert len(claim(connection)) == 1
        let_leases_run_out(connection)
    ear = Ear()
    with worker_thread(database, only(Wrapped(model)), observer=ear):
        await_quiet(connection)
    assert ("suspected", "1") in ear.heard


@pytest.mark.slow
def test_a_connection_that_breaks_and_comes_back(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    ear = Ear()
    with worker_thread(database, only(Wrapped(model)), observer=ear):
        eventually(lambda: ("connection", "listen", True) in ear.heard, timeout_s=PATIENCE_S)
        assert end_sessions(connection, "application_name = 'pgembedd listen'") == 1
        eventually(lambda: ear.heard.count(("connection", "listen", True)) == 2, timeout_s=PATIENCE_S)
    assert ("connection", "listen", False) in ear.heard
    assert ear.heard.index(("connection", "listen", False)) > ear.heard.index(("connection", "listen", True))


def test_jobs_that_are_given_back_at_the_end(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, [1, 2, 3])
    gate, ear = Gate(), Ear()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), observer=ear, grace_s=0.0) as worker:
        assert gate.reached.wait(PATIENCE_S)
        worker.stop()
        eventually(lambda: ("released", 3) in ear.heard, timeout_s=PATIENCE_S)
        gate.open()

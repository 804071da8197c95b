"""A worker that was stopped for longer than its lease does nothing to the jobs when it goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg

from tests.support.databases import Database
from tests.support.documents import insert, make_documents, missing, waiting
from tests.support.sql import claim, learn_vector, store, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

MESSAGE = "select vt, read_ct, message::text from pgmq.q_pgembedd_fresh"


def test_a_worker_that_was_stopped_past_its_lease(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    learn_vector(connection)
    make_documents(connection)
    insert(connection, [1])
    settings = {"MODEL_FAULT": f"held:{go_on}", "PGEMBEDD_LEASE_S": "1"}
    with WorkerProcess(database.conninfo, module="tests.support.faulty_model_worker", **settings) as worker:
        eventually(lambda: waiting(connection)[0].read_ct)
        worker.send(signal.SIGSTOP)
        eventually(lambda: value(connection, "select vt < clock_timestamp() from pgmq.q_pgembedd_fresh"))
        (mine,) = claim(connection, lease_s=600)
        before = connection.execute(MESSAGE).fetchone()
        worker.send(signal.SIGCONT)
        go_on.touch()
        worker.await_event("stored")
        # Where it lost its lease before it was stopped, too, it had claimed the job again.
        assert {(event.get("lost"), event.get("written")) for event in worker.named("stored")} <= {(1, None), (2, None)}
        assert connection.execute(MESSAGE).fetchone() == before
        assert missing(connection) == [1]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert connection.execute(MESSAGE).fetchone() == before
    assert store(connection, [mine], embed=lambda _text: [0.5] * 384) == ["written"]

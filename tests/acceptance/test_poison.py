"""A text that kills every worker that embeds it takes nothing with it, and ends as a dead letter."""

from __future__ import annotations

import psycopg

from tests.support.databases import Database
from tests.support.documents import insert, make_documents, missing, put_off_upkeep, waiting
from tests.support.faulty_model_worker import DIED_OF_TEXT
from tests.support.sql import let_leases_run_out, rows
from tests.support.worker import WorkerProcess

POISON = 3
COMPANY = [1, 2, 4, 5]


def test_a_text_that_kills_the_process(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, max_attempts=2)
    insert(connection, sorted([*COMPANY, POISON]))

    def next_worker() -> WorkerProcess:
        let_leases_run_out(connection)
        put_off_upkeep(connection)
        return WorkerProcess(
            database.conninfo, module="tests.support.faulty_model_worker", MODEL_FAULT=f"dies:text {POISON}"
        )

    for _ in range(2):  # in one claim: any of the five may have killed the worker
        with next_worker() as worker:
            assert worker.wait() == DIED_OF_TEXT
            assert worker.named("suspect_alone") == []
    assert missing(connection) == sorted([*COMPANY, POISON])

    with next_worker() as worker:  # now each is worked alone
        assert worker.wait() == DIED_OF_TEXT
        assert worker.named("suspect_alone")
    assert [(job.id, job.alone) for job in waiting(connection) if job.alone] == [(POISON, 1)]

    with next_worker() as worker:  # jobs that have not killed a worker go first
        assert worker.wait() == DIED_OF_TEXT
    assert missing(connection) == [POISON]
    assert [(job.id, job.alone) for job in waiting(connection)] == [(POISON, 2)]

    with next_worker() as worker:
        insert(connection, [6])
        worker.await_event("stored")
        assert worker.process.poll() is None
    assert waiting(connection) == []
    assert rows(connection, "select key, reason, attempts from pgembedd.dead_letters") == [(POISON, "worker_died", 2)]
    assert missing(connection) == [POISON]

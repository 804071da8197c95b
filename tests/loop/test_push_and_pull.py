"""A queue that is pulled by a worker and pushed by the guide, late and twice: all is embedded, nothing given up."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor

import psycopg

from pgembedd.http.context import ServiceContext
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, stale
from tests.support.embedders import Wrapped, only
from tests.support.sql import column, let_leases_run_out, value
from tests.support.worker import brisk, worker_thread

ROWS = 60
READ = "select message || jsonb_build_object('jobId', msg_id) from pgmq.read('pgembedd_jobs', 300, 20)"


def test_a_queue_that_is_pulled_and_pushed(database: Database, connection: psycopg.Connection, model: Session) -> None:
    chance = random.Random(5)
    make_documents(connection)
    load = only(Wrapped(model))
    service = ServiceContext(brisk(), HttpSettings(), ModelRegistry(load), database.conninfo)
    pushes = service.pushes
    assert pushes is not None

    def post(jobs: list[object]) -> int:
        posted = json.dumps(jobs)
        return len(pushes.work(lambda jobs, lease_s: jobs.claim_pushed(posted, lease_s)))

    with ThreadPoolExecutor(4) as pool, worker_thread(database, load):
        answers = []
        for first in range(1, ROWS, 10):
            insert(connection, range(first, first + 10))
            connection.execute("update documents set body = body || '!' where id %% 7 = %s", [chance.randrange(7)])
            jobs = column(connection, READ)
            if chance.random() < 0.5:
                let_leases_run_out(connection)  # the post comes late: the worker may have claimed them
            answers += [(len(jobs), pool.submit(post, jobs)) for _ in range(2)]
        assert all(answer.result() == count for count, answer in answers)
        let_leases_run_out(connection)
        await_quiet(connection)
    service.close()
    assert missing(connection) == []
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.failures") == 0

"""A queue that is pulled and pushed, by one process, late and twice: all is embedded, nothing is given up."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg

from pgembedd.database.pushed_jobs import PushedJobRepository
from pgembedd.http.context import ServiceContext
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, stale
from tests.support.embedders import Wrapped, only
from tests.support.http import pushed_worker
from tests.support.sql import column, let_leases_run_out, value
from tests.support.worker import brisk, running

ROWS = 60
READ = "select j from pgembedd_internal._claim_for_push(20, 300) j"


def test_a_queue_that_is_pulled_and_pushed(database: Database, connection: psycopg.Connection, model: Session) -> None:
    chance = random.Random(5)
    make_documents(connection)
    models = ModelRegistry(only(Wrapped(model)))
    service = ServiceContext(brisk(), HttpSettings(), models, database.conninfo)
    pushed = service.pushed
    assert pushed is not None

    def post(jobs: list[object]) -> int:
        return len(pushed.process([partial(PushedJobRepository.claim_pushed, jobs=json.dumps(jobs))]))

    with ThreadPoolExecutor(4) as pool, running(pushed_worker(service, database.conninfo, models, pulls=True)):
        answers = []
        for first in range(1, ROWS, 10):
            insert(connection, range(first, first + 10))
            connection.execute("update documents set body = body || '!' where id %% 7 = %s", [chance.randrange(7)])
            jobs = column(connection, READ)
            if chance.random() < 0.5:
                let_leases_run_out(connection)  # the post comes late: the worker may have claimed them
            answers += [(len(jobs), pool.submit(post, jobs)) for _ in range(2)]
        assert all(answer.result() == count for count, answer in answers)
        assert sum(count for count, _ in answers) > 0
        let_leases_run_out(connection)
        await_quiet(connection)
    service.close()
    assert missing(connection) == []
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0

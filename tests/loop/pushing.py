"""A service without its endpoints, to which jobs are posted as pg_cron does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from pgembedd.database.pushed_jobs import PushedJobRepository
from pgembedd.http.context import ServiceContext
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.pushed_request import Claim, Outcome
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import backends
from tests.support.embedders import Wrapped, only
from tests.support.http import pushed_worker
from tests.support.sql import column, value
from tests.support.waiting import eventually
from tests.support.worker import brisk, running

READ = "select jsonb_agg(j order by j ->> 'jobId')::text from pgembedd_internal._claim_for_push(100, 300) j"
EACH = f"select '[' || j::text || ']' from jsonb_array_elements(({READ})::jsonb) j"
DUE = "select count(*) from pgmq.q_pgembedd_fresh where vt <= clock_timestamp()"


class Pusher:
    """A service without its endpoints, to which jobs are posted from threads."""

    def __init__(self, connection: psycopg.Connection, pushed: PushedJobs, pool: ThreadPoolExecutor) -> None:
        self.pushed, self._connection, self._pool = pushed, connection, pool

    def post(self, *parts: str) -> Future[list[Outcome]]:
        """Post what pg_cron would read now, or these parts; what becomes of each job."""
        return self.claim(
            *(partial(PushedJobRepository.claim_pushed, jobs=part) for part in parts or [value(self._connection, READ)])
        )

    def post_each(self) -> Future[list[Outcome]]:
        """Post what pg_cron would read now, each job as its own part."""
        return self.post(*column(self._connection, EACH))

    def claim(self, *claims: Claim) -> Future[list[Outcome]]:
        """Post something that is claimed so."""
        return self._pool.submit(lambda: [outcome for _, outcome in self.pushed.process(claims)])

    def await_in_flight(self, count: int) -> None:
        """Return when so many jobs are in flight."""
        eventually(lambda: len(self.pushed.in_flight) == count)


@contextmanager
def pushing(
    database: Database,
    connection: psycopg.Connection,
    embedder: Wrapped,
    *,
    http: dict[str, Any] | None = None,
    pulls: bool = False,
    **settings: Any,
) -> Iterator[Pusher]:
    """A pusher; everything is answered at the end."""
    models = ModelRegistry(only(embedder))
    service = ServiceContext(brisk(**settings), HttpSettings(**(http or {})), models, database.conninfo)
    pushed = service.pushed
    assert pushed is not None
    worker = pushed_worker(service, database.conninfo, models, pulls=pulls, **settings)
    with ThreadPoolExecutor(8) as pool, running(worker) as thread:
        try:
            yield Pusher(connection, pushed, pool)
        finally:
            worker.stop()
            # Where a test has made the waits long: a lane that was about to wait has missed what came before.
            eventually(lambda: _woken(pushed, connection) and not thread.is_alive())
    service.close()
    eventually(lambda: backends(connection) == 0)


def _woken(pushed: PushedJobs, connection: psycopg.Connection) -> bool:
    pushed.wake()
    connection.execute("notify pgembedd")  # the lane that no request wakes
    return True

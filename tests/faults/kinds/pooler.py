"""A pooler between clients and server, in both modes."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import psycopg

from tests.faults import pgbouncer
from tests.faults.fault import Fault
from tests.faults.pgbouncer import Bouncer
from tests.faults.scene import Scene
from tests.faults.subjects import WORKER
from tests.support.waiting import eventually

HOLD_S = 4.0
"""Longer than the pooler lets clients wait (`query_wait_timeout`)."""


class Pooled(Fault):
    """A fault that needs PgBouncer."""

    def needs(self) -> str:
        return pgbouncer.why_not()

    def bouncer(self, scene: Scene) -> Bouncer:
        """The pooler of the stage."""
        assert isinstance(scene.pooler, Bouncer)
        return scene.pooler


class KillPooler(Pooled):
    """kill -9 of the pooler: all connections are gone, and their transactions."""

    name = "kill -9 of PgBouncer, session mode"
    stage = "PgBouncer, session mode"
    hits = (2, 8)

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(5)
        scene.await_held()
        self.bouncer(scene).kill()
        self.bouncer(scene).start()


class KillPoolerOfTransactions(KillPooler):
    """The same where each transaction may get another connection."""

    name = "kill -9 of PgBouncer, transaction mode"
    stage = "PgBouncer, transaction mode"


class ExhaustPool(Pooled):
    """Clients of the workers' own role keep every connection of its pool."""

    name = "pool exhaustion, session mode"
    stage = "PgBouncer, session mode"
    hits = (1, 2)

    def hit(self, scene: Scene, number: int) -> None:
        scene.await_held()
        with ExitStack() as taken, scene.admin() as connection:
            for _ in range(pgbouncer.POOL):
                with suppress(psycopg.OperationalError):  # some of them wait in vain, as workers will
                    opened = psycopg.connect(scene.conninfo(WORKER), autocommit=True, prepare_threshold=None)
                    taken.enter_context(opened).execute("begin")
            for pid in _workers_backends(connection):
                connection.execute("select pg_terminate_backend(%s)", (pid,))
            _hold()
        scene.writers.await_commits(5)


class ExhaustPoolOfTransactions(ExhaustPool):
    """The same where each transaction may get another connection."""

    name = "pool exhaustion, transaction mode"
    stage = "PgBouncer, transaction mode"


class CrashBehindPooler(Pooled):
    """kill -9 of the server behind a pooler that stays."""

    name = "kill -9 of the server behind PgBouncer"
    stage = "PgBouncer, transaction mode"
    hits = (1, 4)

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(5)
        scene.await_held()
        scene.server.kill()
        scene.server.start()


def _workers_backends(connection: psycopg.Connection) -> list[int]:
    """Sessions of the workers' role that are not ours to keep: those outside a transaction."""
    return [
        int(row[0])
        for row in connection.execute(
            "select pid from pg_stat_activity where usename = %s and state <> 'idle in transaction'", (WORKER,)
        )
    ]


def _hold() -> None:
    """Keeps the pool for longer than a client may wait for it."""
    until = time.monotonic() + HOLD_S
    eventually(lambda: time.monotonic() > until)

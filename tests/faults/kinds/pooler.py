"""A pooler between clients and server, in both modes."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from tests.faults import pgbouncer
from tests.faults.fault import Fault, await_effect, sessions
from tests.faults.pgbouncer import Bouncer
from tests.faults.scene import Scene
from tests.faults.subjects import WORKER

PATIENCE = 3
"""Clients that wait in vain before a pool counts as exhausted."""


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
        away = scene.times_away()
        with ExitStack() as taken, scene.admin() as connection:
            for pid in sessions(connection, f"usename = '{WORKER}'"):
                connection.execute("select pg_terminate_backend(%s)", (pid,))
            in_vain = 0  # a connection may end with the backend that it was given; later ones wait, as the workers will
            while in_vain < PATIENCE:
                try:
                    opened = psycopg.connect(scene.conninfo(WORKER), autocommit=True, prepare_threshold=None)
                    taken.enter_context(opened).execute("begin")
                except psycopg.OperationalError:
                    in_vain += 1
            await_effect(lambda: scene.times_away() > away + len(scene.workers))
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

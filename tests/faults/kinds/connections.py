"""Connections that cannot be had."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from tests.faults.fault import Fault, await_effect, sessions
from tests.faults.scene import Scene
from tests.faults.subjects import APPLICATION, WORKER


class MaxConnections(Fault):
    """Every connection that is no superuser's is taken, and workers lose theirs."""

    name = "max_connections reached"
    hits = (1, 3)

    def hit(self, scene: Scene, number: int) -> None:
        scene.await_held()
        away = scene.times_away()
        with scene.admin() as connection, ExitStack() as taken:

            def starve() -> bool:
                """Again, as a worker may have been quicker to take the place of a session that ended."""
                for pid in sessions(connection, f"usename = '{WORKER}'"):
                    connection.execute("select pg_terminate_backend(%s)", (pid,))
                _take_all(scene, taken)
                return scene.times_away() > away + len(scene.workers)

            await_effect(starve)
        scene.writers.await_commits(5)


class RoleLimit(Fault):
    """ALTER ROLE … CONNECTION LIMIT below what the workers need, and then their sessions end."""

    name = "ALTER ROLE ... CONNECTION LIMIT"
    hits = (1, 3)

    def hit(self, scene: Scene, number: int) -> None:
        away = scene.times_away()
        with scene.admin() as connection:
            scene.await_held(connection)
            connection.execute(f"alter role {WORKER} connection limit {number % 3}".encode())
            for pid in sessions(connection, f"usename = '{WORKER}'"):
                connection.execute("select pg_terminate_backend(%s)", (pid,))
            await_effect(lambda: scene.times_away() > away + len(scene.workers))
        scene.writers.await_commits(5)
        self.heal(scene)

    def heal(self, scene: Scene) -> None:
        with scene.admin() as connection:
            connection.execute(f"alter role {WORKER} connection limit -1".encode())


def _take_all(scene: Scene, taken: ExitStack) -> None:
    """Opens an application's connections until the server refuses one."""
    while True:
        try:
            taken.enter_context(psycopg.connect(scene.conninfo(APPLICATION), autocommit=True))
        except psycopg.OperationalError:
            return

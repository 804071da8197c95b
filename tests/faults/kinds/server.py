"""The server, or a part of it, ends."""

from __future__ import annotations

import os
import signal

import psycopg

from tests.faults.fault import Fault, sessions
from tests.faults.scene import Scene
from tests.faults.subjects import APPLICATION, WORKER
from tests.support.waiting import eventually


class Crash(Fault):
    """All processes of the server at once, as when the power is cut; then recovery from its log."""

    name = "kill -9 of the server"
    hits = (2, 12)
    weight = 5

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(5)
        scene.await_held()
        scene.server.kill()
        scene.server.start()


class BackendCrash(Fault):
    """One backend, upon which the server ends all others and recovers by itself."""

    name = "kill -9 of a backend (crash recovery)"
    hits = (2, 12)
    weight = 2

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(5)
        role = APPLICATION if number % 3 == 2 else WORKER
        with scene.admin() as connection:
            eventually(lambda: _killed(scene, sessions(connection, f"usename = '{role}'")))
            eventually(lambda: _ended(connection))
        eventually(lambda: _accepts(scene))


class Restart(Fault):
    """An orderly restart: fast, which ends sessions, and immediate, which recovers."""

    name = "restart of the server"
    hits = (2, 4)

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(5)
        scene.await_held()
        scene.server.stop("immediate" if number % 2 else "fast")
        scene.server.start()


class Terminate(Fault):
    """pg_terminate_backend of workers' sessions, of some and of all, and of writers'."""

    name = "pg_terminate_backend of sessions"
    hits = (5, 60)
    weight = 2

    def hit(self, scene: Scene, number: int) -> None:
        scene.writers.await_commits(1)
        role = APPLICATION if number % 4 == 3 else WORKER
        with scene.admin() as connection:
            victims = sessions(connection, f"usename = '{role}'")
            chosen = victims if number % 5 == 0 else scene.random.sample(victims, min(2, len(victims)))
            for pid in chosen:
                connection.execute("select pg_terminate_backend(%s)", (pid,))


def _killed(scene: Scene, victims: list[int]) -> bool:
    """Kills one of them; False where none is left, as others end meanwhile."""
    try:
        os.kill(scene.random.choice(victims), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return False
    return True


def _ended(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("select")
    except psycopg.Error:
        return True
    return False


def _accepts(scene: Scene) -> bool:
    try:
        with scene.admin():
            return True
    except psycopg.Error:
        return False

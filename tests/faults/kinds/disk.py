"""A disk without room."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.faults.fault import Fault, await_effect, why_not
from tests.faults.scene import Scene

BLOCK = bytes(1 << 20)
ERRORS = 12
"""Of writers, after which the disk was full for long enough."""


class Full(Fault):
    """A file takes all the room that the server's file system has; the server fails statements, or ends itself."""

    name = "disk full"
    stage = "small disk"
    hits = (1, 2)

    def needs(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
            return why_not("a file system of its own", mount, ["umount", folder])

    def hit(self, scene: Scene, number: int) -> None:
        self.heal(scene)
        scene.writers.await_commits(5)
        scene.await_held()
        errors = scene.writers.errors
        fill(ballast(scene))
        if number % 2:
            # Tables may have room within their files for long; a new segment of the log has none.
            with suppress(psycopg.Error), scene.admin() as connection:
                connection.execute("select pg_switch_wal()")
        await_effect(lambda: _hurt(scene, errors))

    def heal(self, scene: Scene) -> None:
        ballast(scene).unlink(missing_ok=True)
        if not scene.server.running():
            scene.server.start()


def ballast(scene: Scene) -> Path:
    """The file that takes the room."""
    return scene.folder / "disk" / "ballast"


def fill(path: Path) -> None:
    """Writes until there is no room."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(BLOCK)
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(BLOCK[:4096])


def _hurt(scene: Scene, errors: int) -> bool:
    """Whether the disk was full for a writer or the server. What is freed meanwhile is taken, too."""
    with suppress(OSError):
        fill(ballast(scene))
    return scene.writers.errors >= errors + ERRORS or not scene.server.running()

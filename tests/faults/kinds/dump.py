"""A dump in the midst of the work, restored next to it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from psycopg.conninfo import make_conninfo

from pgembedd.database.migrate import migrate
from tests.faults.fault import Fault
from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import DATABASE, Scene
from tests.faults.subjects import WORKER, WRITERS_TABLE
from tests.support.sql import rows

COPY = "faults_copy"


class DumpAndRestore(Fault):
    """pg_dump while all go on; pg_restore, `migrate` and a worker on the copy, which must be right for its snapshot."""

    name = "pg_dump and restore in the midst"
    hits = (1, 1)

    def strike(self, scene: Scene, hits: int) -> int:
        scene.writers.await_commits(20)
        scene.await_held()
        dumped = _run(scene, "pg_dump", "--format=custom", scene.server.conninfo(DATABASE))
        with scene.admin() as connection:
            connection.execute(f"create database {COPY} template template0".encode())
        _run(scene, "pg_restore", "--exit-on-error", "-d", scene.server.conninfo(COPY), given=dumped)
        migrate(scene.server.conninfo(COPY))
        return 1

    def check(self, scene: Scene, oracle: Oracle, bound_s: float) -> Findings:
        """The copy, compared with the ledger as it was at the snapshot: each writer's row tells how far it was."""
        copy = scene.server.conninfo(COPY)
        with scene.worker(conninfo=make_conninfo(scene.conninfo(WORKER), dbname=COPY)) as worker:
            worker.await_event("worker_started")
            drained = scene.await_drained(bound_s, copy)
        with scene.admin(copy) as connection:
            until: Mapping[int, int] = dict(rows(connection, f"select id, last from {WRITERS_TABLE}"))
            return oracle.compare(connection, scene.writers.ledger.rows(until), drained=drained)

    def after(self, scene: Scene) -> None:
        with scene.admin() as connection:
            connection.execute(f"drop database {COPY} with (force)".encode())


def _run(scene: Scene, program: str, *arguments: str, given: bytes = b"") -> bytes:
    command = [str(scene.server.bin_dir / program), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout

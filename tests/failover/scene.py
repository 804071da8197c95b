"""Writers and workers of a Patroni cluster, and the moments at which they got something done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psycopg

from tests.failover.hosts import HERE
from tests.failover.patroni import LEADER, Cluster
from tests.faults import pgbouncer
from tests.faults.ledger import Place
from tests.faults.pgbouncer import Bouncer
from tests.faults.scene import Scene
from tests.faults.stages import Stage, playing
from tests.faults.subjects import CARDS, NOTES, OWNER, WORKER, WRITERS_TABLE, Row
from tests.support.databases import open_directory
from tests.support.sql import rows
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

Way = Literal["HAProxy", "several hosts", "PgBouncer"]
WAYS: tuple[Way, ...] = ("HAProxy", "PgBouncer", "several hosts", "PgBouncer")
"""How the workers of each round reach the leader; writers go by HAProxy."""
Done = Literal["commit", "vector"]
AGAIN_S = 240.0

# `server` is the start of the server that it was done by: it tells a new leader, and a server that was started again.
MOMENTS = f"""
create table moments (
    done text, server timestamptz default pg_postmaster_start_time(), at timestamptz default clock_timestamp());
alter table moments owner to {OWNER};
create function note_moment() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin insert into public.moments (done) values (tg_argv[0]); return null; end $$;
alter function note_moment() owner to {OWNER};
create trigger note_commit after update on {WRITERS_TABLE}
    for each statement execute function note_moment('commit');
create trigger note_vector after update of embedding on {NOTES.name}
    for each statement execute function note_moment('vector');
create trigger note_vector after update of embedding on {CARDS.name}
    for each statement execute function note_moment('vector');
"""


FIRST = """
select extract(epoch from at - %s) from moments where done = %s and server <> %s and at > %s order by at limit 1
"""


class ClusterScene(Scene):
    """A scene whose server is the leader of a cluster. `way` is how its next workers reach it."""

    most_workers = 2

    def __init__(self, cluster: Cluster, folder: Path, model: Path, *, may_lose: bool, seed: int) -> None:
        self.cluster, self.way, self.may_lose = cluster, WAYS[0], may_lose
        self._bouncer = Bouncer(pgbouncer.packages(), folder / "bouncer", f"host={HERE} port={LEADER}", "transaction")
        super().__init__(cluster, folder, model, seed=seed)
        with self.admin() as connection:
            connection.execute(MOMENTS.encode())

    def worker(self, *arguments: str, conninfo: str = "", namespace: str = "", **environment: str) -> WorkerProcess:
        """Starts a worker that goes the scene's `way`, where no other is given."""
        leader = self.conninfo(WORKER)
        match self.way:
            case "several hosts":
                conninfo = conninfo or self.cluster.both(leader)
            case "PgBouncer":
                conninfo, environment["DATABASE_LISTEN_URL"] = conninfo or self._bouncer.route(leader), leader
        return super().worker(*arguments, conninfo=conninfo, namespace=namespace, **environment)

    def started(self) -> str:
        """When the leader's server was started."""
        with self.admin() as connection:
            return str(rows(connection, "select pg_postmaster_start_time()")[0][0])

    def now(self) -> str:
        """The time, as the servers have it."""
        with self.admin() as connection:
            return str(rows(connection, "select clock_timestamp()")[0][0])

    def seconds_until(self, done: Done, since: str, before: str) -> float:
        """Waits until another server than the one that was started at `before` has done that; after how long."""
        found: list[float] = []

        def there() -> bool:
            with suppress(psycopg.Error), self.admin() as connection:
                found[:] = [float(row[0]) for row in rows(connection, FIRST, since, done, before, since)]
            return bool(found)

        eventually(there, timeout_s=AGAIN_S)
        return found[0]

    def expected(self) -> dict[Place, Row]:
        """The rows that were committed, without what the cluster lost, where it may lose."""
        if self.may_lose:
            with self.admin() as connection:
                last = dict(rows(connection, f"select id, last from {WRITERS_TABLE}"))
            for author in self.writers.authors:
                author.rewind(last[author.number])
        return super().expected()

    def close(self) -> None:
        """Ends PgBouncer, too."""
        super().close()
        self._bouncer.kill()


def cluster(*, synchronous: bool) -> Stage:
    """A stage with a leader and a standby, which replicates synchronously or not."""

    @contextmanager
    def stage(model: Path, seed: int) -> Iterator[Scene]:
        with open_directory() as folder:
            made = Cluster(folder, synchronous=synchronous)
            try:
                made.start()
                with playing(ClusterScene(made, folder, model, may_lose=not synchronous, seed=seed)) as scene:
                    yield scene
            finally:
                made.stop()

    return stage


SYNCHRONOUS, ASYNCHRONOUS = "synchronous", "asynchronous"
STAGES: dict[str, Stage] = {SYNCHRONOUS: cluster(synchronous=True), ASYNCHRONOUS: cluster(synchronous=False)}

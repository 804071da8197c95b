"""A database with pipelines, writers and workers, for faults to strike."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import psycopg

from pgembedd.database.migrate import migrate
from tests.faults.ledger import Place
from tests.faults.oracle import Findings, Oracle, drained
from tests.faults.subjects import APPLICATION, PASSWORD, SUBJECTS, WORKER, Row, Subject, make_roles, make_subjects
from tests.faults.writers import AUTHORS, THREADS, Writers
from tests.support.sql import FRESH, LANES, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

DATABASE = "postgres"
WORKERS = 3
LEASE_S = 3
SLOW_S = 0.02
"""What the model takes for a claim at least: a fault must find something in progress."""


class Server(Protocol):
    """A server that can be killed and started again."""

    @property
    def bin_dir(self) -> Path: ...

    def conninfo(self, dbname: str = "postgres") -> str: ...

    def running(self) -> bool: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None: ...


class Scene:
    """What a fault may touch. Connections of `admin` go to the server itself; those of others take the `route`."""

    most_workers = WORKERS
    may_lose = False
    """The server may lose transactions that it has acknowledged."""

    def __init__(
        self,
        server: Server,
        folder: Path,
        model: Path,
        *,
        route: Callable[[str], str] = lambda conninfo: conninfo,
        arguments: tuple[str, ...] = (),
        pooler: object = None,
        seed: int = 1,
        subjects: Sequence[Subject] = SUBJECTS,
    ) -> None:
        """`route` makes of a role's connection string the one that its clients use; `arguments` are the workers'."""
        self.pooler, self._subjects = pooler, subjects
        self.parses = folder / "parses"
        """The claims whose files came to a parser, a line each."""
        self.server, self.folder, self.random = server, folder, random.Random(seed)
        self._route, self._model, self.arguments = route, model, arguments
        self._url = server.conninfo(DATABASE)
        migrate(self._url)
        with self.admin() as connection:
            make_roles(connection)
            make_subjects(connection, AUTHORS, subjects)
        self.workers: list[WorkerProcess] = []
        self.writers = Writers(self.connect, seed, subjects, may_lose=self.may_lose)

    def admin(self, conninfo: str = "") -> psycopg.Connection:
        """A superuser's connection, autocommit."""
        return psycopg.connect(conninfo or self.server.conninfo(DATABASE), autocommit=True)

    def conninfo(self, role: str) -> str:
        """The connection string that a role's clients use."""
        direct = psycopg.conninfo.make_conninfo(self._url, user=role, password=PASSWORD)
        return self._route(direct)

    def connect(self) -> psycopg.Connection:
        """An application's connection."""
        return psycopg.connect(self.conninfo(APPLICATION), connect_timeout=5)

    def worker(self, *arguments: str, conninfo: str = "", namespace: str = "", **environment: str) -> WorkerProcess:
        """Starts a worker."""
        environment |= {
            "MODEL_FAULT": f"slow:{SLOW_S}",
            "PARSES": str(self.parses),
            "PGEMBEDD_PARSE_PROCESSES": "1",
            "PGEMBEDD_MODEL_DIR": str(self._model),
            "PGEMBEDD_CACHE_DIR": str(self.folder / "cache"),
            "PGEMBEDD_LEASE_S": str(LEASE_S),
            "PGEMBEDD_CLAIM_SIZE": "8",
            "PGEMBEDD_THREADS": "1",
            "PGEMBEDD_POLL_MAX_S": "0.5",
            "PGEMBEDD_GRACE_S": "5",
        }
        return WorkerProcess(
            conninfo or self.conninfo(WORKER),
            *(arguments or self.arguments),
            module="tests.support.faulty_model_worker",
            namespace=namespace,
            **environment,
        )

    def start_workers(self, *arguments: str) -> None:
        """Fills up the workers, and waits until all of them work."""
        while len(self.workers) < self.most_workers:
            self.workers.append(self.worker(*arguments))
        for each in self.workers:
            each.await_event("worker_started")

    def end_workers(self) -> None:
        """SIGKILL for all."""
        for each in self.workers:
            each.__exit__()
        self.workers.clear()

    def kill_and_replace(self, index: int) -> None:
        """SIGKILL for one, and another in its place."""
        self.workers[index].kill()
        self.workers[index] = self.worker()

    def await_held(self, connection: psycopg.Connection | None = None) -> None:
        """Returns while jobs are claimed: a fault that strikes now finds something in progress."""
        if connection is None:
            with self.admin() as opened:
                return self.await_held(opened)
        leased = " + ".join(
            f"(select count(*) from pgmq.q_{lane} where vt > clock_timestamp() and read_ct > 0)" for lane in LANES
        )
        eventually(lambda: value(connection, f"select {leased}") > 0)
        return None

    def await_worked(self) -> None:
        """Returns when a row that is written from now on was claimed and stored."""
        self.writers.await_commits(THREADS)
        last = f"select coalesce(max(msg_id), 0) from pgmq.q_{FRESH}"
        left = f"select count(*) from pgmq.q_{FRESH} where msg_id <= %s"
        with self.admin() as connection:
            newest = value(connection, last)
            eventually(lambda: value(connection, left, newest) == 0)

    def await_drained(self, bound_s: float, conninfo: str = "") -> bool:
        """Waits until no job is queued; False when some are after `bound_s`."""
        deadline = time.monotonic() + bound_s
        with self.admin(conninfo) as connection:
            while not drained(connection):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.02)
        return True

    def times_away(self) -> int:
        """How often the workers have found no connection so far."""
        return sum(len(each.named(event)) for each in self.workers for event in ("database_away", "database_refused"))

    def compare(self, oracle: Oracle, *, is_drained: bool) -> Findings:
        """What is wrong. The writers are paused."""
        with self.admin() as connection:
            findings = oracle.compare(connection, self.expected(), self._subjects, drained=is_drained)
        findings.failed += [
            f"a worker ended by itself with exit code {each.process.returncode}: {each.lines[-1:]}"
            for each in self.workers
            if each.process.poll() is not None
        ]
        return findings

    def expected(self) -> dict[Place, Row]:
        """The rows that were committed."""
        return self.writers.ledger.rows()

    def close(self) -> None:
        """Ends writers and workers."""
        self.writers.stop()
        self.end_workers()


@contextmanager
def stopped(worker: WorkerProcess) -> Iterator[None]:
    """A worker that gets no processor meanwhile (SIGSTOP)."""
    worker.send(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send(signal.SIGCONT)

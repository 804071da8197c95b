"""Workers in a Ray cluster: nodes, workers and the process that placed them are killed, and every row is current."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import backends, insert, make_documents, missing, stale, waiting
from tests.support.embedders import MODEL
from tests.support.owners import IMPORTABLE, REPOSITORY
from tests.support.silent_network import SilentNetwork, silent_network
from tests.support.sql import LANES, end_sessions, rows, value
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.cluster

ENVIRONMENT = REPOSITORY / ".venv-cluster"
ROWS = 2000
START_S = 3 * PATIENCE_S  # Ray takes up to a minute for nodes and processes on two cores
STORES = """
create table stores (id int, at timestamptz default clock_timestamp());
create function store() returns trigger language plpgsql as $$
begin insert into stores select new.id where new.embedding is not null; return null; end $$;
create trigger stores after update of embedding on documents for each row execute function store();
"""
HELD_AT_COMMIT = """
create function held() returns trigger language plpgsql as $$
begin perform pg_advisory_xact_lock_shared(29); return null; end $$;
create constraint trigger held after insert on stores initially deferred for each row execute function held();
"""


def environment() -> dict[str, str]:
    """Returns the variables of nodes and drivers."""
    if not (ENVIRONMENT / ".installed").exists():
        pytest.fail(f"{ENVIRONMENT.name} is not installed: run `make test-cluster`, which does that first.")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    kept = {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
    return {**inherited, **kept, "PYTHONPATH": IMPORTABLE, "RAY_USAGE_STATS_ENABLED": "0"}


class Nodes:
    """A cluster in a network of its own, which keeps Ray to addresses that answer, with a way to the server."""

    def __init__(self, network: SilentNetwork) -> None:
        self.within = ["ip", "netns", "exec", network.namespace]
        self._server = conninfo_to_dict(network.conninfo)
        subprocess.run([*self.within, "ip", "link", "set", "lo", "up"], check=True)
        self._process = subprocess.Popen(
            [*self.within, f"{ENVIRONMENT}/bin/python", "-m", "tests.cluster.ray_nodes"],
            env=environment(),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address, folder = self._answer().split()
        self.folder = Path(folder)

    def route(self, database: Database) -> str:
        """Returns how the nodes connect to a database."""
        return make_conninfo(database.conninfo, host=self._server["host"], port=self._server["port"])

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the cluster has ended"
        return line

    def ask(self, command: str) -> str:
        """Gives a command of ray_nodes.py, and returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Ends all nodes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()


class Driver:
    """`pgembedd run --on ray` in that network; `events` are the logs of its workers, as Ray passes them on."""

    def __init__(self, nodes: Nodes, database: Database, *arguments: str) -> None:
        options = [
            "--on",
            "ray",
            "--address",
            nodes.address,
            "--workers",
            "2",
            "--threads",
            "1",
            "--claim-size",
            "8",
            "--lease-s",
            "3",
            "--log-format",
            "json",
        ]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*nodes.within, f"{ENVIRONMENT}/bin/pgembedd", "run", *options, *arguments],
            env={**environment(), "DATABASE_URL": nodes.route(database)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def named(self, event: str) -> list[dict[str, Any]]:
        """Returns the events of that name so far."""
        found = []
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                found.append(json.loads(line[line.index("{") :]))
        return [one for one in found if one.get("event") == event]

    def started(self, count: int) -> list[int]:
        """Returns the processes of the first workers, once so many have started."""

        def there() -> bool:
            assert self.process.poll() is None, self.lines
            return len(self.named("worker_started")) >= count

        eventually(there, timeout_s=START_S)
        return [event["pid"] for event in self.named("worker_started")]

    def end(self, timeout_s: float = START_S) -> int:
        """Returns its exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def nodes(server: EmbeddedPostgres) -> Iterator[Nodes]:
    with silent_network(Database("postgres", server.conninfo())) as network:
        made = Nodes(network)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def driver(nodes: Nodes, database: Database, *arguments: str) -> Iterator[Driver]:
    """A driver, which is gone afterwards."""
    made = Driver(nodes, database, *arguments)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.end()


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    make_documents(connection)
    connection.execute(STORES)
    return connection


def await_stores(connection: psycopg.Connection, count: int) -> None:
    """Returns once so many vectors were stored."""
    eventually(lambda: value(connection, "select count(*) from stores") >= count, timeout_s=START_S)


def check(connection: psycopg.Connection, counts: int = ROWS) -> None:
    """Every row has the vector of its content, stored once."""
    assert missing(connection) == []
    assert waiting(connection) == []
    with Session(MODEL, threads=2) as session:
        assert stale(connection, session) == []
    repeated = rows(connection, "select id, count(*) from stores group by id having count(*) <> 1")
    assert repeated == []
    assert value(connection, "select count(*) from stores") == counts


def is_there(pid: int) -> bool:
    """Tells that a process runs."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_a_node_is_killed(nodes: Nodes, database: Database, documents: psycopg.Connection) -> None:
    insert(documents, range(ROWS))
    with driver(nodes, database, "--until-idle") as placed:
        one, other = placed.started(2)
        assert nodes.ask(f"node {one}") != nodes.ask(f"node {other}")
        await_stores(documents, 1)
        assert nodes.ask(f"kill {one}") == "done"
        assert waiting(documents), "nothing was left to do"
        placed.started(3)
        assert placed.end() == 0, placed.lines
    nodes.ask("add")
    check(documents)


def test_a_worker_waits_for_the_cpus_of_one_that_has_ended(
    nodes: Nodes, database: Database, documents: psycopg.Connection
) -> None:
    """Two take all that the nodes have."""
    insert(documents, range(ROWS))
    with driver(nodes, database, "--until-idle", "--workers", "3", "--cpus", "2") as placed:
        assert placed.end() == 0, placed.lines
    check(documents)


def test_a_worker_ends_between_store_and_commit(
    nodes: Nodes, database: Database, documents: psycopg.Connection
) -> None:
    documents.execute(HELD_AT_COMMIT)
    insert(documents, range(ROWS))
    with database.connect() as holder, driver(nodes, database, "--until-idle", "--workers", "1") as placed:
        holder.execute("select pg_advisory_lock(29)")
        (pid,) = placed.started(1)
        eventually(lambda: backends(documents, "wait_event = 'advisory'"))
        os.kill(pid, signal.SIGKILL)
        # As the server does once it notices; it would not before it has the lock.
        assert end_sessions(documents, "wait_event = 'advisory'") == 1
        holder.execute("select pg_advisory_unlock(29)")
        assert len(placed.started(2)) == 2
        assert placed.end() == 0, placed.lines
    check(documents)


def test_a_worker_that_cannot_start_is_started_again(
    nodes: Nodes, server: EmbeddedPostgres, database: Database, documents: psycopg.Connection
) -> None:
    insert(documents, range(ROWS))
    with (
        psycopg.connect(server.conninfo(), autocommit=True) as admin,
        driver(nodes, database, "--until-idle", "--workers", "1") as placed,
    ):
        (pid,) = placed.started(1)
        admin.execute(f"alter database {database.name} allow_connections false".encode())
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: placed.named("worker_failed"), timeout_s=START_S)
        assert waiting(documents), "nothing was left to do"
        admin.execute(f"alter database {database.name} allow_connections true".encode())
        assert placed.end() == 0, placed.lines
        assert {event["error"] for event in placed.named("worker_failed")} == {"DatabaseRefusedError"}
    check(documents)


def test_the_driver_is_killed_and_run_again(nodes: Nodes, database: Database, documents: psycopg.Connection) -> None:
    insert(documents, range(ROWS))
    with driver(nodes, database) as first:
        pids = first.started(2)
        await_stores(documents, 1)
        first.process.kill()
        first.end()
    eventually(lambda: not any(map(is_there, pids)))
    assert waiting(documents), "nothing was left to do"
    with driver(nodes, database, "--until-idle") as again:
        assert again.end() == 0, again.lines
    check(documents)


def test_a_signal_drains_the_workers(nodes: Nodes, database: Database, documents: psycopg.Connection) -> None:
    insert(documents, range(ROWS))
    with driver(nodes, database) as placed:
        pids = placed.started(2)
        await_stores(documents, 1)
        placed.process.send_signal(signal.SIGTERM)
        assert placed.end() == 0, placed.lines
        leased = " + ".join(f"(select count(*) from pgmq.q_{lane} where vt > clock_timestamp())" for lane in LANES)
        assert value(documents, f"select {leased}") == 0
        password = str(conninfo_to_dict(database.conninfo)["password"])
        assert not any(password in line for line in placed.lines)
    for pid in pids:
        (log,) = nodes.folder.glob(f"logs/worker-*-{pid}.err")
        assert '"drained": true' in log.read_text(encoding="utf-8")
    logs = [file for file in nodes.folder.rglob("*") if file.is_file()]
    assert not [file for file in logs if password.encode() in file.read_bytes()]


def test_ray_places_a_worker_where_a_gpu_is(nodes: Nodes, database: Database, documents: psycopg.Connection) -> None:
    """A GPU that a node declares and does not have: the worker that is placed there ends with its sentence."""
    with driver(nodes, database, "--gpus", "0.5", "--workers", "1") as placed:
        eventually(lambda: any("'GPU': 0.5" in line for line in placed.lines), timeout_s=START_S)
        assert nodes.ask("add gpu") == "done"
        assert placed.end() == 2, placed.lines
    assert placed.lines[-1].startswith("pgembedd: PGEMBEDD_DEVICE is cuda, but this onnxruntime "), placed.lines


def test_what_is_wrong_is_one_sentence(nodes: Nodes, database: Database) -> None:
    with driver(nodes, database, "--pipeline", "documents") as placed:
        assert placed.end() == 2
        assert placed.lines == ['pgembedd: There is no pipeline "documents". There is none yet.\n']
    with driver(nodes, database, "--address", "127.0.0.1:1") as placed:
        assert placed.end() == 2
    assert placed.lines[-1].startswith("pgembedd: No Ray cluster can be reached at 127.0.0.1:1: "), placed.lines

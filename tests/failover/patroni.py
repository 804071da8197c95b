"""Two servers that Patroni keeps as a leader and a standby, etcd by which it does, and HAProxy before both."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo

from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.installation import find_installation
from tests.failover.hosts import HERE, Host
from tests.faults.stages import SETTINGS
from tests.faults.subjects import PASSWORD
from tests.support import debian
from tests.support.owners import REPOSITORY
from tests.support.sql import value
from tests.support.waiting import eventually

ENVIRONMENT = REPOSITORY / ".venv-failover"
PACKAGES = ("etcd-server", "haproxy")
POSTGRES, PATRONI, ETCD, LEADER = 5432, 8008, 2379, 5000  # ports; HAProxy passes the last on to the leader
ROLES = {"superuser": "postgres", "replication": "replicator"}
START_S = 180.0
# Seconds: without a word for `ttl` a leader is replaced. Patroni's own are 30, 10 and 10.
TIMES = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
LAG_BYTES = 256 << 20  # behind which a standby is not promoted; Patroni's own is a megabyte
# The checks and the end of sessions as Patroni's documentation has them.
HAPROXY = f"""
global
    maxconn 400
defaults
    mode tcp
    timeout client 30m
    timeout server 30m
    timeout connect 4s
    timeout check 5s
listen leader
    bind {HERE}:{LEADER}
    option httpchk GET /primary
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
"""


def program(path: str) -> list[str]:
    """The start of a command line of etcd or HAProxy, which are fetched once. May skip."""
    return debian.program("Patroni's cluster", "failover", PACKAGES, path)


class Node:
    """A server and the Patroni that starts, promotes and demotes it."""

    def __init__(self, folder: Path, host: Host, synchronous: bool) -> None:
        """`folder` is one that the server's account may enter."""
        self.host, self._folder = host, folder / host.name
        self._account = account_for(self._folder / "data")
        self._folder.mkdir(mode=0o700)
        self._account.own(self._folder)
        self._python = folder / "python"
        (folder / f"{host.name}.json").write_text(json.dumps(self._configuration(synchronous)))
        self._patroni: subprocess.Popen[bytes] | None = None

    def _configuration(self, synchronous: bool) -> dict[str, object]:
        address = self.host.address
        users = {role: {"username": name, "password": PASSWORD} for role, name in ROLES.items()}
        return {
            "scope": "cluster",
            "name": self.host.name,
            "log": {"level": "INFO"},
            "restapi": {"listen": f"{address}:{PATRONI}", "connect_address": f"{address}:{PATRONI}"},
            "etcd3": {"host": f"{HERE}:{ETCD}"},
            "bootstrap": {"dcs": _of_cluster(synchronous), "initdb": [{"encoding": "UTF8"}, "no-sync"]},
            "postgresql": {
                "listen": f"{address}:{POSTGRES}",
                "connect_address": f"{address}:{POSTGRES}",
                "data_dir": str(self._folder / "data"),
                "bin_dir": str(find_installation(self._account).bin_dir),
                "authentication": users,
                "pg_hba": ["host all all all trust", "host replication all all trust"],
                "parameters": {"unix_socket_directories": str(self._folder)},
                "pgpass": str(self._folder / "pgpass"),
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }

    def start(self) -> None:
        """Starts Patroni, which starts the server, or takes over the one that runs."""
        configuration = self._folder.with_suffix(".json")
        command = [str(self._python / "bin" / Path(sys.executable).resolve().name), "-P", "-m", "patroni"]
        self._patroni = self.host.start(
            [*command, str(configuration)],
            self._account,
            self._folder.with_suffix(".log"),
            PYTHONPATH=str(self._python.with_name("packages")),
            LD_LIBRARY_PATH=str(self._python / "lib"),
        )

    def state(self, what: Literal["primary", "synchronous", "replica"]) -> bool:
        """Tells that it is that, by Patroni's own word."""
        with suppress(OSError), urllib.request.urlopen(self._url(what), timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def switch_over(self) -> None:
        """Has Patroni make the other node the leader."""
        body = json.dumps({"leader": self.host.name}).encode()
        urllib.request.urlopen(urllib.request.Request(self._url("switchover"), body), timeout=60).close()

    def _url(self, path: str) -> str:
        return f"http://{self.host.address}:{PATRONI}/{path}"

    def kill_patroni(self) -> None:
        """SIGKILL for Patroni; its server goes on."""
        assert self._patroni is not None
        self._patroni.kill()
        self._patroni.wait()

    def kill_postmaster(self) -> None:
        """SIGKILL for the server, whose other processes end when they notice."""
        with suppress(OSError, ValueError):
            os.kill(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def close(self) -> None:
        """Ends all of it."""
        if self._patroni is not None:
            self.kill_patroni()
            self.kill_postmaster()
        self.host.close()


class Cluster:
    """The server of a scene: what is the leader at the time, by way of HAProxy."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        """`folder` is one that the server's account may enter."""
        self._folder, self._synchronous = folder, synchronous
        for name, source in (("python", Path(sys.base_prefix)), ("packages", _packages())):
            (folder / name).mkdir()
            subprocess.run(["mount", "--bind", str(source), str(folder / name)], check=True)
        self.nodes: list[Node] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.bin_dir = find_installation(account_for(folder / "data")).bin_dir

    def start(self) -> None:
        """Starts all of it, and waits until there are a leader and a standby."""
        address = [f"--{which}-client-urls=http://{HERE}:{ETCD}" for which in ("listen", "advertise")]
        etcd = [*program("usr/bin/etcd"), f"--data-dir={self._folder}/etcd", "--unsafe-no-fsync", "--log-level=error"]
        self._run("etcd", *etcd, *address)
        for number in (1, 2):
            self.nodes.append(Node(self._folder, Host(f"node{number}", f"10.0.0.{10 + number}"), self._synchronous))
        configuration = self._folder / "haproxy.cfg"
        servers = [
            f"    server {node.host.name} {node.host.address}:{POSTGRES} maxconn 100 check port {PATRONI}\n"
            for node in self.nodes
        ]
        configuration.write_text(HAPROXY + "".join(servers))
        self._run("haproxy", *program("usr/sbin/haproxy"), "-db", "-q", "-f", str(configuration))
        for node in self.nodes:
            node.start()
            eventually(lambda: any(node.state("primary") for node in self.nodes), timeout_s=START_S)
        self.await_ready()

    def _run(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def leader(self) -> Node:
        """The node that is the leader."""
        return next(node for node in self.nodes if node.state("primary"))

    def follower(self) -> Node:
        """The other."""
        return next(node for node in self.nodes if not node.state("primary"))

    def await_ready(self) -> None:
        """Returns when there are a leader and a standby; of a synchronous cluster one without which no commit ends.

        Patroni's word alone may be some seconds old.
        """
        standby: Literal["synchronous", "replica"] = "synchronous" if self._synchronous else "replica"
        streams = "sync_state = 'sync'" if self._synchronous else "state = 'streaming'"

        def ready() -> bool:
            states = [node.state("primary") for node in self.nodes]
            if states.count(True) != 1 or not any(node.state(standby) for node in self.nodes):
                return False
            with suppress(psycopg.Error), psycopg.connect(self.conninfo()) as connection:
                return bool(value(connection, f"select count(*) = 1 from pg_stat_replication where {streams}"))
            return False

        eventually(ready, timeout_s=START_S)

    def conninfo(self, dbname: str = "postgres") -> str:
        """A superuser's, of the leader."""
        return make_conninfo(host=HERE, port=LEADER, dbname=dbname, user="postgres", connect_timeout=5)

    def both(self, conninfo: str) -> str:
        """The same for clients that know both nodes: they take the one that can be written to."""
        hosts = ",".join(node.host.address for node in self.nodes)
        return make_conninfo(conninfo, host=hosts, port=POSTGRES, target_session_attrs="read-write", connect_timeout=3)

    def running(self) -> bool:
        """Tells that there is a leader."""
        return any(node.state("primary") for node in self.nodes)

    def kill(self) -> None:
        """SIGKILL for the leader and its Patroni."""
        leader = self.leader()
        leader.kill_patroni()
        leader.kill_postmaster()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Ends all of it."""
        for node in self.nodes:
            node.close()
        for process in self._processes:
            process.kill()
            process.wait()
        for name in ("python", "packages"):
            subprocess.run(["umount", str(self._folder / name)], check=True)


def _of_cluster(synchronous: bool) -> dict[str, object]:
    """What holds for all nodes."""
    parameters = {**SETTINGS, "max_connections": "100", "fsync": "off", "wal_keep_size": "256MB"}
    return {
        **TIMES,
        "maximum_lag_on_failover": LAG_BYTES,
        "synchronous_mode": synchronous,
        "postgresql": {"use_pg_rewind": True, "parameters": parameters},
    }


def _packages() -> Path:
    """The environment of Patroni alone."""
    if not (ENVIRONMENT / ".installed").exists():
        raise RuntimeError(f"{ENVIRONMENT.name} is not there: `make test-failover` installs it first.")
    return next(ENVIRONMENT.glob("lib/python*/site-packages"))


def installed() -> str:
    """The version of Patroni."""
    (found,) = importlib.metadata.distributions(name="patroni", path=[str(_packages())])
    return found.version

"""A network that swallows every packet."""

from __future__ import annotations

import os
from contextlib import ExitStack

from tests.faults.fault import Fault, why_not
from tests.faults.scene import DATABASE, Scene
from tests.faults.subjects import WORKER
from tests.support.databases import Database
from tests.support.silent_network import SilentNetwork, silent_network
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

SOON = {"keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "2", "tcp_user_timeout": "2000"}
"""What notices it within seconds instead of half a minute."""


def cut(network: SilentNetwork, worker: WorkerProcess) -> None:
    """Cuts the network, and returns when the fresh lane has lost its connection by that.

    Other threads may say so of one outage during the next.
    """

    def times_away() -> int:
        return sum(said["purpose"] in ("claim", "store") for said in worker.named("database_away"))

    before = times_away()
    network.cut()
    eventually(lambda: times_away() > before)


class Blackhole(Fault):
    """The only worker is in its own network, which goes silent in the midst of its work."""

    name = "blackholed network"
    hits = (1, 3)

    def __init__(self) -> None:
        self._open = ExitStack()
        self._network: SilentNetwork | None = None

    def needs(self) -> str:
        probe = f"probe{os.getpid()}"
        return why_not("a network namespace", ["ip", "netns", "add", probe], ["ip", "netns", "delete", probe])

    def strike(self, scene: Scene, hits: int) -> int:
        scene.end_workers()
        database = Database(DATABASE, scene.conninfo(WORKER))
        self._network = network = self._open.enter_context(silent_network(database, connect_timeout="3", **SOON))
        scene.workers = [scene.worker(conninfo=network.conninfo, namespace=network.namespace)]
        (worker,) = scene.workers
        worker.await_event("worker_started")
        for number in range(hits):
            if number:
                network.mend()
                scene.await_worked()
            scene.await_held()
            cut(network, worker)
            scene.writers.await_commits(5)
        return hits

    def heal(self, scene: Scene) -> None:
        if self._network is not None:
            self._network.mend()

    def after(self, scene: Scene) -> None:
        scene.end_workers()
        self._open.close()
        scene.start_workers()

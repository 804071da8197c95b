"""What happens to the leader."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle

from tests.failover.patroni import Node
from tests.failover.scene import STAGES, WAYS, ClusterScene, Way
from tests.faults.fault import Fault
from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import Scene


@dataclass(frozen=True)
class Failover:
    """One of them: how the workers went, seconds until a commit and a vector, transactions that the cluster lost."""

    way: Way
    commit_s: float
    vector_s: float
    lost: int


class LeaderFault(Fault):
    """The leader fails or is replaced in the midst of the work; measures how long there is no commit and no vector."""

    hits = (1, 1)
    falls_behind = False
    """An asynchronous standby gets nothing of the last moments before."""

    def __init__(self) -> None:
        self._ways = cycle(WAYS)
        self._leader: Node | None = None
        self._measured: Failover | None = None

    def measured(self) -> Failover | None:
        return self._measured

    def strike(self, scene: Scene, hits: int) -> int:
        assert isinstance(scene, ClusterScene)
        self._start_on_next_way(scene)
        cluster = scene.cluster
        cluster.await_ready()
        self._leader, follower = cluster.leader(), cluster.follower()
        scene.writers.await_commits(20)
        scene.await_held()
        self._lost_before = scene.writers.ledger.lost
        if falls_behind := self.falls_behind and scene.may_lose:
            self._leader.host.send_nothing_to(follower.host)
            scene.writers.await_commits(20)
        before, since = scene.started(), scene.now()
        self.depose(self._leader)
        commit = scene.seconds_until("commit", since, before)
        if falls_behind:
            self._leader.host.send_again_to(follower.host)
        self.restart(self._leader)
        vector = scene.seconds_until("vector", since, before)
        self._measured = Failover(scene.way, commit, vector, 0)
        return 1

    def depose(self, leader: Node) -> None:
        """Ends the leader's time."""
        raise NotImplementedError

    def restart(self, leader: Node) -> None:
        """What a supervisor of the node does meanwhile."""

    def mend(self, leader: Node) -> None:
        """Has the former leader come back."""

    def heal(self, scene: Scene) -> None:
        assert self._leader is not None
        self.mend(self._leader)

    def check(self, scene: Scene, oracle: Oracle, bound_s: float) -> Findings:
        assert self._measured is not None
        self._measured = replace(self._measured, lost=scene.writers.ledger.lost - self._lost_before)
        return Findings()

    def after(self, scene: Scene) -> None:
        assert isinstance(scene, ClusterScene)
        scene.cluster.await_ready()

    def _start_on_next_way(self, scene: ClusterScene) -> None:
        scene.end_workers()
        scene.way = next(self._ways)
        scene.start_workers()


class NodeDies(LeaderFault):
    """kill -9 of the leader's Patroni and server: nothing answers, and connections are reset."""

    name = "kill -9 of the leader and its Patroni"
    falls_behind = True

    def depose(self, leader: Node) -> None:
        leader.kill_patroni()
        leader.kill_postmaster()

    def mend(self, leader: Node) -> None:
        leader.start()


class PostmasterDies(LeaderFault):
    """kill -9 of the server, which its Patroni starts again."""

    name = "kill -9 of the leader's postmaster"

    def depose(self, leader: Node) -> None:
        leader.kill_postmaster()


class PatroniDies(LeaderFault):
    """kill -9 of Patroni: its server goes on as a second leader until Patroni is started again, after the failover."""

    name = "kill -9 of the leader's Patroni"
    falls_behind = True

    def depose(self, leader: Node) -> None:
        leader.kill_patroni()

    def restart(self, leader: Node) -> None:
        leader.start()


class Switchover(LeaderFault):
    """An ordered change of places."""

    name = "switchover"

    def depose(self, leader: Node) -> None:
        leader.switch_over()


class Partition(LeaderFault):
    """The leader's network goes silent: no etcd, no standby, no client; its Patroni makes it a standby."""

    name = "leader cut off from the network"
    falls_behind = True

    def depose(self, leader: Node) -> None:
        leader.host.cut()

    def mend(self, leader: Node) -> None:
        leader.host.mend()


KINDS = (NodeDies, PostmasterDies, PatroniDies, Switchover, Partition)
FAULTS: tuple[type[LeaderFault], ...] = tuple(
    type(f"{stage.title()}{kind.__name__}", (kind,), {"stage": stage}) for stage in STAGES for kind in KINDS
)

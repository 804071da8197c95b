"""The primary dies, and its standby takes over."""

from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.pair import Pair
from tests.faults.scene import Scene


class Failover(Fault):
    """kill -9 of the primary and promotion of a synchronous standby; clients know both by one connection string."""

    name = "failover to a standby"
    stage = "primary and standby"
    hits = (1, 1)
    weight = 2

    def strike(self, scene: Scene, hits: int) -> int:
        assert isinstance(scene.server, Pair)
        scene.server.add_standby()
        scene.writers.await_commits(20)
        scene.await_held()
        scene.server.kill()
        return 1

    def heal(self, scene: Scene) -> None:
        assert isinstance(scene.server, Pair)
        scene.server.promote()

"""Messages that no trigger wrote."""

from __future__ import annotations

import json

from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.support.sql import LANES, value

MESSAGES: tuple[object, ...] = (
    None,
    [],
    "text",
    7,
    {},
    {"pipeline": None, "id": None},
    {"pipeline": 999999, "id": 1},
    {"pipeline": "one", "id": 1},
    {"pipeline": 1},
    {"pipeline": 1, "id": "not a number"},
    {"pipeline": 1, "id": 10**40},
    {"pipeline": 1, "id": -1},
    {"pipeline": 1, "id": [1, 2, 3]},
    {"pipeline": 1, "id": {"a": "b"}},
    {"pipeline": 1, "id": "x" * 9000},
    {"pipeline": 2, "id": {"tenant": "none", "slug": "x" * 5000}},
    {"pipeline": 2, "id": {"slug": "half of the key"}},
    {"pipeline": 2, "id": {"tenant": None, "slug": None}},
    {"pipeline": 3, "id": "no uuid"},
    {"pipeline": 3, "id": "00000000-0000-0000-0000-000000000000"},
    {"pipeline": 1.5, "id": 1},
    {"pipeline": -1, "id": 1, "more": ["x"] * 1000},
)
NOTES: tuple[object, ...] = (None, {}, 7, {"attempts": "many"}, [], "text")


class Garbage(Fault):
    """Strangers' messages of every shape in both lanes, with odd notes."""

    name = "garbage in the queues"
    hits = (1, 4)

    def strike(self, scene: Scene, hits: int) -> int:
        sent = 0
        with scene.admin() as connection:
            for _ in range(hits):
                for message in MESSAGES:
                    connection.execute(
                        f"insert into pgmq.q_{scene.random.choice(LANES)} (vt, message) "
                        "values (clock_timestamp(), %s)".encode(),
                        [json.dumps(self._noted(message, scene))],
                    )
                    sent += 1
                scene.writers.await_commits(5)
        return sent

    @staticmethod
    def _noted(message: object, scene: Scene) -> object:
        notes = scene.random.choice(NOTES)
        return {**message, "pgembedd": notes} if isinstance(message, dict) and notes is not None else message

    def after(self, scene: Scene) -> None:
        """What became of them is no failure of a row."""
        with scene.admin() as connection:
            assert value(connection, "select count(*) from pgembedd_internal.dead_letter") > 0
            connection.execute("delete from pgembedd_internal.dead_letter")

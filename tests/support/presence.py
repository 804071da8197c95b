"""What a worker says of itself: that it lives, and what it does."""

from __future__ import annotations

import psycopg

from pgembedd.database.queries import query

PLACE = "process 42 on a machine"
ALL = ("claim", "embed", "index")


def beat(
    connection: psycopg.Connection, tasks: tuple[str, ...] = ALL, *, busy_with: tuple[int, ...] = (), number: int = 0
) -> bool:
    """Has the session be that of a worker; its number is its process id unless given. Whether it may build an index."""
    values = {"worker": number or connection.info.backend_pid, "place": PLACE, "sessions": []}
    row = connection.execute(
        query("heartbeat"), {**values, "tasks": list(tasks), "busy_with": list(busy_with)}
    ).fetchone()
    return bool(row and row[0])

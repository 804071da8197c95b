"""The events on the channel `pgembedd_events`: their words, their records, a listener."""

import json
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.queries import query
from pgembedd.database.sessions import Sessions

REMEMBERED = 100_000  # of the events that were told, so that none is told twice while it is kept

EVENTS = (
    "stored",
    "failed",
    "dead_letter",
    "retried",
    "created",
    "dropped",
    "paused",
    "resumed",
    "stopped",
    "unserved",
    "served",
    "change_begun",
    "switched",
    "rolled_back",
    "index_built",
)
GAP = "gap"  # made by the listener, not by the database, after a connection was lost


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `fields` are those of its JSON object; `pipeline` is a name, or None for an event without one."""

    word: str
    pipeline: str | None
    fields: dict[str, Any]

    @property
    def json(self) -> str:
        """The JSON object on one line, in ASCII."""
        return json.dumps(self.fields)


@dataclass(frozen=True)
class EventFilter:
    """Selects events by word and by pipeline; an empty set selects all."""

    words: frozenset[str] = frozenset()
    pipelines: frozenset[str] = frozenset()

    @classmethod
    def of(cls, words: Collection[str], pipelines: Collection[str]) -> "EventFilter":
        """Builds a filter from the lists of a command line or a URL."""
        return cls(frozenset(words), frozenset(pipelines))

    def takes(self, event: Event) -> bool:
        """Tells that the filter selects the event; every filter selects a gap."""
        if event.word == GAP:
            return True
        return (not self.words or event.word in self.words) and (not self.pipelines or event.pipeline in self.pipelines)


def _number(payload: str) -> int | None:
    """Returns the number of an event in a NOTIFY; None for a foreign one, since every role of the database may send."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    number = fields.get("nth") if isinstance(fields, dict) else None
    return number if type(number) is int and 0 < number < 1 << 63 else None  # true is no number


def gap() -> Event:
    """Returns the event that says that events may have been missed until now."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Event(GAP, None, {"event": GAP, "pipeline": None, "pipeline_id": None, "at": at})


class Channel:
    """Listens on a connection that reconnects; one thread at a time.

    A NOTIFY says that there is an event, and its number. What the event is stands in a table of ours.
    """

    def __init__(self, conninfo: str, stopping: threading.Event) -> None:
        """`stopping` ends the wait for an unreachable database, with DatabaseUnavailableError."""
        self._connection = Connection(Sessions(conninfo, "events"), stopping)
        self._listens: psycopg.Connection | None = None
        self._since = ""  # a snapshot: what was committed before we listened is not told, whatever is sent
        self._told: dict[int, None] = {}
        self._sent: dict[int, None] = {}  # numbers that are still to be looked up

    def hear(self, timeout_s: float) -> list[Event]:
        """Returns the next events, after at most `timeout_s` seconds; a gap comes first where some may be missing.

        The first call listens and returns at once. A lost connection is reopened, however long that takes.
        """
        return self._connection.call(lambda connection: self._hear(connection, timeout_s))

    def _hear(self, connection: psycopg.Connection, timeout_s: float) -> list[Event]:
        if connection is not self._listens:
            since = connection.execute(query("snapshot")).fetchone()
            assert since is not None
            connection.execute("listen pgembedd_events")
            lost, self._listens, self._since = self._listens is not None, connection, since[0]
            self._sent.clear()
            return [gap()] if lost else []
        # All pending ones at once.
        for notice in connection.notifies(timeout=0 if self._sent else timeout_s, stop_after=1):
            if (number := _number(notice.payload)) is not None and number not in self._told:
                self._sent[number] = None
        if not self._sent:
            return []
        found = connection.execute(query("events"), {"numbers": list(self._sent), "since": self._since}).fetchall()
        self._sent.clear()
        events = [Event(fields["event"], fields["pipeline"], fields) for (fields,) in found]
        self._told |= dict.fromkeys(event.fields["nth"] for event in events)
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return events

    def close(self) -> None:
        """Closes the connection, if there is one."""
        self._connection.close()

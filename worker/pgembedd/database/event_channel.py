"""The events on the channel `pgembedd_events`: their words, their records, a listener."""

import json
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from pgembedd.database.connection import Connection

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


def parse(payload: str) -> Event | None:
    """Returns the event of a NOTIFY; None for a foreign one, since every role of the database may send one."""
    try:
        fields = json.loads(payload, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("event") not in EVENTS:
        return None
    pipeline = fields.get("pipeline")
    return Event(fields["event"], pipeline, fields) if isinstance(pipeline, str | None) else None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def gap() -> Event:
    """Returns the event that says that events may have been missed until now."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Event(GAP, None, {"event": GAP, "pipeline": None, "pipeline_id": None, "at": at})


class Channel:
    """Listens on a connection that reconnects; one thread at a time. LISTEN needs no right but to connect."""

    def __init__(self, conninfo: str, stopping: threading.Event) -> None:
        """`stopping` ends the wait for an unreachable database, with DatabaseUnavailableError."""
        self._connection = Connection(conninfo, stopping, "events")
        self._listens: psycopg.Connection | None = None

    def hear(self, timeout_s: float) -> list[Event]:
        """Returns the next events, after at most `timeout_s` seconds; a gap comes first where some may be missing.

        The first call listens and returns at once. A lost connection is reopened, however long that takes.
        """
        return self._connection.call(lambda connection: self._hear(connection, timeout_s))

    def _hear(self, connection: psycopg.Connection, timeout_s: float) -> list[Event]:
        if connection is not self._listens:
            connection.execute("listen pgembedd_events")
            lost, self._listens = self._listens is not None, connection
            return [gap()] if lost else []
        # All pending ones at once.
        notices = connection.notifies(timeout=timeout_s, stop_after=1)
        return [event for notice in notices if (event := parse(notice.payload)) is not None]

    def close(self) -> None:
        """Closes the connection, if there is one."""
        self._connection.close()

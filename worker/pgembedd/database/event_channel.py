"""The events on the channel `pgembedd_events`: their words, and their records."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgembedd.database.connection import Connection

CHANNEL = "pgembedd_events"
REMEMBERED = 100_000  # of the events that were told, so that none is told twice while it is kept

EVENTS = (
    "stored",
    "attempt_failed",
    "dead_letter",
    "retried",
    "created",
    "altered",
    "dropped",
    "paused",
    "resumed",
    "stopped",
    "unserved",
    "served",
    "change_begun",
    "switched",
    "reverted",
    "index_built",
)
GAP = "gap"  # made here, not by the database, after the listening session was lost


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


class EventLog:
    """The events that the NOTIFYs on the channel tell of: a NOTIFY says that there is one, and its number.

    The event itself stands in a table of ours.
    """

    def __init__(self, connection: Connection) -> None:
        """`connection` is that of one thread at a time."""
        self._connection = connection
        self._since = ""  # a snapshot: what was committed before we listened is not told, whatever is sent
        self._listens = False
        self._told: dict[int, None] = {}

    def begin(self) -> None:
        """Notes what was committed by now; before the channel is listened to."""
        self._since, self._listens = self._connection.value("snapshot"), False

    def read(self, payloads: Iterable[str | None]) -> list[Event]:
        """Returns the events that a listener heard of; a gap for None, but for the first, where it began to listen."""
        events: list[Event] = []
        numbers: dict[int, None] = {}
        for payload in payloads:
            if payload is None:
                events += self._look_up(numbers) + ([gap()] if self._listens else [])
                self._listens = True
            elif (number := _number(payload)) is not None and number not in self._told:
                numbers[number] = None
        return events + self._look_up(numbers)

    def close(self) -> None:
        """Closes the session, unless it is in use."""
        self._connection.close()

    def _look_up(self, numbers: dict[int, None]) -> list[Event]:
        if not numbers:
            return []
        found = self._connection.rows("events", numbers=list(numbers), since=self._since)
        numbers.clear()
        events = [Event(fields["event"], fields["pipeline"], fields) for (fields,) in found]
        self._told |= dict.fromkeys(event.fields["nth"] for event in events)
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return events

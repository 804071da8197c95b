"""The core of all that follow an answer: its events so far, and whether a worker takes the question."""

import math
import time
from collections.abc import Iterable

from pgembedd.database.answers import AnswerEvent

UNTAKEN_S = 3.2  # a bit more than the three seconds of _is_untaken() in SQL
UNTAKEN_AGAIN_S = 10.0
UNTAKEN = "No worker has taken the question"
REMEDY = "start a worker with a language model (`pgembedd run` with PGEMBEDD_LANGUAGE_HOST)"
UNTAKEN_EVENT = AnswerEvent(
    "status", {"status": "queued", "attempt": 0, "reason": f"{UNTAKEN}. It stays queued; {REMEDY}."}
)
"""An event that the database does not have: viewers are shown it where no worker takes the question."""


class Progress:
    """The events of an answer so far, in their order."""

    def __init__(self) -> None:
        self.events: list[AnswerEvent] = []
        self.over = False  # nothing comes any more
        self.is_taken = False  # a worker has it; False again where an attempt failed and another one is to follow

    @property
    def seq(self) -> int:
        """The last event's number; 0 before the first."""
        return self.events[-1].seq if self.events else 0

    def add(self, events: Iterable[AnswerEvent]) -> list[AnswerEvent]:
        """Appends those that are new, up to the last event; returns them."""
        known = len(self.events)
        for event in events:
            if event.seq > self.seq and not self.over:
                self.events.append(event)
                self.over = event.ends
                if event.name == "status":
                    self.is_taken = event.data.get("status") == "generating"
        return self.events[known:]


class WorkerCheck:
    """Finds out that no worker takes a question, and tells it once."""

    def __init__(self, first_s: float = UNTAKEN_S, again_s: float = UNTAKEN_AGAIN_S) -> None:
        """Looks after `first_s` seconds, and then every `again_s`: seldom where many watch."""
        self._at, self._again_s = time.monotonic() + first_s, again_s

    def is_due(self, progress: Progress) -> bool:
        """Returns True when it is time to look."""
        return time.monotonic() >= self._at and not progress.is_taken

    def wait_s(self, progress: Progress) -> float | None:
        """Returns the seconds until it may be time to look; None where only news can bring that."""
        return None if progress.is_taken or self._at == math.inf else max(0.0, self._at - time.monotonic())

    def tells(self, *, is_untaken: bool) -> bool:
        """Takes the result of a look, and returns it."""
        self._at = math.inf if is_untaken else time.monotonic() + self._again_s
        return is_untaken

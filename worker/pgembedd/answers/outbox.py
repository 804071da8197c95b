"""Events that wait to be written: deltas that follow each other become one."""

from collections.abc import Sequence

from pgembedd.database.answers import AnswerEvent, AnswerJob


class Outbox:
    """Events of any number of answers, each in its order. Used in one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[AnswerJob, list[AnswerEvent]] = {}

    def add(self, job: AnswerJob, event: AnswerEvent) -> None:
        """Appends an event; a delta that follows a delta is joined with it."""
        events = self._waiting.setdefault(job, [])
        if events and event.name == "delta" == events[-1].name:
            events[-1] = AnswerEvent("delta", {"text": events[-1].data["text"] + event.data["text"]})
        else:
            events.append(event)

    def take(self) -> list[tuple[AnswerJob, AnswerEvent]]:
        """Returns all events and forgets them."""
        taken, self._waiting = self._waiting, {}
        return [(job, event) for job, events in taken.items() for event in events]

    def put_back(self, taken: Sequence[tuple[AnswerJob, AnswerEvent]]) -> None:
        """Adds events again that were taken and not written, before those that came meanwhile."""
        later = self.take()
        for job, event in [*taken, *later]:
            self.add(job, event)

    def take_of(self, job: AnswerJob) -> Sequence[AnswerEvent]:
        """Returns the events of one answer and forgets them."""
        return self._waiting.pop(job, ())

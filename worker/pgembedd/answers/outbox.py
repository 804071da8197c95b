"""Events that wait to be written: deltas that follow each other become one."""

from uuid import UUID

from pgembedd.database.answers import AnswerJob, Event

Waiting = dict[UUID, tuple[AnswerJob, list[Event]]]


class Outbox:
    """Events of any number of answers, each in its order. Used in one event loop."""

    def __init__(self) -> None:
        self._waiting: Waiting = {}

    def add(self, job: AnswerJob, event: Event) -> None:
        """Appends an event; a delta that follows a delta is joined with it."""
        _, events = self._waiting.setdefault(job.id, (job, []))
        if events and event.name == "delta" == events[-1].name:
            events[-1] = Event("delta", {"text": events[-1].data["text"] + event.data["text"]})
        else:
            events.append(event)

    def take(self) -> Waiting:
        """Returns all events and forgets them."""
        taken, self._waiting = self._waiting, {}
        return taken

    def take_of(self, job: AnswerJob) -> Waiting:
        """Returns the events of one answer and forgets them."""
        found = self._waiting.get(job.id)
        if found is None or found[0] is not job:  # another attempt's
            return {}
        return {job.id: self._waiting.pop(job.id)}

"""Events that wait to be written: deltas that follow each other become one."""

from pgembedd.database.answers import AnswerJob, Event


class Outbox:
    """Events of any number of answers, in order. Used in one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[AnswerJob, Event]] = []
        self._last: dict[int, int] = {}  # by msg_id, where its last event stands

    def add(self, job: AnswerJob, event: Event) -> None:
        """Appends an event; a delta after a delta of the same answer is joined with it."""
        at = self._last.get(job.msg_id)
        if at is not None and event.name == "delta" and self._waiting[at][1].name == "delta":
            joined = {"text": self._waiting[at][1].data["text"] + event.data["text"]}
            self._waiting[at] = job, Event("delta", joined)
            return
        self._last[job.msg_id] = len(self._waiting)
        self._waiting.append((job, event))

    def take(self) -> list[tuple[AnswerJob, Event]]:
        """Returns all events and forgets them."""
        taken, self._waiting = self._waiting, []
        self._last.clear()
        return taken

    def take_of(self, job: AnswerJob) -> list[Event]:
        """Returns the events of one answer and forgets them."""
        taken = [event for of, event in self._waiting if of.msg_id == job.msg_id]
        self._waiting = [one for one in self._waiting if one[0].msg_id != job.msg_id]
        self._last = {of.msg_id: at for at, (of, _) in enumerate(self._waiting)}
        return taken

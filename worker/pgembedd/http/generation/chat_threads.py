"""The threads of chats whose clients send no thread."""

import hashlib
import json
from collections import OrderedDict
from uuid import UUID

from pgembedd.http.auth.tokens import Caller

REMEMBERED_CHATS = 10_000


class Threads:
    """The thread of each chat: clients send no thread, but all that was said, by which a chat is known again."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, UUID] = OrderedDict()

    def take(self, caller: Caller, pipeline: str, questions: list[str]) -> UUID | None:
        """Returns the thread in which these questions were asked and nothing after them; None where none is known.

        A thread is taken once: it goes on with the next question, which another chat that began alike has not asked.
        """
        return self._threads.pop(_chat_key(caller, pipeline, questions), None) if questions else None

    def keep(self, caller: Caller, pipeline: str, questions: list[str], thread: UUID | None) -> None:
        """Remembers the thread of a chat."""
        if thread is not None:
            self._threads[_chat_key(caller, pipeline, questions)] = thread
            while len(self._threads) > REMEMBERED_CHATS:
                self._threads.popitem(last=False)


def _chat_key(caller: Caller, pipeline: str, questions: list[str]) -> str:
    written = json.dumps([caller.search_url, caller.claims, pipeline, questions], default=str)
    return hashlib.sha256(written.encode()).hexdigest()

"""The answers of a service: the places of those who watch them, asking, and watching what is made of a question."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from pgembedd.answers.hub import AnswerHub
from pgembedd.answers.questions import AnswerState, Question, Questions, with_vector
from pgembedd.answers.watch import LOOK_S, Viewer
from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.searches import as_caller
from pgembedd.search.engine import SearchEngine

USER_SHARE = 8  # a user has one in so many of the places


class ViewerPlaces:
    """All places of a service, for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_user, self._of_role = max(1, most // USER_SHARE), max(1, most - most // 4)
        self._users: Counter[tuple[str, str | None]] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: Caller) -> ExitStack:
        """Takes a place for a caller; its end or `close()` gives it back.

        Refusal 429 where its user has its share of them, 503 where there is none.
        """
        user = caller.user
        with self._lock:
            if user[1] is not None and self._users[user] >= self._of_user:
                raise Refusal(429, f"You watch {self._of_user} answers already; try again when one has ended.", "busy")
            taken = self._users.total()
            of_role = sum(one for (role, _), one in self._users.items() if role == caller.search_url)
            if taken >= self._most or of_role >= self._of_role:
                raise Refusal(503, f"{min(taken, self._most)} clients watch answers already; try again later.", "busy")
            self._users[user] += 1
        place = ExitStack()
        place.callback(self._give_back, user)
        return place

    def _give_back(self, user: tuple[str, str | None]) -> None:
        with self._lock:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]


class Answers:
    """Questions of the callers, and the viewers of their answers."""

    def __init__(
        self, roles: SearchRoles, searches: Callable[[Caller], SearchEngine], hub: AnswerHub, places: ViewerPlaces
    ) -> None:
        """The questions' vectors are made by `searches`."""
        self._roles, self._searches, self._hub, self._places = roles, searches, hub, places

    def of(self, caller: Caller) -> Questions:
        """Returns the questions and answers of a caller. Their methods raise SearchError and Refusal 501, 503."""
        rights = f"{caller.search_url} {caller.claims}"
        return Questions(as_caller(self._roles, caller), partial(self._roles.rows, caller), rights)

    def state(self, caller: Caller, answer: UUID) -> AnswerState:
        """Returns the answer as it is now. Refusal 404 for one that the caller may not see."""
        if (found := self.of(caller).state(answer)) is None:
            raise _not_found()
        return found

    def stop(self, caller: Caller, answer: UUID) -> AnswerState:
        """Stops an answer, and returns what it is then. Refusal 404 for one that the caller may not see."""
        self.state(caller, answer)
        self.of(caller).stop(answer)
        return self.state(caller, answer)

    def place(self, caller: Caller) -> ExitStack:
        """Takes a viewer's place for one who is about to ask. Refusal 429, 503."""
        if self._hub.stopping.is_set():
            raise Refusal(503, "The service is stopping; try again.", "stopping")
        return self._places.take(caller)

    def ask(self, caller: Caller, asked: Question) -> AnswerState:
        """Asks; to be called by one who has a place. SearchError, Refusal: then it was not asked."""
        return self.of(caller).ask(with_vector(asked, self._searches(caller)))

    async def ask_and_watch(self, caller: Caller, asked: Question) -> Viewer:
        """Asks, and returns a viewer of the answer. Refusal 429, 501, 503 or SearchError: then it was not asked."""
        place = self.place(caller)
        try:
            return self._viewer(caller, await run_in_threadpool(self.ask, caller, asked), 0, place)
        except BaseException:
            place.close()
            raise

    async def watch(self, caller: Caller, answer: UUID, after: int = 0) -> Viewer:
        """Returns a viewer from the event after `after`. Refusal 404, 429, 501, 503; SearchError."""
        if (state := await self._hub.state(answer, self.of(caller), LOOK_S)) is None:
            raise _not_found()
        return self._viewer(caller, state, after, None if state.is_finished else self.place(caller))

    def _viewer(self, caller: Caller, state: AnswerState, after: int, place: ExitStack | None) -> Viewer:
        leave = (lambda: None) if place is None else place.close
        return Viewer(self.of(caller), self._hub, state, after, leave)


def _not_found() -> Refusal:
    return Refusal(404, "There is no answer of this id, or it is of others.", "answer_not_found")

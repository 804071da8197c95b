"""Questions of the callers of HTTP: asked, and read again, with the rights of the caller's role."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from pgembedd.answers import questions
from pgembedd.answers.questions import AnswerEvent, AnswerState, EarlierTurn, Question
from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal

Result = TypeVar("Result")
VectorOf = Callable[[Caller, str, str], Sequence[float] | None]
NOT_FOUND = "answer_not_found"


class Asker:
    """Questions and answers of the callers of HTTP. Every method raises SearchError and Refusal."""

    def __init__(self, roles: SearchRoles) -> None:
        self._roles = roles
        self.vector_of: VectorOf | None = None  # else a worker embeds the question, inside the database

    def ask(self, caller: Caller, asked: Question) -> AnswerState:
        """Searches as the caller, queues the answer and returns it; in one transaction, so that no error leaves it."""
        given = self._with_vector(caller, asked)
        return self._call(caller, lambda connection: questions.ask_and_read(connection, given))

    def state(self, caller: Caller, answer: UUID) -> AnswerState:
        """Returns the answer as it is now. Refusal 404 for one that the caller may not see."""
        found = self._call(caller, lambda connection: questions.state(connection, answer))
        if found is None:
            raise Refusal(404, "There is no answer of this id, or it is of others.", NOT_FOUND)
        return found

    def earlier_turns(self, caller: Caller, answer: UUID) -> list[EarlierTurn]:
        """Returns the turns of the answer's thread before it, the oldest first."""
        return self._call(caller, lambda connection: questions.earlier_turns(connection, answer))

    def stop(self, caller: Caller, answer: UUID) -> AnswerState:
        """Stops an answer, and returns what it is then. Refusal 404 for one that the caller may not see."""
        self.state(caller, answer)
        self._call(caller, lambda connection: questions.stop(connection, answer))
        return self.state(caller, answer)

    def is_untaken(self, caller: Caller, answer: UUID) -> bool:
        """Returns True for a question that has waited for some seconds without any worker that answers."""
        return bool(self._call(caller, lambda connection: questions.is_untaken(connection, answer)))

    def events(self, caller: Caller, after: Mapping[UUID, int]) -> list[tuple[UUID, AnswerEvent]]:
        """Returns what happened since these events, by answer and in order."""
        return questions.read_events(partial(self._roles.rows, caller), after)

    def sources(self, caller: Caller, answer: UUID) -> list[dict[str, Any]]:
        """Returns the sources that the caller may still read: n, pipeline, key, title, url, excerpt, score."""
        return self._call(caller, lambda one: questions.sources(one, answer))

    def pipelines(self, caller: Caller) -> list[str]:
        """Returns the pipelines that the caller may ask about, by name."""
        return self._call(caller, questions.asked_pipelines)

    def _with_vector(self, caller: Caller, asked: Question) -> Question:
        """Adds the vector by the model here; a question of a thread is searched with others, which SQL knows."""
        if self.vector_of is None or asked.thread is not None:
            return asked
        return replace(asked, embedding=self.vector_of(caller, asked.pipeline, asked.question))

    def _call(self, caller: Caller, work: Callable[[psycopg.Connection], Result]) -> Result:
        with self._roles.transaction(caller) as connection:
            return work(connection)

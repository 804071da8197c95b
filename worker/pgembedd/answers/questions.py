"""Questions about a table, and what becomes of them: asked and read with the rights of one role."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, LiteralString, NoReturn
from uuid import UUID

import psycopg
from psycopg import sql

from pgembedd.database.answers import AnswerEvent
from pgembedd.database.queries import query
from pgembedd.errors import SearchError
from pgembedd.log import get_logger
from pgembedd.search.calls import Call, named_call
from pgembedd.search.engine import SearchEngine
from pgembedd.search.run import AsCaller, raise_search_error, run

FINISHED = frozenset({"complete", "refused", "failed", "stopped"})
Rows = Callable[[LiteralString, dict[str, str]], list[tuple[str, ...]]]
Named = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of `pgembedd.ask()`; None leaves one to its default, and without a vector a worker embeds."""

    pipeline: str
    question: str
    k: int | None = None
    filter: Mapping[str, Any] | None = None
    language_model: str | None = None
    thread: UUID | None = None
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class AnswerState:
    """An answer as `pgembedd.answers` shows it. `answer` and `reason` are None while there are none."""

    id: UUID
    thread: UUID | None
    pipeline: str
    question: str
    language_model: str | None
    status: str
    attempt: int
    answer: str | None
    reason: str | None
    notes: list[str]
    """Sentences about a finished answer, as that it cites no source."""

    @property
    def is_finished(self) -> bool:
        """True where no event will come any more."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """A question of the same thread that was asked before, and its answer as it is now."""

    id: UUID
    question: str
    status: str
    answer: str | None


def with_vector(asked: Question, searches: SearchEngine) -> Question:
    """Adds the vector by a model of this process; else a worker embeds the question, inside the database.

    A question of a thread is searched with others, which SQL knows.
    """
    if asked.thread is not None:
        return asked
    return replace(asked, embedding=searches.vector(asked.pipeline, asked.question))


class Questions:
    """The questions and answers of one role. Every method raises SearchError, and what its ports raise."""

    def __init__(self, run_as: AsCaller, rows: Rows | None = None, rights: str = "") -> None:
        """`run_as` runs work as the role, in a transaction, so that no error leaves a question.

        `rows` returns those of a statement that runs no code of users, in texts, where that takes fewer round trips.
        `rights` identifies what the role may see.
        """
        self._run_as, self.rights = run_as, rights
        self._rows = rows or (lambda statement, values: run_as(partial(_fetch, statement, values)))

    def ask(self, asked: Question) -> AnswerState:
        """Searches, queues the answer and returns it as it is then."""
        given = {name: value for name, value in asdict(asked).items() if value is not None}
        call = named_call("ask", given, lambda rows: rows[0]["id"])

        def work(connection: psycopg.Connection) -> Named:
            return run(connection, _call("answer", {"id": run(connection, call)}))

        return _state(self._run_as(work)) or _raise_gone()

    def state(self, answer: UUID) -> AnswerState | None:
        """Returns the answer as it is now; None for one that the role may not see."""
        return _state(self._named("answer", id=answer))

    def known(self, answer: UUID) -> AnswerState:
        """Returns the answer as it is now. SearchError where it is gone."""
        return self.state(answer) or _raise_gone()

    def earlier_turns(self, answer: UUID) -> list[EarlierTurn]:
        """Returns the turns of the answer's thread before it, the oldest first."""
        return [EarlierTurn(**row) for row in self._named("answers_before", id=answer)]

    def stop(self, answer: UUID) -> bool:
        """Stops an answer that is queued or being made; returns False for one that was finished."""
        return bool(self._named("stop_answer", id=answer)[0]["stopped"])

    def abandon(self, answer: UUID) -> None:
        """Stops an answer that has no reader any more; an error is logged."""
        try:
            self.stop(answer)
        except Exception as error:  # it goes on, and costs what an answer costs
            get_logger().warning("answer_not_stopped", answer=str(answer), error=type(error).__name__)

    def is_untaken(self, answer: UUID) -> bool:
        """Returns True for a question that has waited for some seconds without any worker that answers."""
        return bool(self._named("answer_is_untaken", id=answer)[0]["untaken"])

    def events(self, after: Mapping[str, int]) -> list[tuple[str, AnswerEvent]]:
        """Returns what happened since these events, by answer and in order."""
        # All of it as text, which takes psycopg a tenth of the time: this runs for each delta.
        values = {"answers": f"{{{','.join(after)}}}", "after": f"{{{','.join(map(str, after.values()))}}}"}
        try:
            found = self._rows(query("answer_events"), values)
        except psycopg.Error as error:
            raise_search_error(error)
        return [(answer, AnswerEvent(event, json.loads(data), int(seq))) for answer, seq, event, data in found]

    def sources(self, answer: UUID) -> Named:
        """Returns the sources that the role may still read: n, pipeline, key, title, url, excerpt, score, place."""
        return self._named("answer_sources", id=answer)

    def pipelines(self) -> list[str]:
        """Returns the pipelines that the role may ask about, by name."""
        return [row["pipeline"] for row in self._named("asked_pipelines")]

    def _named(self, name: str, **values: Any) -> Named:
        return self._run_as(lambda connection: run(connection, _call(name, values)))


def _call(name: str, values: dict[str, Any]) -> Call[Named]:
    return Call(sql.SQL(query(name)).format(), values, list)


def _fetch(statement: LiteralString, values: dict[str, str], connection: psycopg.Connection) -> list[tuple[str, ...]]:
    return connection.execute(statement, values).fetchall()


def _state(found: Named) -> AnswerState | None:
    return AnswerState(**found[0]) if found else None


def _raise_gone() -> NoReturn:
    raise SearchError("The answer is gone.", "It was kept for too short a time (configure_answers()).")

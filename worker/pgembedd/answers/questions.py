"""pgembedd.ask() and what becomes of a question, over a connection of the caller's. SearchError for all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from pgembedd.database.queries import query
from pgembedd.errors import SearchError
from pgembedd.log import get_logger
from pgembedd.search.calls import Call, named_call
from pgembedd.search.run import AsCaller, raise_search_error, run

POLL_S = 0.2
UNTAKEN = "No worker has taken the question"
REMEDY = "start a worker with a language model (`pgembedd run` with AI_INFERENCE_API_HOST)"
FINISHED = frozenset({"complete", "refused", "failed", "stopped"})
Rows = Callable[[LiteralString, dict[str, Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of `pgembedd.ask()`; None leaves one to its default, and without a vector a worker embeds."""

    pipeline: str
    question: str
    filter: Mapping[str, Any] | None = None
    k: int | None = None
    model: str | None = None
    thread: UUID | None = None
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class AnswerState:
    """An answer as `pgembedd.answers` shows it. `answer` and `reason` are None while there are none."""

    id: UUID
    thread: UUID | None
    pipeline: str
    question: str
    model: str | None
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


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """An event of an answer: `status`, `sources`, `delta`, `citation`, `done` or `error`, in the order of seq."""

    seq: int
    """From 1; 0 for an error that the database does not have."""
    event: str
    data: dict[str, Any]

    @property
    def ends(self) -> bool:
        """True for the last event of an answer."""
        return self.event in ("done", "error")


def ask(connection: psycopg.Connection, asked: Question) -> UUID:
    """Searches as the role of the connection, queues the answer and returns its id."""
    given = {name: value for name, value in asdict(asked).items() if value is not None}
    found: UUID = run(connection, named_call("ask", given, lambda rows: rows[0]["id"]))
    return found


def ask_and_read(connection: psycopg.Connection, asked: Question) -> AnswerState:
    """Asks, and returns the answer as it is then. In the transaction of the caller: an error undoes both."""
    found = state(connection, ask(connection, asked))
    if found is None:
        raise SearchError("The answer is gone.", "It was kept for too short a time (configure_answers()).")
    return found


def state(connection: psycopg.Connection, answer: UUID) -> AnswerState | None:
    """Returns the answer as it is now; None for one that the role may not see."""
    rows = _rows(connection, "answer", {"id": answer})
    return AnswerState(**rows[0]) if rows else None


def earlier_turns(connection: psycopg.Connection, answer: UUID) -> list[EarlierTurn]:
    """Returns the turns of the answer's thread before it, the oldest first."""
    return [EarlierTurn(**row) for row in _rows(connection, "answers_before", {"id": answer})]


def stop(connection: psycopg.Connection, answer: UUID) -> bool:
    """Stops an answer that is queued or being made; returns False for one that was finished."""
    (row,) = _rows(connection, "stop_answer", {"id": answer})
    return bool(row["stopped"])


def is_untaken(connection: psycopg.Connection, answer: UUID) -> bool:
    """Returns True for a question that has waited for some seconds without any worker that answers."""
    (row,) = _rows(connection, "answer_is_untaken", {"id": answer})
    return bool(row["untaken"])


def events(connection: psycopg.Connection, after: Mapping[UUID, int]) -> list[tuple[UUID, AnswerEvent]]:
    """Returns what happened since these events, by answer and in order."""
    return read_events(lambda statement, values: connection.execute(statement, values).fetchall(), after)


def read_events(rows: Rows, after: Mapping[UUID, int]) -> list[tuple[UUID, AnswerEvent]]:
    """Returns what happened since these events, by answer and in order; `rows` returns those of a statement."""
    try:
        found = rows(query("answer_events"), {"answers": list(after), "after": list(after.values())})
    except psycopg.Error as error:
        raise_search_error(error)
    return [(answer, AnswerEvent(seq, event, data)) for answer, seq, event, data in found]


def sources(connection: psycopg.Connection, answer: UUID) -> list[dict[str, Any]]:
    """Returns the sources that the role may still read: n, pipeline, key, title, url, excerpt, score."""
    return _rows(connection, "answer_sources", {"id": answer})


def asked_pipelines(connection: psycopg.Connection) -> list[str]:
    """Returns the pipelines that the role may ask about, by name."""
    return [row["pipeline"] for row in _rows(connection, "asked_pipelines", {})]


def ask_and_wait(within: AsCaller, asked: Question, timeout_s: float) -> dict[str, Any]:
    """Asks, and returns the finished answer with its notes and sources; `within` runs a function in a transaction.

    SearchError where there is none after `timeout_s` seconds, or no worker that takes it. Who is told so has no id to
    come back with, and may ask again: so the question is stopped.
    """
    asked_one = within(lambda connection: ask_and_read(connection, asked))
    try:
        now = _finished(within, asked_one, timeout_s)
        shown = within(lambda connection: sources(connection, now.id))
    except BaseException:
        _stop(within, asked_one.id)
        raise
    return {"status": now.status, "answer": now.answer, "reason": now.reason, "notes": now.notes, "sources": shown}


def _finished(within: AsCaller, asked: AnswerState, timeout_s: float) -> AnswerState:
    now: AnswerState | None = asked
    deadline = time.monotonic() + timeout_s
    while now is not None and not now.is_finished:
        if within(lambda connection: is_untaken(connection, asked.id)):
            raise SearchError(f"{UNTAKEN}.", f"It was stopped: {REMEDY}, and ask again.", "55000")
        if time.monotonic() > deadline:
            raise SearchError(
                f"There was no answer after {timeout_s:g} s.",
                "It was stopped. Is a worker with a language model running?",
                "57014",
            )
        time.sleep(POLL_S)
        now = within(lambda connection: state(connection, asked.id))
    if now is None:
        raise SearchError("The answer is gone.", "It was kept for too short a time (configure_answers()).")
    return now


def _stop(within: AsCaller, answer: UUID) -> None:
    try:
        within(lambda connection: stop(connection, answer))
    except Exception as error:  # it goes on, and costs what an answer costs
        get_logger().warning("answer_not_stopped", answer=str(answer), error=type(error).__name__)


def _rows(connection: psycopg.Connection, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return run(connection, Call(sql.SQL(query(name)).format(), values, list))

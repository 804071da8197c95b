"""Asks the database for answers and reads what became of them, with the rights of the caller's role."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgembedd.database.queries import query
from pgembedd.http.errors import Refusal
from pgembedd.http.search_roles import SearchRoles
from pgembedd.http.tokens import Caller
from pgembedd.search.run import raise_search_error

FINISHED = frozenset({"complete", "refused", "failed"})
_TYPES: dict[str, LiteralString] = {
    "pipeline": "text", "question": "text", "filter": "jsonb", "k": "int4", "model": "text", "thread": "uuid"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of `pgembedd.ask()`; None leaves one to its default."""

    pipeline: str
    question: str
    filter: Mapping[str, Any] | None = None
    k: int | None = None
    model: str | None = None
    thread: UUID | None = None


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

    @property
    def is_finished(self) -> bool:
        """True where no event will come any more."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """What happened to an answer: `status`, `sources`, `delta`, `citation`, `done` or `error`, in the order of seq."""

    seq: int
    event: str
    data: dict[str, Any]

    @property
    def ends(self) -> bool:
        """True for the last event of an answer."""
        return self.event in ("done", "error")


class Asker:
    """Questions and answers of the callers of HTTP. Every method raises SearchError and Refusal."""

    def __init__(self, roles: SearchRoles) -> None:
        self._roles = roles

    def ask(self, caller: Caller, asked: Question) -> UUID:
        """Searches as the caller, queues the answer and returns its id."""
        given = {name: value for name, value in asdict(asked).items() if value is not None}
        if "\0" in f"{asked.pipeline}{asked.question}{asked.model}":
            raise Refusal(422, "The question holds a character of code zero, which no text in Postgres can.")
        if asked.filter is not None:
            given["filter"] = json.dumps(asked.filter)
        arguments = sql.SQL(", ").join(
            sql.SQL("{} => {}::pg_catalog.{}").format(
                sql.Identifier(name), sql.Placeholder(name), sql.Identifier(_TYPES[name])
            )
            for name in given
        )
        (row,) = self._rows(caller, sql.SQL(query("ask")).format(arguments=arguments), given)
        found: UUID = row["id"]
        return found

    def state(self, caller: Caller, answer: UUID) -> AnswerState:
        """Returns the answer as it is now. Refusal 404 for one that the caller may not see."""
        rows = self._rows(caller, sql.SQL(query("answer")), {"id": answer})
        if not rows:
            raise Refusal(404, "There is no answer of this id, or it is of others.", "answer_not_found")
        return AnswerState(**rows[0])

    def events(self, caller: Caller, after: Mapping[UUID, int]) -> list[tuple[UUID, AnswerEvent]]:
        """Returns what happened since these events, by answer and in order."""
        values = {"answers": list(after), "after": list(after.values())}
        rows = self._rows(caller, sql.SQL(query("answer_events")), values)
        return [(row["answer"], AnswerEvent(row["seq"], row["event"], row["data"])) for row in rows]

    def sources(self, caller: Caller, answer: UUID) -> list[dict[str, Any]]:
        """Returns the sources that the caller may still read: n, pipeline, key, title, url, excerpt, score."""
        return self._rows(caller, sql.SQL(query("answer_sources")), {"id": answer})

    def pipelines(self, caller: Caller) -> list[str]:
        """Returns the pipelines that the caller may ask about, by name."""
        return [row["pipeline"] for row in self._rows(caller, sql.SQL(query("asked_pipelines")), {})]

    def _rows(self, caller: Caller, statement: sql.SQL | sql.Composed, values: dict[str, Any]) -> list[dict[str, Any]]:
        with self._roles.transaction(caller) as connection:
            try:
                with connection.cursor(row_factory=dict_row) as cursor:
                    return cursor.execute(statement, values).fetchall()
            except psycopg.Error as error:
                raise_search_error(error)

"""Follows an answer as a viewer does: its events from a number on, as the role of the connection."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import GenerationTimeoutError

CHECK_S = 0.5  # a NOTIFY may be lost with what a pooler does; then the next look finds the event
LAST = ("done", "error")


@dataclass(frozen=True, slots=True)
class Shown:
    """An event of an answer, by its number."""

    seq: int
    event: str
    data: Mapping[str, Any]


def follow(
    connection: psycopg.Connection[Any], answer: UUID, *, after: int = 0, timeout_s: float = 120.0
) -> Iterator[Shown]:
    """Yields the events after number `after` as they come, up to `done` or `error`.

    The connection is in autocommit and listens from the first event on. GenerationTimeoutError when nothing has come
    for `timeout_s` seconds.
    """
    connection.execute(query("hear_answers"))
    until = time.monotonic() + timeout_s
    while True:
        rows = connection.execute(query("answer_events"), {"answer": answer, "after": after}).fetchall()
        for row in rows:
            shown = Shown(*row)
            yield shown
            after, until = shown.seq, time.monotonic() + timeout_s
            if shown.event in LAST:
                return
        if time.monotonic() > until:
            raise GenerationTimeoutError(
                f"Nothing has come of the answer {answer} for {timeout_s:g} seconds: is a worker running that has a "
                "language model (`pgembedd run` with AI_INFERENCE_API_HOST)?"
            )
        for _ in connection.notifies(timeout=CHECK_S, stop_after=1):
            pass


def sources_of(connection: psycopg.Connection[Any], answer: UUID) -> list[dict[str, Any]]:
    """Returns the sources that the role of the connection may still read, by their numbers."""
    names = ("n", "pipeline", "key", "title", "url", "excerpt", "score")
    rows = connection.execute(query("answer_sources"), {"answer": answer}).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]

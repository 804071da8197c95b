"""Follows an answer as a viewer does: its events from a number on, as the role of the connection."""

import time
from collections.abc import Iterator
from uuid import UUID

import psycopg

from pgembedd.answers.questions import REMEDY, UNTAKEN, AnswerEvent, events, is_untaken
from pgembedd.database.queries import query
from pgembedd.errors import GenerationTimeoutError, GenerationUnavailableError

CHECK_S = 0.5  # a NOTIFY may be lost with what a pooler does; then the next look finds the event


def follow(
    connection: psycopg.Connection, answer: UUID, *, after: int = 0, timeout_s: float = 120.0
) -> Iterator[AnswerEvent]:
    """Yields the events after number `after` as they come, up to `done` or `error`.

    The connection is in autocommit and listens from the first event on. GenerationTimeoutError when nothing has come
    for `timeout_s` seconds; GenerationUnavailableError when no worker takes the question.
    """
    connection.execute(query("hear_answers"))
    until = time.monotonic() + timeout_s
    while True:
        for _, shown in events(connection, {answer: after}):
            yield shown
            after, until = shown.seq, time.monotonic() + timeout_s
            if shown.ends:
                return
        if is_untaken(connection, answer):
            raise GenerationUnavailableError(f"{UNTAKEN} {answer}. It stays queued; {REMEDY}.")
        if time.monotonic() > until:
            raise GenerationTimeoutError(
                f"Nothing has come of the answer {answer} for {timeout_s:g} s: is a worker running that has a "
                "language model (`pgembedd run` with AI_INFERENCE_API_HOST)?"
            )
        for _ in connection.notifies(timeout=CHECK_S, stop_after=1):
            pass

"""embed() and the workers that answer it, simulated: a worker that answers when it is told to, a caller in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.presence import beat
from tests.support.sql import column, create_pipeline, make_documents, value
from tests.support.waiting import PATIENCE_S, eventually

VECTOR = "[0.25,-0.5,0.12345679]"


def make_pipeline(connection: psycopg.Connection) -> None:
    """One pipeline, of three dimensions."""
    make_documents(connection)
    create_pipeline(connection)


class Hand:
    """A worker that answers when it is told to, and counts as one that answers however long a test takes."""

    def __init__(self, connection: psycopg.Connection, *, keeps_session: bool = False) -> None:
        self.connection, self.keeps_session = connection, keeps_session
        beat(connection, ("embed",))
        connection.execute("update pgembedd_internal.worker set answered_at = answered_at + interval '1 day'")
        assert value(connection, "select pg_backend_pid() = any (pgembedd_internal._listeners())")

    def take(self, at_most: int = 8) -> list[str]:
        """The ids of the questions taken."""
        taken = "select id from pgembedd_internal.take_embed_requests(%s, pg_backend_pid(), %s)"
        return [str(one) for one in column(self.connection, taken, at_most, self.keeps_session)]

    def take_one(self) -> str:
        """The id of the only question, once it is there."""
        taken: list[str] = []

        def there() -> bool:
            taken.extend(self.take())
            return bool(taken)

        eventually(there)
        (one,) = taken
        return one

    def answer(self, one: str, vector: str | None = VECTOR, refusal: str | None = None) -> int:
        """Returns 1 if the question was this worker's, else 0."""
        finish = (
            "select pgembedd_internal.finish_embed_requests(%s::uuid[], array[%s::vector], %s, pg_backend_pid(), %s)"
        )
        return int(value(self.connection, finish, [one], vector, [refusal], self.keeps_session))

    def decline(self, one: str, reason: str) -> None:
        """Leaves it to another worker."""
        decline = "select pgembedd_internal.decline_embed_request(%s, %s, pg_backend_pid())"
        self.connection.execute(decline, [one, reason])


class Asking:
    """embed() in a thread: what came of it."""

    def __init__(self, connection: psycopg.Connection, arguments: str) -> None:
        self.answer: str | None = None
        self.error: psycopg.Error | None = None
        self._thread = threading.Thread(target=self._ask, args=(connection, arguments))
        self._thread.start()

    def _ask(self, connection: psycopg.Connection, arguments: str) -> None:
        try:
            self.answer = value(connection, f"select pgembedd.embed({arguments})::text")
        except psycopg.Error as error:
            self.error = error

    def done(self) -> None:
        """Wait for it."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextmanager
def asking(connection: psycopg.Connection, arguments: str = "'hello', timeout => '1 min'") -> Iterator[Asking]:
    """A question under way; its answer is there at the end."""
    one = Asking(connection, arguments)
    try:
        yield one
    finally:
        one.done()


def ask_once(asker: psycopg.Connection, hand: Hand, text: str) -> None:
    with asking(asker, f"'{text}', timeout => '1 min'") as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR


def seen(connection: psycopg.Connection, text: str) -> int:
    """Counts the sessions of callers that show it as their statement."""
    where = "application_name = 'pgembedd embed' and datname = current_database() and strpos(query, %s) > 0"
    return int(value(connection, f"select count(*) from pg_stat_activity where {where}", text))


def kept(connection: psycopg.Connection) -> int:
    return int(value(connection, "select count(*) from pgembedd_internal.embed_request"))

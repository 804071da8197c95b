"""A question is said to be untaken only where no worker has shown itself for some seconds."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from tests.support.answers import as_worker, ask, asker, claim, finish
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["asker", "connection"]

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go

STOP = "select pgembedd.stop_answer(%s)"
FAIL = "select pgembedd_internal.fail_answer(%s, 1, 'The server is away.', %s, %s)"


def is_untaken(connection: psycopg.Connection, answer: UUID) -> bool:
    return bool(value(connection, "select pgembedd_internal._is_untaken(%s)", answer))


def pass_time(connection: psycopg.Connection, seconds: int) -> None:
    """Moves all answers into the past."""
    asker = value(connection, "select current_user")
    connection.execute("reset role")
    moved = ", ".join(f"{name} = {name} - make_interval(secs => %(s)s)" for name in ("due_at", "finished_at"))
    connection.execute(f"update pgembedd_internal.answer set {moved}".encode(), {"s": seconds})
    connection.execute(f"set local role {asker}")


def test_a_question_without_any_worker_is_untaken_after_seconds(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    assert not is_untaken(connection, answer)
    pass_time(connection, 4)
    assert is_untaken(connection, answer)


@pytest.mark.parametrize("ending", ["finished", "failed", "tried again", "stopped"])
def test_the_end_of_another_answer_is_a_sign_of_a_worker(
    connection: psycopg.Connection, asker: str, ending: str
) -> None:
    before = ask(connection)
    assert [job[0] for job in claim(connection, 34)] == [before]
    waiting = ask(connection)
    pass_time(connection, 4)
    assert not is_untaken(connection, waiting)
    match ending:
        case "finished":
            finish(connection, before, 1)
        case "failed":
            as_worker(connection, FAIL, before, True, None)
        case "tried again":
            as_worker(connection, FAIL, before, False, 5)
        case "stopped":
            assert value(connection, STOP, before)
    assert not is_untaken(connection, waiting), "the worker is about to take it"
    pass_time(connection, 6)
    # Its model may say nothing for long, and until then the worker does not know that its asker has stopped it.
    assert is_untaken(connection, waiting) is (ending != "stopped")
    pass_time(connection, 30)
    assert is_untaken(connection, waiting)


def test_a_question_that_was_stopped_in_the_queue_is_no_sign_of_a_worker(
    connection: psycopg.Connection, asker: str
) -> None:
    before, waiting = ask(connection), ask(connection)
    pass_time(connection, 4)
    assert value(connection, STOP, before)
    assert is_untaken(connection, waiting)


def test_an_answer_to_be_tried_much_later_is_no_sign_of_a_worker(connection: psycopg.Connection, asker: str) -> None:
    before = ask(connection)
    claim(connection)
    waiting = ask(connection)
    assert as_worker(connection, FAIL, before, False, 3600) == [("retry",)]
    pass_time(connection, 4)
    assert is_untaken(connection, waiting)

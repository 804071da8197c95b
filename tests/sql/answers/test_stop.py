"""An answer is stopped by who asked, or who began its thread: what was written stays, and its worker finds out."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.answers import as_worker, ask, asker, claim, events, finish
from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import rows, value
from tests.support.transaction import connection

__all__ = ["asker", "connection"]

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go

STOP = "select pgembedd.stop_answer(%s)"
WRITE = "select pgembedd_internal.write_answers(%s, %s, %s, %s)"
STATE = "select status, answer, citations, finished_at is not null from pgembedd.answers"


def test_an_answer_that_is_made_is_stopped_with_what_was_written(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    claim(connection, lease_s=-1)
    lost = [Jsonb({"text": "Of an attempt that is over."})]
    assert as_worker(connection, WRITE, [answer], [1], ["delta"], lost) == [(answer,)]
    claim(connection)
    told = [Jsonb({"text": "So it [1]"}), Jsonb({"n": 1})]
    assert as_worker(connection, WRITE, [answer] * 2, [2, 2], ["delta", "citation"], told) == [(answer,)]
    assert value(connection, STOP, answer) is True
    assert rows(connection, STATE) == [("stopped", "So it [1]", [1], True)]
    assert [event[1:] for event in events(connection, answer)[-2:]] == [
        ("status", {"status": "stopped", "attempt": 2}),
        ("done", {"status": "stopped", "citations": [1]}),
    ]
    # The worker learns it from each of its statements, and changes nothing.
    before = events(connection, answer)
    assert as_worker(connection, WRITE, [answer], [2], ["delta"], [Jsonb({"text": "more"})]) == []
    assert as_worker(connection, "select pgembedd_internal.extend_answers(%s, '{2}', 60)", [answer]) == []
    as_worker(connection, "select pgembedd_internal.release_answers(%s, '{2}')", [answer])
    assert not finish(connection, answer, 2)
    assert claim(connection, lease_s=-1) == []
    assert value(connection, STOP, answer) is False  # again: nothing changes
    assert events(connection, answer) == before
    assert rows(connection, STATE) == [("stopped", "So it [1]", [1], True)]


def test_an_answer_in_the_queue_is_stopped_and_a_finished_one_is_left(
    connection: psycopg.Connection, asker: str
) -> None:
    answer = ask(connection)
    assert value(connection, STOP, answer) is True
    assert rows(connection, STATE) == [("stopped", None, [], True)]
    assert [event for _, event, _ in events(connection, answer)] == ["status", "sources", "status", "done"]
    assert claim(connection) == []
    connection.execute("reset role; delete from pgembedd_internal.answer")
    connection.execute(f"set local role {asker}")
    answer = ask(connection)
    claim(connection)
    finish(connection, answer, 1)
    before = events(connection, answer)
    assert value(connection, STOP, answer) is False
    assert rows(connection, STATE) == [("complete", "So it is [1].", [1], True)]
    assert events(connection, answer) == before


def test_who_may_stop_an_answer(roles: Roles, connection: psycopg.Connection, asker: str) -> None:
    def become(subject: str) -> None:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{subject}"}}'])

    become("ada")
    answer = ask(connection)
    thread = value(connection, "select thread from pgembedd.answers")
    become("bob")
    for id_ in (answer, uuid4()):
        with refused(f"There is no answer {id_}, or it is of others.", "The view pgembedd.answers has yours."):
            value(connection, STOP, id_)
    become("ada")
    connection.execute("select pgembedd.share_thread(%s, %s, 'bob')", [thread, asker])
    become("bob")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"The answer {answer} is of others."),
        connection.transaction(),
    ):
        value(connection, STOP, answer)
    # Nor by hand, nor to anything but this.
    update = "update pgembedd_internal.answer set status = %s where id = %s"
    assert connection.execute(update, ["stopped", answer]).rowcount == 0
    bobs = ask(connection, "and why", thread)
    assert value(connection, "select count(*) from pgembedd.answers where status = 'queued'") == 2
    become("ada")
    for status in ("complete", "queued"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(update, [status, answer])
    assert value(connection, STOP, answer) is True
    assert value(connection, STOP, bobs) is True  # she began the thread
    assert connection.execute(update, ["stopped", answer]).rowcount == 0  # it is finished


def test_an_asker_who_does_not_commit_keeps_no_worker_waiting(
    roles: Roles, database: Database, connection: psycopg.Connection, asker: str
) -> None:
    with connect_as(database, asker) as asking:
        first, second = ask(asking), ask(asking)
        claim(connection)
        connection.execute("set statement_timeout = '20s'")
        with asking.transaction(force_rollback=True):
            assert value(asking, STOP, first) is True
            two = ["delta", "delta"], [Jsonb({"text": "So"})] * 2
            assert as_worker(connection, WRITE, [first, second], [1, 1], *two) == [(second,)]
            extended = as_worker(
                connection, "select pgembedd_internal.extend_answers(%s, '{1,1}', 60)", [first, second]
            )
            assert extended == [(second,)]
            assert not finish(connection, first, 1)
            as_worker(connection, "select pgembedd_internal.release_answers(%s, '{1,1}')", [first, second])
        states = "select status from pgembedd_internal.answer where id = %s"
        assert [value(connection, states, one) for one in (first, second)] == ["generating", "queued"]

"""embed() where its worker does not answer: timeouts, locks, callers and workers that end. Workers are simulated."""

from __future__ import annotations

import re
import threading
from uuid import uuid4

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.embed_requests import VECTOR, Asking, Hand, ask_once, asking, kept, make_pipeline, seen
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import column, connected, rows, value
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["connection"]


@prepared
def asker(connection: psycopg.Connection) -> None:
    """A connection to a database with one pipeline, of three dimensions."""
    make_pipeline(connection)


def test_no_answer_in_time_is_an_error_and_leaves_nothing(asker: psycopg.Connection, hand: Hand) -> None:
    with refused("No vector came within 00:00:00.1, though a worker is connected.", "a longer timeout"):
        asker.execute("select pgembedd.embed('hello', timeout => '100 ms')")
    assert kept(asker) == 0
    assert hand.take() == []


def test_the_question_of_a_cancelled_caller_is_taken_back(asker: psycopg.Connection, either: Hand) -> None:
    with asking(asker) as one:
        question = either.take_one()
        asker.cancel_safe(timeout=PATIENCE_S)
    assert isinstance(one.error, psycopg.errors.QueryCanceled)
    assert kept(asker) == 0
    assert either.answer(question) == 0
    assert value(asker, "select pgembedd_code.dblink_get_connections()") is None


def test_a_question_is_taken_back_whose_caller_is_cancelled_while_it_is_posted(
    asker: psycopg.Connection, hand: Hand
) -> None:
    with asking(asker) as first:
        hand.answer(hand.take_one())
    assert first.answer == VECTOR  # so that the next is posted over the connection that is kept
    waits = "select from pg_locks where relation = 'pgembedd_internal.embed_request'::regclass and not granted"
    with hand.connection.transaction():
        hand.connection.execute("lock table pgembedd_internal.embed_request in exclusive mode")
        one = Asking(asker, "'another', timeout => '1 min'")
        eventually(lambda: bool(rows(hand.connection, waits)))
        asker.cancel_safe(timeout=PATIENCE_S)
    one.done()
    assert isinstance(one.error, psycopg.errors.QueryCanceled)
    assert kept(hand.connection) == 0


def test_a_lock_on_the_requests_holds_no_caller_and_no_cancelled_one(
    database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    waiting = "application_name = 'pgembedd embed' and datname = current_database() and wait_event = 'relation'"
    with connected(database) as admin, connected(database) as observer:
        for cancels in (False, True):
            ask_once(asker, hand, "hello")
            with admin.transaction():
                admin.execute("lock table pgembedd_internal.embed_request in access exclusive mode")
                with asking(asker) as one:
                    if cancels:
                        eventually(lambda: value(observer, f"select count(*) from pg_stat_activity where {waiting}"))
                        asker.cancel_safe(timeout=PATIENCE_S)
            assert one.error is not None
            assert one.error.sqlstate == ("57014" if cancels else "53000")
            assert cancels or "are locked by another session" in str(one.error)


READ = ["AccessExclusiveLock"]
WRITTEN = ["ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"]
NEEDED = {"pipeline": READ, "worker": READ, "embed_request": WRITTEN}
TABLES = "select relname from pg_class where relnamespace = 'pgembedd_internal'::regnamespace and relkind = 'r'"


def own_lock(mode: str, relation: str) -> str:
    return (
        f"No worker can embed the text, as this transaction holds {mode} on pgembedd_internal.{relation}: call "
        "pgembedd.embed() before that, or in another transaction."
    )


def test_a_caller_is_told_which_lock_of_its_own_it_waits_for(
    database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    """Of all locks on our tables those that a request needs, and no others, keep its vector away."""
    asked = "select pgembedd.embed('hello', timeout => '10 min')"
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            for question in hand.take():
                hand.answer(question)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        for table in column(asker, TABLES):
            for mode in ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"):
                lock = " ".join(re.findall("[A-Z][a-z]+", mode.removesuffix("Lock")))
                with asker.transaction(force_rollback=True):
                    asker.execute(f"lock table pgembedd_internal.{table} in {lock} mode")
                    told = None
                    try:
                        asker.execute(asked)
                    except psycopg.Error as error:
                        told = error.diag.message_primary
                needed = mode in NEEDED.get(table, [])
                # A vector that is there at the first look needs no other: then no worker is looked for.
                assert told == (own_lock(mode, table) if needed else None) or (table, told) == ("worker", None)
        assert value(asker, f"{asked} is not null")
    finally:
        ended.set()
        serving.join(PATIENCE_S)


def test_askers_do_not_see_each_others_questions(asker: psycopg.Connection, hand: Hand) -> None:
    with asking(asker, "'a secret', timeout => '1 min'"):
        question = hand.take_one()
        eventually(lambda: seen(hand.connection, "/* pgembedd.embed() */"))
        told = [
            seen(hand.connection, one) for one in ("secret", question, "select")
        ]  # what the askers' own role could read there
        hand.answer(question)
    assert told == [0, 0, 0]


def test_a_line_that_was_left_open_does_not_stay(asker: psycopg.Connection) -> None:
    asker.execute("select pgembedd_internal._connect('left')")
    shown = "select setting from pgembedd_code.dblink('left', 'show idle_session_timeout') as t(setting text)"
    assert value(asker, shown) == "10s"


def test_a_statement_timeout_ends_it_and_no_connection_stays(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("set statement_timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        asker.execute("select pgembedd.embed('hello', timeout => '1 min')")
    asker.execute("reset statement_timeout")
    assert kept(asker) == 0
    assert value(asker, "select pgembedd_code.dblink_get_connections()") is None
    assert hand.take() == []


def test_a_question_that_nobody_waits_for_goes_with_the_next_look(asker: psycopg.Connection, hand: Hand) -> None:
    for tidy in ("select pgembedd_internal.take_embed_requests(8, 0, false)", "select pgembedd.tick()"):
        asker.execute(
            "select pgembedd_internal._post_embed_request(gen_random_uuid(), 'm', null, 'query', 'x', '-1 s')"
        )
        asker.execute(tidy.encode())
        assert kept(asker) == 0


def test_the_question_of_a_session_that_ended_is_not_embedded(
    database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    post = "select pgembedd_internal._post_embed_request(%s, 'm', null, 'query', 'x', '1 min')"
    left, asked = uuid4(), uuid4()
    with database.connect() as ended:
        ended.execute(post, [left])
        pid = ended.info.backend_pid
    eventually(lambda: value(asker, "select count(*) from pg_stat_activity where pid = %s", pid) == 0)
    asker.execute(post, [asked])
    assert hand.take() == [str(asked)]


def waits_for_lock(connection: psycopg.Connection) -> bool:
    """Tells that the session of a caller waits for the lock of a worker."""
    waiting = "application_name = 'pgembedd embed' and wait_event = 'advisory' and datname = current_database()"
    return bool(value(connection, f"select exists (select from pg_stat_activity where {waiting})"))


def held(connection: psycopg.Connection) -> int:
    """Counts the locks that workers hold for requests."""
    where = "locktype = 'advisory' and mode = 'ExclusiveLock' and d.datname = current_database()"
    return int(
        value(connection, f"select count(*) from pg_locks l join pg_database d on d.oid = l.database where {where}")
    )


def test_the_caller_waits_on_the_lock_of_its_worker(
    database: Database, asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    hand = Hand(other, keeps_session=True)
    with asking(asker) as one, connected(database) as observer:
        question = hand.take_one()
        eventually(lambda: waits_for_lock(observer))
        hand.answer(question)
        one.done()
        assert held(observer) == 0
    assert one.answer == VECTOR


def test_a_request_that_waits_for_its_model_takes_no_lock(
    database: Database, asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    hand = Hand(other, keeps_session=True)
    with asking(asker) as one, connected(database) as observer:
        question = hand.take_one()
        assert held(observer) == 1
        assert hand.take() == []
        assert held(observer) == 0
        hand.answer(question)
    assert one.answer == VECTOR


def test_a_caller_whose_lock_another_session_holds_gets_its_vector(
    database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    with asking(asker) as one, connected(database) as stranger:
        question = hand.take_one()
        value(stranger, "select pg_advisory_lock(uuid_hash_extended(%s, 0))", question)
        hand.answer(question)
        one.done()
    assert one.answer == VECTOR


def test_when_the_only_worker_ends_the_caller_is_told_at_once(asker: psycopg.Connection, either: Hand) -> None:
    with asking(asker, "'hello', timeout => '10 min'") as one:
        either.take_one()
        either.connection.close()
    assert one.error is not None
    assert "The worker ended before it had embedded the text" in str(one.error.diag.message_primary)


def test_another_worker_takes_what_a_dead_one_had(database: Database, asker: psycopg.Connection, either: Hand) -> None:
    with connected(database) as connection:
        second = Hand(connection, keeps_session=either.keeps_session)
        with asking(asker) as one:
            question = either.take_one()
            assert second.take() == []
            either.connection.close()
            assert second.take_one() == question
            second.answer(question)
        assert one.answer == VECTOR


def test_two_workers_share_what_waits(database: Database, asker: psycopg.Connection, hand: Hand) -> None:
    post = "select pgembedd_internal._post_embed_request(gen_random_uuid(), 'm', null, 'query', %s, '1 min')"
    for number in range(5):
        asker.execute(post, [str(number)])
    with connected(database) as connection:
        second = Hand(connection)
        first_half, second_half = hand.take(2), second.take(2)
        assert (len(first_half), len(second_half), len({*first_half, *second_half})) == (2, 2, 4)
        assert len(hand.take()) == 1
        assert second.take() == []
        assert second.answer(first_half[0]) == 0, "it is another's"
        assert hand.answer(first_half[0]) == 1


def test_what_one_worker_declines_another_gets(database: Database, asker: psycopg.Connection, either: Hand) -> None:
    with connected(database) as connection:
        second = Hand(connection, keeps_session=either.keeps_session)
        with asking(asker) as one:
            question = either.take_one()
            either.decline(question, "Not mine.")
            assert either.take() == []
            assert second.take() == [question]
            second.decline(question, "Not mine either.")
    assert one.error is not None
    assert one.error.diag.message_primary == "Not mine either."

"""The refusals of embed(), its callers, and the rights of its second connection. Workers are simulated."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.presence import beat
from tests.support.refusals import refused
from tests.support.roles import PASSWORD, Roles, connect_as
from tests.support.sql import column, connected, create_pipeline, end_sessions, make_documents, rows, value
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["connection"]

VECTOR = "[0.25,-0.5,0.12345679]"


@prepared
def asker(connection: psycopg.Connection) -> None:
    """A connection to a database with one pipeline, of three dimensions."""
    make_documents(connection)
    create_pipeline(connection)


class Hand:
    """A worker that answers when it is told to."""

    def __init__(self, connection: psycopg.Connection, *, keeps_session: bool = False) -> None:
        self.connection, self.keeps_session = connection, keeps_session
        connection.execute("select pgembedd_internal.hear_embed_requests()")
        assert value(connection, "select pg_backend_pid() = any (pgembedd_internal._listeners())")

    def take(self, at_most: int = 8) -> list[str]:
        """The ids of the questions taken."""
        taken = "select id from pgembedd_internal.take_embed_requests(%s, keeps_session => %s)"
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
            "select pgembedd_internal.finish_embed_requests(%s::uuid[], array[%s::vector], %s, keeps_session => %s)"
        )
        return int(value(self.connection, finish, [one], vector, [refusal], self.keeps_session))

    def decline(self, one: str, reason: str) -> None:
        """Leaves it to another worker."""
        self.connection.execute("select pgembedd_internal.decline_embed_request(%s, %s)", [one, reason])


@pytest.fixture
def hand(other: psycopg.Connection) -> Hand:
    """The only worker there is."""
    return Hand(other)


@pytest.fixture(params=[False, True], ids=["pooled", "keeps its session"])
def either(other: psycopg.Connection, request: pytest.FixtureRequest) -> Hand:
    """The only worker there is, on which the caller waits by polling, and then by a lock."""
    return Hand(other, keeps_session=request.param)


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


def seen(connection: psycopg.Connection, text: str) -> int:
    """Counts the sessions of callers that show it as their statement."""
    where = "application_name = 'pgembedd embed' and datname = current_database() and strpos(query, %s) > 0"
    return int(value(connection, f"select count(*) from pg_stat_activity where {where}", text))


def kept(connection: psycopg.Connection) -> int:
    return int(value(connection, "select count(*) from pgembedd_internal.embed_request"))


# -- EmbedRequests that are none ---------------------------------------------------------------------------------


def test_null_is_null_and_needs_no_worker(asker: psycopg.Connection) -> None:
    assert value(asker, "select pgembedd.embed(null)") is None


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("' \u00a0'", "The text is blank, so it has no vector.", "NULL gives NULL"),
        ("repeat('x', 1000001)", "content has 1000001 characters, and at most 1000000 are taken.", "shorter"),
        ("'x', kind => 'passage'", "The kind 'passage' is not known.", "'query' or 'document'"),
        ("'x', kind => null", "The kind NULL is not known.", "'query' or 'document'"),
        ("'x', timeout => '0 s'", "The timeout 00:00:00 is not usable.", "at most 10 minutes"),
        ("'x', timeout => '11 min'", "The timeout 00:11:00 is not usable.", "at most 10 minutes"),
        ("'x', pipeline => 'nope'", 'There is no pipeline "nope".', "There are: documents."),
        (
            "'x', pipeline => 'documents', model => 'y'",
            'The pipeline "documents" has the model gte-small, not y.',
            "not both",
        ),
        ("'x'", "No worker is connected that could embed the text.", "pgembedd run"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(
    asker: psycopg.Connection, arguments: str, message: str, hint: str
) -> None:
    with refused(message, hint):
        asker.execute(f"select pgembedd.embed({arguments})")
    assert kept(asker) == 0


def test_without_a_pipeline_the_model_has_to_be_named(connection: psycopg.Connection) -> None:
    with refused("There is no pipeline, so nothing says which model is meant.", "model =>"):
        connection.execute("select pgembedd.embed('x')")


def test_of_several_models_one_has_to_be_named(asker: psycopg.Connection, hand: Hand) -> None:
    create_pipeline(asker, pipeline="second", embedding_column="second", model="another")
    with refused("The pipelines have several models, such as another and gte-small.", "pipeline =>"):
        asker.execute("select pgembedd.embed('x')")
    with asking(asker, "'hello', pipeline => 'second'") as one:
        question = hand.take_one()
        assert column(hand.connection, "select model from pgembedd_internal.embed_request") == ["another"]
        hand.answer(question)
    assert one.answer == VECTOR


def test_of_several_states_of_a_model_one_has_to_be_named(asker: psycopg.Connection) -> None:
    create_pipeline(asker, pipeline="second", embedding_column="second")
    asker.execute("update pgembedd_internal.pipeline set fingerprint = name")
    with refused("Pipelines hold vectors of several states of gte-small, such as documents and second.", "pipeline =>"):
        asker.execute("select pgembedd.embed('x', model => 'gte-small')")


def test_while_a_model_is_being_changed_the_present_one_is_meant(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("update pgembedd_internal.pipeline set fingerprint = 'old'")
    asker.execute("select pgembedd.change_model('documents', 'another', dimensions => 3)")
    with asking(asker) as one:
        question = hand.take_one()
        assert rows(hand.connection, "select model, fingerprint from pgembedd_internal.embed_request") == [
            ("gte-small", "old")
        ]
        hand.answer(question)
    assert one.answer == VECTOR


# -- Answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable read only"])
def test_the_answer_comes_inside_any_transaction(asker: psycopg.Connection, hand: Hand, level: str) -> None:
    asker.execute(f"begin isolation level {level}".encode())
    asker.execute("select count(*) from documents")  # the snapshot is taken
    with asking(asker) as one:
        assert hand.answer(hand.take_one()) == 1
    assert one.answer == VECTOR
    asker.execute("commit")
    assert kept(asker) == 0


def test_the_databases_own_defaults_do_not_matter(database: Database, asker: psycopg.Connection, hand: Hand) -> None:
    for setting in (
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_read_only = on",
        "statement_timeout = '1ms'",
        "extra_float_digits = -5",
    ):
        asker.execute(f"alter database {database.name} set {setting}".encode())
    with asking(asker) as one:  # a session that is older than these, as is the worker's
        hand.answer(hand.take_one())
    assert (one.error, one.answer) == (None, VECTOR)


@pytest.mark.usefixtures("asker")
def test_a_session_with_old_rules_for_strings_may_ask(database: Database, hand: Hand) -> None:
    with connected(database) as session:  # a new one, which has compiled nothing yet
        session.execute("set standard_conforming_strings = off")
        with asking(session) as one:
            hand.answer(hand.take_one())
    assert (one.error, one.answer) == (None, VECTOR)


def test_a_worker_that_disconnected_is_no_listener(database: Database, asker: psycopg.Connection) -> None:
    """Also within a transaction that has seen it."""
    with database.connect() as worker:
        beat(worker)
        with asker.transaction():
            assert value(asker, "select cardinality(pgembedd_internal._listeners())") == 1
            worker.close()
            eventually(lambda: value(asker, "select pgembedd_internal._listeners()") is None)


def test_a_worker_of_another_database_is_no_listener(
    server: EmbeddedPostgres, asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    """Its process id may be that of a worker which ended here."""
    with psycopg.connect(server.conninfo("postgres")) as elsewhere:
        beat(other)
        asker.execute("update pgembedd_internal.worker set sessions = array[%s]", [elsewhere.info.backend_pid])
        assert value(asker, "select pgembedd_internal._listeners()") is None
        with refused("No worker is connected that could embed the text."):
            asker.execute("select pgembedd.embed('hello')")


def test_a_session_of_another_role_is_not_the_workers(
    database: Database, roles: Roles, asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    """The worker ended, and its process id was given to that session."""
    beat(other)
    with connect_as(database, roles.make("stranger")) as stranger:
        asker.execute("update pgembedd_internal.worker set sessions = array[%s]", [stranger.info.backend_pid])
        assert value(asker, "select pgembedd_internal._listeners()") is None


def test_a_session_that_began_later_is_not_the_workers(
    database: Database, asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    """The same, where our functions may see when sessions began."""
    beat(other)
    asker.execute("alter function pgembedd.workers owner to postgres")
    assert value(asker, "select count(*) from pgembedd.workers()") == 1
    with database.connect() as later:
        asker.execute("update pgembedd_internal.worker set sessions = array[%s]", [later.info.backend_pid])
        assert value(asker, "select count(*) from pgembedd.workers()") == 0


@pytest.mark.parametrize("seen_as", ["postgres", "pgembedd"])
def test_a_note_that_was_restored_makes_no_listener(
    asker: psycopg.Connection, other: psycopg.Connection, seen_as: str
) -> None:
    """Another session has the process id here."""
    beat(other)
    assert value(asker, "select pgembedd_internal._listeners()") is not None
    asker.execute("update pgembedd_internal.worker set server_start = '2020-01-01'")
    asker.execute(f"set role {seen_as}".encode())
    assert value(asker, "select pgembedd_internal._listeners()") is None


def test_a_worker_of_version_0_1_0_says_once_that_it_serves(
    asker: psycopg.Connection, other: psycopg.Connection
) -> None:
    other.execute("select pgembedd_internal.hear_embed_requests()")
    asker.execute("update pgembedd_internal.worker set answered_at = answered_at - interval '1 h'")
    assert value(asker, "select pgembedd_internal._listeners()") == [other.info.backend_pid]
    assert rows(asker, "select tasks, answers from pgembedd.workers()") == [(["claim", "push", "embed"], True)]


def test_a_note_that_was_restored_holds_up_no_index_build(asker: psycopg.Connection, other: psycopg.Connection) -> None:
    asker.execute(
        "update pgembedd_internal.index_build set pid = %s, backend_start = '2020-01-01', "
        "application_name = 'pgembedd index'",
        [other.info.backend_pid],
    )
    assert value(asker, "select pgembedd_internal._start_index_build()")


def test_a_transaction_asks_once_and_another_one_again(asker: psycopg.Connection, hand: Hand) -> None:
    for vector in ("[1,2,3]", "[4,5,6]"):
        asker.execute("begin")
        with asking(asker) as one:
            hand.answer(hand.take_one(), vector)
        assert one.answer == vector
        assert value(asker, "select pgembedd.embed('hello')::text") == vector  # no request is made
        asker.execute("commit")


def test_within_a_transaction_another_question_is_asked(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("begin")
    questions = ["'a'", "'b'", "'b', kind => 'document'", "'b', kind => 'document'"]
    for number, arguments in enumerate(questions):
        if number == 3:  # the same, but of another state of the model
            asker.execute("update pgembedd_internal.pipeline set fingerprint = 'new'")
        with asking(asker, arguments) as one:
            hand.answer(hand.take_one(), f"[{number},0,0]")
        assert one.answer == f"[{number},0,0]"
    asker.execute("rollback")


def test_a_forged_answer_is_not_believed(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("begin")
    with asking(asker):
        hand.answer(hand.take_one())
    genuine = value(asker, "select current_setting('pgembedd.vector')")
    value(asker, "select set_config('pgembedd.vector', %s, true)", genuine.replace(VECTOR, "[6,6,6]"))
    with asking(asker) as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR
    asker.execute("rollback")


def test_a_workers_refusal_is_the_callers_error(asker: psycopg.Connection, hand: Hand) -> None:
    with asking(asker) as one:
        hand.answer(hand.take_one(), None, "The model is on strike.")
    assert one.error is not None
    assert one.error.diag.message_primary == "The model is on strike."
    assert kept(asker) == 0


def test_the_text_goes_as_soon_as_it_is_answered(asker: psycopg.Connection, hand: Hand) -> None:
    question = "00000000-0000-4000-8000-000000000000"
    asker.execute(
        "select pgembedd_internal._post_embed_request(%s, 'm', null, 'query', 'a secret', '1 min')", [question]
    )
    assert hand.take() == [question]
    hand.answer(question)
    assert rows(asker, "select content, embedding is not null from pgembedd_internal.embed_request") == [(None, True)]


# -- The connection that a session keeps ---------------------------------------------------------------------


def lines(connection: psycopg.Connection) -> list[int]:
    """The processes behind the callers' second connections."""
    where = "application_name = 'pgembedd embed' and datname = current_database()"
    return [int(pid) for pid in column(connection, f"select pid from pg_stat_activity where {where} order by pid")]


def ask_once(asker: psycopg.Connection, hand: Hand, text: str) -> None:
    with asking(asker, f"'{text}', timeout => '1 min'") as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR


def test_a_session_keeps_its_connection(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    (first,) = lines(asker)
    ask_once(asker, hand, "two")
    assert lines(asker) == [first]


def test_a_connection_that_the_server_closed_is_opened_again(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    (first,) = lines(asker)
    assert end_sessions(asker, f"pid = {first}") == 1
    ask_once(asker, hand, "two")
    assert kept(asker) == 0
    (second,) = lines(asker)
    assert second != first


def test_the_next_question_goes_as_whom_it_is_told(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    asker.execute("select pgembedd.embed_through()")
    asker.execute("update pgembedd_internal.loopback set password = 'wrong'")
    with pytest.raises(psycopg.Error, match=r"cannot connect to its own database as .*password"):
        asker.execute("select pgembedd.embed('two')")


def test_where_every_role_may_call_dblink_no_connection_is_kept(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("create schema open; grant usage on schema open to public; alter extension dblink set schema open")
    ask_once(asker, hand, "one")
    assert value(asker, "select open.dblink_get_connections()") is None


def test_no_more_than_a_few_are_kept(asker: psycopg.Connection, hand: Hand) -> None:
    assert value(asker, "select pgembedd_internal._most_kept()") == 16
    asker.execute(
        "create or replace function pgembedd_internal._most_kept() returns integer language sql immutable"
        " set search_path = pg_catalog, pg_temp as 'select 0'"
    )
    ask_once(asker, hand, "one")
    assert value(asker, "select pgembedd_code.dblink_get_connections()") is None


# -- Workers that do not answer ------------------------------------------------------------------------------


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
    for tidy in ("select pgembedd_internal.take_embed_requests()", "select pgembedd.tick()"):
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


# -- Rights --------------------------------------------------------------------------------------------------


def test_who_may_call_it_is_a_grant(roles: Roles, database: Database, asker: psycopg.Connection, hand: Hand) -> None:
    reader = roles.make("reader")
    with connect_as(database, reader) as theirs:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute("select pgembedd.embed('hello')")
        asker.execute("select pgembedd.grant_embed(%s)", [reader])
        with asking(theirs) as one:
            hand.answer(hand.take_one())
        assert one.answer == VECTOR
        for forbidden in (
            "select * from pgembedd_internal.embed_request",
            "select * from pgembedd_internal.loopback",
            "select pgembedd_internal._connect('mine')",
            "select pgembedd_internal._post_embed_request(gen_random_uuid(), 'm', null, 'query', 'x', '1 s')",
            "select pgembedd_internal.take_embed_requests()",
            "select pgembedd_code.dblink_get_connections()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute(forbidden.encode())


def test_a_restore_that_lost_the_rights_on_the_schema_is_mended(
    roles: Roles, database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    app = roles.make("app")
    asker.execute("select pgembedd.grant_embed(%s)", [app])
    asker.execute(
        f"revoke all on schema pgembedd, pgembedd_internal from {app}".encode()
    )  # as after errors of pg_restore's
    migrate(database.conninfo)
    with connect_as(database, app) as caller, asking(caller) as one:
        hand.answer(hand.take_one())
    assert (one.error, one.answer) == (None, VECTOR)


def test_the_second_connection_may_ask_and_nothing_else(database: Database, asker: psycopg.Connection) -> None:
    name, password = rows(asker, "select username, password from pgembedd_internal.loopback")[0]
    conninfo = psycopg.conninfo.make_conninfo(database.conninfo, user=name, password=password)
    with psycopg.connect(conninfo, autocommit=True) as theirs:
        may = """
            select p.proname from pg_proc p
            where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
                and has_function_privilege(p.oid, 'execute')
        """
        assert set(column(theirs, may)) == {"_post_embed_request", "_await_vector", "_forget_embed_request"}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute("select * from pgembedd_internal.embed_request")
        attributes = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit"
        assert rows(theirs, f"select {attributes} from pg_roles where rolname = current_user") == [(False,) * 6]


def test_the_password_is_checked(database: Database, asker: psycopg.Connection) -> None:
    name = value(asker, "select username from pgembedd_internal.loopback")
    conninfo = psycopg.conninfo.make_conninfo(database.conninfo, user=name, password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo)


# -- Setting up ----------------------------------------------------------------------------------------------


def test_a_role_of_ones_own_is_taken(roles: Roles, asker: psycopg.Connection, hand: Hand) -> None:
    role = roles.make("asker")
    asker.execute("select pgembedd.embed_through(username => %s, password => %s)", [role, PASSWORD])
    assert value(asker, "select pgembedd_internal._embed_problem()") is None
    with asking(asker) as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR


def test_a_wrong_password_is_a_sentence_without_it(roles: Roles, asker: psycopg.Connection, hand: Hand) -> None:
    role = roles.make("asker")
    asker.execute("select pgembedd.embed_through(username => %s, password => %s)", [role, "it's \\ wrong"])
    with pytest.raises(psycopg.Error) as caught:
        asker.execute("select pgembedd.embed('hello')")
    assert re.match(f"pgembedd.embed\\(\\) cannot connect to its own database as {role}: .*password", str(caught.value))
    assert "wrong" not in str(caught.value)
    assert "password authentication failed" in value(asker, "select pgembedd_internal._embed_problem()")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("port => 0", "0 is no port."),
        ("password => 'x'", "A password was given without a username."),
        ("username => 'nobody there'", 'There is no role "nobody there".'),
    ],
)
def test_what_is_no_address_is_refused(asker: psycopg.Connection, arguments: str, message: str) -> None:
    with refused(message):
        asker.execute(f"select pgembedd.embed_through({arguments})")


def test_not_set_up_says_what_to_do(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("delete from pgembedd_internal.loopback")
    with refused("pgembedd.embed() is not set up in this database.", "select pgembedd.embed_through();"):
        asker.execute("select pgembedd.embed('hello')")
    asker.execute("drop extension dblink")
    with refused("pgembedd.embed() is not set up in this database.", "create extension dblink"):
        asker.execute("select pgembedd.embed('hello')")


def test_dblink_may_live_in_any_schema(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute('create schema "Odd place"; alter extension dblink set schema "Odd place"')
    with asking(asker) as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR

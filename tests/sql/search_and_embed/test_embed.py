"""The refusals of embed(), and its answers. Workers are simulated."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.embed_requests import VECTOR, Hand, asking, kept, make_pipeline
from tests.support.prepared import prepared
from tests.support.presence import beat
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import column, connected, create_pipeline, rows, value
from tests.support.transaction import connection
from tests.support.waiting import eventually

__all__ = ["connection"]


@prepared
def asker(connection: psycopg.Connection) -> None:
    """A connection to a database with one pipeline, of three dimensions."""
    make_pipeline(connection)


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

"""What a role that may ask can write itself: of rows that it may not read it learns nothing by that."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.answers import ask, asker, claim, events
from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.search import QUERY
from tests.support.sql import call, column, create_pipeline, rows, value
from tests.support.transaction import connection

__all__ = ["asker", "connection"]

OURS = ("answer", "answer_thread", "thread_member", "_readable_sources")

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go

HIDDEN = 'new row violates row-level security policy for table "answer_source"'


def forge(connection: psycopg.Connection, pipeline: str = "documents", **columns: Any) -> UUID:
    """Inserts a question as ask() does, with what the caller of ask() would not choose."""
    one = uuid4()
    with connection.transaction():
        connection.execute(
            "insert into pgembedd_internal.answer_thread (id, role, subject) "
            "values (%s, current_user, pgembedd_internal._subject())",
            [one],
        )
        given = {"language_model": None, **columns}
        connection.execute(
            "insert into pgembedd_internal.answer (id, thread, pipeline, question, language_model, role, subject)"
            " values (%s, %s, %s, 'x', %s, current_user, pgembedd_internal._subject())",
            [one, one, pipeline, given["language_model"]],
        )
    return one


def add(connection: psycopg.Connection, answer: UUID, key: Any, texts_hash: int | None, of: str = "documents") -> None:
    with connection.transaction():
        connection.execute(
            "insert into pgembedd_internal.answer_source (answer, n, pipeline, key, excerpt, texts_hash)"
            " values (%s, 1, %s, %s, 'a guess', %s)",
            [answer, of, Jsonb(key), texts_hash],
        )


def hash_of(connection: psycopg.Connection, key: int) -> int:
    found: int = value(
        connection, "select hash from pgembedd_internal._readable_rows('documents', array[%s])", Jsonb(key)
    )
    return found


# What the forger may read, and which (key, hash) it may then give: hash true, wrong or none.
RIGHTS: dict[str, tuple[str, set[tuple[int, str]]]] = {
    "nothing": ("", set()),
    "a column that is no key": ("grant select (title) on documents to {}", set()),
    "keys": ("grant select (id) on documents to {}", {(1, "none"), (2, "none")}),
    "a row": (
        (
            "grant select on documents to {}; alter table documents enable row level security;"
            " create policy one on documents for select using (id = 1)"
        ),
        {(1, "true")},
    ),
    "all": ("grant select on documents to {}", {(1, "true"), (2, "true")}),
}


@pytest.mark.parametrize("rights", RIGHTS)
def test_a_source_is_a_row_and_a_text_that_its_writer_reads_itself(
    roles: Roles, connection: psycopg.Connection, asker: str, rights: str
) -> None:
    """Of a row that it may not read it would learn by `complete` and `failed` that it exists, and what it says."""
    grant, admitted = RIGHTS[rights]
    connection.execute("reset role")
    hashes: dict[Any, int] = {key: hash_of(connection, key) for key in (1, 2)}
    forger = roles.make("forger")
    connection.execute("select pgembedd.grant_ask(%s)", [forger])
    connection.execute("create table own (id int primary key, content text); insert into own values (1, 'x')")
    create_pipeline(connection, pipeline="own", source="own", content_columns=["content"], backfill=False)
    connection.execute(f"grant select on own to {forger}; {grant.format(forger)}; set local role {forger}")
    told, taken = set(), set()
    for key, guess in [(k, g) for k in (1, 2, 99, "no key", "1e999") for g in ("true", "wrong", "none")]:
        answer = forge(connection)
        try:
            add(connection, answer, key, hashes.get(key, 8) if guess == "true" else 7 if guess == "wrong" else None)
            taken.add((key, guess))
        except psycopg.Error as error:
            told.add((error.sqlstate, error.diag.message_primary, error.diag.message_detail))
    assert taken == admitted
    assert told == {("42501", HIDDEN, None)}
    for mixed in (("documents", "own"), ("own", "documents"), ("nothing", "own"), ("nothing", "nothing")):
        answer = forge(connection, mixed[0])
        with refused(HIDDEN):
            add(connection, answer, 1, None, of=mixed[1])
    before = value(connection, "select count(*) from pgembedd.answers where status = 'queued'")
    assert value(connection, "select pgembedd_internal._begin_answer(%s)", answer) is not None
    assert value(connection, "select status from pgembedd.answers where id = %s", answer) == "refused"
    assert value(connection, "select count(*) from pgembedd.answers where status = 'queued'") == before - 1


def test_sources_come_with_the_question_and_not_later(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    with refused(HIDDEN):
        add(connection, answer, 20, hash_of(connection, 20))


def test_an_asker_writes_no_other_column_than_these(connection: psycopg.Connection, asker: str) -> None:
    """Each of them is checked by a policy, by _begin_answer(), or is the asker's own text."""
    written = {
        ("answer", "id"), ("answer", "thread"), ("answer", "pipeline"), ("answer", "question"),
        ("answer", "language_model"), ("answer", "role"), ("answer", "subject"),
        ("answer_thread", "id"), ("answer_thread", "role"), ("answer_thread", "subject"),
    }  # fmt: skip
    whole = {"answer_source": "INSERT", "thread_member": "INSERT"}
    asked = (
        "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
        " and not a.attisdropped where c.relnamespace in ('pgembedd'::regnamespace, "
        "'pgembedd_internal'::regnamespace) and c.relkind = 'r'"
        " and has_column_privilege(%s, c.oid, a.attnum, %s)"
    )
    inserts = {one for one in rows(connection, asked, asker, "insert") if one[0] not in whole}
    assert inserts == written
    assert rows(connection, asked, asker, "update") == [("answer", "status")]
    answer = ask(connection)
    for status in ("complete", "failed", "refused", "generating", "queued"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("update pgembedd_internal.answer set status = %s where id = %s", [status, answer])


ALLOWED = [
    # Configured model, allowed ones; what may be named, and the sentence for another one.
    (None, [], [], 'A question about "documents" names no language model.'),
    ("small", [], ["small"], 'A question about "documents" may name the language model small, not large.'),
    (
        "small",
        ["tiny", "mid"],
        ["small", "tiny", "mid"],
        'A question about "documents" may name the language model mid or small or tiny, not large.',
    ),
]


@pytest.mark.parametrize(("model", "models", "allowed", "sentence"), ALLOWED)
def test_a_question_names_a_language_model_of_the_list(
    connection: psycopg.Connection, asker: str, model: str | None, models: list[str], allowed: list[str], sentence: str
) -> None:
    connection.execute("reset role")
    given = {"language_models": models} | (
        {"reset": ["language_model"]} if model is None else {"language_model": model}
    )
    call(connection, "configure_answers", pipeline="documents", **given)
    connection.execute(f"set local role {asker}")
    hint = "configure_answers(language_models => ...)"
    for each in allowed:
        ask_with = "select pgembedd.ask('documents', 'what is it', embedding => %s, language_model => %s)"
        assert value(connection, ask_with, QUERY, each)
        assert (
            value(connection, "select pgembedd_internal._begin_answer(%s)", forge(connection, language_model=each))
            is not None
        )
    with refused(sentence, hint):
        connection.execute("select pgembedd.ask('documents', 'what is it', language_model => 'large')")
    forged = forge(connection, language_model="large")
    with refused(sentence, hint), connection.transaction():
        connection.execute("select pgembedd_internal._begin_answer(%s)", [forged])
    assert column(
        connection, "select distinct language_model from pgembedd.answers where id <> %s order by 1", forged
    ) == sorted(allowed)
    unnamed = forge(connection)
    add(connection, unnamed, 1, hash_of(connection, 1))
    connection.execute("select pgembedd_internal._begin_answer(%s)", [unnamed])
    assert value(connection, "select language_model from pgembedd.answers where id = %s", unnamed) == model


@pytest.mark.parametrize("claims", ["{}", '{"sub": null}', '{"role": "x", "sub": ""}', '{"subject": "ada"}'])
def test_claims_without_a_subject_ask_nothing_and_see_nothing(
    connection: psycopg.Connection, asker: str, claims: str
) -> None:
    """All tokens without a `sub` would be one asker, and so would the role itself."""
    answer = ask(connection)
    thread = value(connection, "select thread from pgembedd.answers")
    connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
    told = "The claims have no sub, so an answer would belong to all who have none."
    with refused(told, "Ask with the token of a user"):
        ask(connection)
    with refused(told, "Ask with the token of a user"):
        ask(connection, thread=thread)
    for table in ("pgembedd.answers", "pgembedd.answer_events", *(f"pgembedd_internal.{one}" for one in OURS)):
        assert rows(connection, f"select * from {table}") == [], table
    for statement, words in (
        ("select pgembedd.stop_answer(%s)", f"There is no answer {answer}, or it is of others."),
        ("select pgembedd.share_thread(%s, current_user::regrole)", "There is no thread"),
    ):
        with pytest.raises(psycopg.errors.NoDataFound, match=words), connection.transaction():
            connection.execute(statement.encode(), [answer])
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(
            "insert into pgembedd_internal.answer_thread (id, role, subject) values (%s, current_user, '')", [uuid4()]
        )
    connection.execute("select set_config('request.jwt.claims', '', true)")
    assert [event for _, event, _ in events(connection, answer)] == ["status", "sources"]
    assert [found for found, *_ in claim(connection)] == [answer]


def test_a_subject_is_bounded_wherever_it_comes_from(connection: psycopg.Connection, asker: str) -> None:
    """Claims that a role sets itself, as those of a token, are kept with each question."""
    longest = value(connection, "select set_config('request.jwt.claims', %s, true)", json.dumps({"sub": "x" * 1000}))
    assert longest
    assert ask(connection)
    connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": "x" * 1001})])
    told = "subject has 1001 characters, and at most 1000 are taken."
    with refused(told):
        ask(connection)
    with refused(told):
        connection.execute(
            "insert into pgembedd_internal.answer_thread (id, role, subject) values (%s, %s, %s)",
            [uuid4(), asker, "x" * 1001],
        )

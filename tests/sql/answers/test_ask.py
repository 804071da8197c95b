"""Questions and answers in SQL: found with the rights of the asker, and taken by workers with a fence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.answers import as_worker, ask, asker, claim, events, finish
from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import call, column, rows, value
from tests.support.transaction import connection

__all__ = ["asker", "connection"]

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go


def test_a_question_is_answered_from_what_the_asker_found(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    assert [event[1:] for event in events(connection, answer)] == [
        ("status", {"status": "searching", "attempt": 0}),
        ("sources", {}),
    ]
    ((found, attempt, model, question, history, sources),) = claim(connection)
    assert (found, attempt, model, question, history) == (answer, 1, "some-model", "what is it", [])
    assert [source["n"] for source in sources] == [1, 2, 3]
    assert claim(connection) == []  # it is under a lease
    delta = Jsonb({"text": "So it"})
    write = "select pgembedd_internal.write_answers(%s, %s, %s, %s)"
    assert as_worker(connection, write, [answer], [1], ["delta"], [delta]) == [(answer,)]
    state = "select status, attempt, answer, citations from pgembedd.answers"
    assert rows(connection, state) == [("generating", 1, "So it", [])]
    assert finish(connection, answer, 1)
    assert rows(connection, state) == [("complete", 1, "So it is [1].", [1])]
    assert [event for _, event, _ in events(connection, answer)] == [
        "status",
        "sources",
        "status",
        "delta",
        "status",
        "done",
    ]
    shown = rows(connection, "select n, key, title, url, excerpt from pgembedd.answer_sources(%s)", answer)
    for _, key, title, url, excerpt in shown:
        assert (title, url) == (f"title {key}", f"https://example.com/{key}")
        assert f"content {key}" in excerpt
    assert [n for n, *_ in shown] == [1, 2, 3]
    connection.execute("reset role")
    connection.execute("delete from documents where id = %s", [shown[0][1]])
    connection.execute(f"set local role {asker}")
    assert column(connection, "select n from pgembedd.answer_sources(%s)", answer) == [2, 3]
    connection.execute("reset role; select pgembedd.retention()")
    assert column(connection, "select n from pgembedd_internal.answer_source order by 1") == [2, 3]
    connection.execute(
        "update pgembedd_internal.answer set keep_until = 'yesterday'; select pgembedd_internal._forget_answers()"
    )
    assert value(connection, "select count(*) from pgembedd.answer_events") == 0


def test_an_excerpt_is_shown_while_its_row_says_the_same(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    claim(connection)
    finish(connection, answer, 1)
    shown = "select n, title, url, excerpt from pgembedd.answer_sources(%s)"
    first, second, _ = rows(connection, shown, answer)
    key = first[2].rpartition("/")[2]
    connection.execute("reset role")
    connection.execute("update documents set content = 'redacted' where id = %s", [key])
    connection.execute(f"set local role {asker}")
    assert rows(connection, shown, answer)[:2] == [(1, f"title {key}", first[2], None), second]
    connection.execute("reset role")
    connection.execute("delete from documents where id = %s", [key])
    connection.execute("insert into documents (id, title, content) values (%s, 'Another', 'another')", [key])
    connection.execute(f"set local role {asker}")
    assert rows(connection, shown, answer)[:2] == [(1, "Another", first[2], None), second]


def test_titles_and_links_are_of_columns_that_the_viewer_may_read(connection: psycopg.Connection, asker: str) -> None:
    connection.execute("reset role; alter table documents add secret text default 'S1'")
    connection.execute(
        "select pgembedd.configure_answers('documents', title_column => 'secret', min_similarity => -1,"
        " url_template => 'https://example.com/{secret}')"
    )
    connection.execute(f"set local role {asker}")
    answer = ask(connection)
    shown = "select distinct title, url from pgembedd.answer_sources(%s)"
    assert rows(connection, shown, answer) == [("S1", "https://example.com/S1")]
    connection.execute("reset role")
    connection.execute(f"revoke select on documents from {asker}")
    connection.execute(f"grant select (id, title, content, embedding) on documents to {asker}; set local role {asker}")
    titles = rows(connection, shown, answer)
    assert {url for _, url in titles} == {None}
    assert "S1" not in str(titles)
    connection.execute("reset role")
    call(connection, "configure_answers", pipeline="documents", reset=["title_column", "url_template"])
    connection.execute(f"set local role {asker}")
    assert "S1" not in str(rows(connection, shown, answer))


def test_a_follow_up_knows_what_was_said(connection: psycopg.Connection, asker: str) -> None:
    first = ask(connection, "what is it")
    claim(connection)
    finish(connection, first, 1)
    thread = value(connection, "select thread from pgembedd.answers")
    value(connection, "select pgembedd.stop_answer(%s)", ask(connection, "and when", thread))
    ask(connection, "and why", thread)
    ((_, _, _, question, history, _),) = claim(connection)
    assert question == "and why"
    assert history == [{"question": "what is it", "answer": "So it is [1]."}]


def test_a_question_whose_rows_went_before_it_was_answered_fails_in_a_sentence(
    connection: psycopg.Connection, asker: str
) -> None:
    ask(connection)
    connection.execute("reset role; delete from documents")
    connection.execute(f"set local role {asker}")
    assert claim(connection) == []
    state = rows(connection, "select status, reason from pgembedd.answers")
    sentence = "The rows that it was to be answered from are gone or have other texts by now; ask again."
    assert state == [("failed", sentence)]


def test_what_was_deleted_or_changed_while_a_question_waited_is_shown_to_no_model(
    connection: psycopg.Connection, asker: str
) -> None:
    answer = ask(connection)
    keys = [key for _, key in rows(connection, "select n, key from pgembedd.answer_sources(%s)", answer)]
    connection.execute("reset role")
    connection.execute("delete from documents where id = %s", [keys[0]])
    connection.execute(f"set local role {asker}")
    ((*_, sources),) = claim(connection, lease_s=-1)
    assert [source["n"] for source in sources] == [2, 3]
    connection.execute("reset role")
    connection.execute("update documents set content = 'redacted' where id = %s", [keys[1]])
    connection.execute("update documents set embedding = null where id = %s", [keys[2]])  # its texts are the same
    connection.execute(f"set local role {asker}")
    ((*_, sources),) = claim(connection)
    assert [source["n"] for source in sources] == [3]


def test_a_question_waits_while_its_table_is_locked_and_ends_where_it_cannot_be_read(
    roles: Roles, database: Database, connection: psycopg.Connection, asker: str
) -> None:
    with connect_as(database, asker) as asking:
        answer = ask(asking)
    state = "select status, reason from pgembedd_internal.answer where id = %s"
    with database.connect() as other, other.transaction(force_rollback=True):
        other.execute("lock table documents")
        assert claim(connection) == []
        told = "Its table is locked or was renamed. It waits, and is tried ever more rarely, after those of others."
        assert rows(connection, state, answer) == [("queued", told)]
        assert events(connection, answer)[-1][1:] == ("status", {"status": "queued", "attempt": 1, "reason": told})
        assert value(connection, "select due_at > now() from pgembedd_internal.answer")
    connection.execute("update pgembedd_internal.answer set due_at = now()")
    assert claim(connection) == []
    ((found, attempt, *_),) = claim(connection, lease_s=-1, slow=True)
    assert (found, attempt) == (answer, 2)
    connection.execute("drop table documents cascade")
    assert claim(connection, slow=True) == []
    sentence = "The rows that it was to be answered from cannot be read."
    assert rows(connection, state, answer) == [("failed", sentence)]


def test_a_question_waits_until_a_rename_of_its_table_is_followed(connection: psycopg.Connection, asker: str) -> None:
    answer = ask(connection)
    connection.execute("reset role; alter table documents rename to letters")
    assert claim(connection) == []
    assert rows(connection, "select status, due_at > now() from pgembedd_internal.answer") == [("queued", True)]
    assert value(connection, "select pgembedd_internal._brought_up_to_date(1)") == "followed"
    connection.execute("update pgembedd_internal.answer set due_at = now()")
    assert [(found, attempt) for found, attempt, *_ in claim(connection, slow=True)] == [(answer, 2)]


def test_the_hash_of_texts_is_the_same_in_any_session(connection: psycopg.Connection) -> None:
    connection.execute("create table days (id int primary key, day date)")
    connection.execute("insert into days values (1, '2026-11-23')")
    call(
        connection,
        "create_pipeline",
        pipeline="days",
        source="days",
        content_columns=["day"],
        embedding_column="vector",
    )
    hashed = "select hash from pgembedd_internal._readable_rows('days', array['1'::jsonb])"
    styles = ("ISO", "German", "SQL, DMY")
    found = set()
    for style in styles:
        connection.execute(f"set local datestyle = '{style}'")
        found.add(value(connection, hashed))
    assert len(found) == 1


def test_nothing_alike_is_refused_without_a_model(connection: psycopg.Connection, asker: str) -> None:
    connection.execute("reset role; select pgembedd.configure_answers('documents', min_similarity => 1)")
    connection.execute(f"set local role {asker}")
    answer = ask(connection)
    assert claim(connection) == []
    refusal = "The sources do not answer this question."
    assert rows(connection, "select status, answer from pgembedd.answers") == [("refused", refusal)]
    assert [event for _, event, _ in events(connection, answer)] == ["status", "sources", "delta", "status", "done"]


def test_an_attempt_that_ends_is_followed_by_another_and_cannot_write(
    connection: psycopg.Connection, asker: str
) -> None:
    answer = ask(connection)
    claim(connection, lease_s=-1)  # a worker that dies
    ((_, attempt, *_),) = claim(connection)
    assert attempt == 2
    assert not finish(connection, answer, 1)
    both = "select pgembedd_internal.write_answers(%s, '{1,2}', '{delta,delta}', '{\"{}\",\"{}\"}')"
    assert as_worker(connection, both, [answer, answer]) == [(answer,)]
    assert (
        as_worker(connection, "select pgembedd_internal.write_answers(%s, '{1}', '{delta}', '{\"{}\"}')", [answer])
        == []
    )
    extend = "select pgembedd_internal.extend_answers(%s, %s, 60)"
    assert as_worker(connection, extend, [answer], [1]) == []
    assert as_worker(connection, extend, [answer], [2]) == [(answer,)]
    as_worker(connection, "select pgembedd_internal.release_answers(%s, '{2}')", [answer])
    ((_, attempt, *_),) = claim(connection)
    assert attempt == 3
    fail = "select pgembedd_internal.fail_answer(%s, %s, 'The model is loading.', false, 0)"
    assert as_worker(connection, fail, answer, 3) == [("retry",)]
    assert as_worker(connection, fail, answer, 3) == [("lost",)]
    claim(connection)
    assert as_worker(connection, fail, answer, 4) == [("dead",)]
    assert rows(connection, "select status, reason from pgembedd.answers") == [("failed", "The model is loading.")]
    assert events(connection, answer)[-1][1:] == ("error", {"message": "The model is loading."})
    assert [seq for seq, *_ in events(connection, answer)] == list(range(1, len(events(connection, answer)) + 1))


def test_workers_that_die_of_an_answer_are_not_replaced_for_ever(connection: psycopg.Connection, asker: str) -> None:
    ask(connection)
    assert [len(claim(connection, lease_s=-1)) for _ in range(4)] == [1, 1, 1, 0]
    assert value(connection, "select status from pgembedd.answers") == "failed"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"question": " "}, "The question is empty.", "Ask something in some words."),
        (
            {"question": "x" * 8001},
            "question has 8001 characters, and at most 8000 are taken.",
            "Give a shorter text.",
        ),
        ({"k": 51}, "k 51 is out of range.", "It is how many sources an answer may have, 1 to 50."),
        (
            {"language_model": "x" * 201},
            "language_model has 201 characters, and at most 200 are taken.",
            "Give a shorter text.",
        ),
    ],
)
def test_bad_questions(connection: psycopg.Connection, asker: str, arguments: Any, message: str, hint: str) -> None:
    with refused(message, hint):
        call(connection, "ask", **{"pipeline": "documents", "question": "what is it", **arguments})
    assert value(connection, "select count(*) from pgembedd_internal.answer_thread") == 0


def test_bad_settings(connection: psycopg.Connection, asker: str) -> None:
    connection.execute("reset role")
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"title_column": "none"}, 'public.documents has no column "none".'),
        ({"url_template": "https://example.com/{none}"}, 'public.documents has no column "none".'),
        ({"url_template": "javascript:{id}"}, "'javascript:{id}' is no URL."),
        ({"language_model": "m" * 201}, "language_model has 201 characters, and at most 200 are taken."),
        *(
            (wrong, "keep is an interval above zero, of 100 years at most.")
            for wrong in ({"keep": "100 years 1 day"}, {"keep": "0"}, {"keep": "-1 day"})
        ),
        ({"min_similarity": "NaN"}, "min_similarity NaN is out of range."),
        ({"min_similarity": 1.01}, "min_similarity 1.01 is out of range."),
        ({"reset": ["keep", "model"]}, "reset names model, which is no option with a default."),
        ({"reset": [None]}, "reset names NULL, which is no option with a default."),
        ({"reset": ["pipeline"]}, "reset names pipeline, which is no option with a default."),
        ({"reset": ["keep"], "keep": "1 day"}, "keep is given, and reset names it, too."),
    ]
    for settings, message in refusals:
        with (
            pytest.raises(psycopg.Error, match=message.replace("{", r"\{")),
            connection.transaction(),
        ):
            call(connection, "configure_answers", pipeline="documents", **settings)
    call(connection, "configure_answers", pipeline="documents", keep="100 years")
    assert value(connection, "select keep = interval '100 years' from pgembedd_internal.answer_settings")
    assert value(
        connection, 'select pgembedd_internal._answer_url(\'https://e.com/{a}?q={b}\', \'{"a": "ü/ b", "b": 1}\')'
    ) == ("https://e.com/%C3%BC%2F%20b?q=1")
    call(connection, "drop_pipeline", pipeline="documents")
    assert value(connection, "select count(*) from pgembedd_internal.answer_settings") == 0
    assert value(connection, "select count(*) from pgembedd.answers where id = %s", uuid4()) == 0


def test_settings_that_are_left_out_are_kept_until_they_are_reset(connection: psycopg.Connection, asker: str) -> None:
    connection.execute("reset role")
    names = ["language_model", "url_template", "title_column", "min_similarity", "keep", "language_models"]
    options = f"select {', '.join(names)} from pgembedd.answer_options"
    month, week = timedelta(days=30), timedelta(days=7)
    before: list[Any] = ["some-model", "https://example.com/{id}", "title", -1.0, month, []]
    changed: dict[str, Any] = {"language_model": "m", "url_template": "http://x/{title}", "title_column": "content"}
    changed |= {"min_similarity": 0.5, "keep": "7 days", "language_models": ["other"]}
    shown = dict(zip(names, ["m", "http://x/{title}", "content", 0.5, week, ["other"]], strict=True))
    defaults: dict[str, Any] = dict(zip(names, [None, None, None, None, month, []], strict=True))
    assert rows(connection, options) == [tuple(before)]
    call(connection, "configure_answers", pipeline="documents")
    call(connection, "configure_answers", pipeline="documents", keep=None, reset=None)
    assert rows(connection, options) == [tuple(before)]
    for nth, name in enumerate(names):
        call(connection, "configure_answers", pipeline="documents", **{name: changed[name]})
        before[nth] = shown[name]
        assert rows(connection, options) == [tuple(before)]
    for nth, name in enumerate(names):
        call(connection, "configure_answers", pipeline="documents", reset=[name])
        before[nth] = defaults[name]
        assert rows(connection, options) == [tuple(before)]
    connection.execute("delete from pgembedd_internal.answer_settings")
    call(connection, "configure_answers", pipeline="documents", language_model="m")
    assert rows(connection, options) == [("m", *before[1:])]


def test_what_an_asker_holds_is_not_waited_for(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """A question that goes on with a thread locks its row until its transaction ends; the upkeep goes past it."""
    role = roles.make("asker")
    begin = "insert into pgembedd_internal.answer_thread values (%s, %s, '', now() - interval '2 days')"
    add = (
        "insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject)"
        " values (gen_random_uuid(), %s, 'documents', 'x', %s, '')"
    )
    connection.execute("select pgembedd.grant_ask(%s)", [role])
    held, left = uuid4(), uuid4()
    for thread in (held, left):
        connection.execute(begin, [thread, role])
        connection.execute(add, [thread, role])
    connection.execute("update pgembedd_internal.answer set keep_until = 'yesterday'")
    with connect_as(database, role) as asking, asking.transaction():
        asking.execute(add, [held, role])
        assert value(connection, "select pgembedd.tick()") is not None
        assert column(connection, "select id from pgembedd_internal.answer_thread") == [held]
    assert rows(connection, "select thread from pgembedd_internal.answer") == [(held,)]


def test_an_asker_has_a_hundred_answers_in_the_line(connection: psycopg.Connection, asker: str) -> None:
    ask(connection)
    connection.execute("reset role")
    connection.execute(
        "insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject)"
        " select gen_random_uuid(), thread, pipeline, question, role, subject"
        " from pgembedd_internal.answer cross join generate_series(2, 100)"
    )
    connection.execute(f"set local role {asker}")
    with refused("A hundred questions of yours wait for their answers.", "Ask again when some are answered."):
        ask(connection)
    connection.execute("select set_config('request.jwt.claims', '{\"sub\": \"ada\"}', true)")
    ask(connection)


def test_one_who_asks_much_keeps_no_other_waiting(connection: psycopg.Connection, asker: str) -> None:
    """A role may give itself any subject, so its answers are counted together; then come those of each of its users."""
    ask(connection)
    connection.execute("reset role")
    for role, subject, questions in ((asker, "ada", 3), (asker, "bob", 1), ("other", "", 2)):
        connection.execute(
            "with a as (insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject, due_at)"
            " select gen_random_uuid(), thread, pipeline, question, %s, %s, now() from pgembedd_internal.answer,"
            " generate_series(1, %s) where subject = '' limit %s returning id)"
            " insert into pgembedd_internal.answer_source (answer, n, pipeline, key, excerpt)"
            " select id, 1, 'documents', '1', 'x' from a",
            [role, subject, questions, questions],
        )
    connection.execute("delete from pgembedd_internal.answer where role = %s and subject = ''", [asker])
    order = []
    for _ in range(6):  # by a worker that makes one at a time
        ((answer, attempt),) = as_worker(connection, "select id, attempt from pgembedd_internal.claim_answers(1, 60)")
        order += rows(connection, "select role, subject from pgembedd_internal.answer where id = %s", answer)
        assert finish(connection, answer, attempt)
    assert order == [(asker, "ada"), ("other", ""), (asker, "bob"), ("other", ""), (asker, "ada"), (asker, "ada")]

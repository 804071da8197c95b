"""alter_pipeline(): every option, what follows from it, and that it leaves what a fresh pipeline would be."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.sql.models.test_change import pin
from tests.support.prepared import prepared
from tests.support.refusals import check_context, refused
from tests.support.sql import (
    call,
    claim,
    column,
    create_pipeline,
    empty,
    made_up,
    make_documents,
    queued,
    rows,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three embedded rows."""
    make_documents(connection, 3)
    connection.execute(
        "create function shout(d documents) returns text language sql immutable as 'select upper(d.title)'"
    )
    create_pipeline(connection)
    work(connection)


def alter(connection: psycopg.Connection, pipeline: str = "documents", **options: Any) -> int:
    return int(call(connection, "alter_pipeline", pipeline=pipeline, **options))


def made(connection: psycopg.Connection, *fields: str, name: str = "documents") -> tuple[Any, ...]:
    (row,) = rows(connection, f"select {', '.join(fields)} from pgembedd_internal.pipeline where name = %s", name)
    return row


def test_nothing_is_altered_without_an_option(documents: psycopg.Connection) -> None:
    before = rows(documents, "select p::text from pgembedd_internal.pipeline p")
    assert alter(documents) == 0
    assert alter(documents, content_columns=["title", "content"], max_attempts=5, triggers=True) == 0
    assert rows(documents, "select p::text from pgembedd_internal.pipeline p") == before


def test_a_changed_content_queues_every_row_and_keeps_the_vectors(documents: psycopg.Connection) -> None:
    before = column(documents, "select embedding::text from documents order by id")
    assert alter(documents, content_columns=["title"]) == 3
    assert column(documents, "select embedding::text from documents order by id") == before
    assert made(documents, "content_columns", "watch_columns") == (["title"], ["title"])
    work(documents)
    assert [list(v.to_list()) for v in column(documents, "select embedding from documents order by id")] == [
        made_up(f"title {i}") for i in (1, 2, 3)
    ]
    documents.execute("update documents set content = 'another' where id = 1")
    assert queued(documents) == []
    documents.execute("update documents set title = 'another' where id = 1")
    assert queued(documents) == [1]
    assert value(documents, "select pgembedd.sweep()") == 0


def test_without_backfill_the_rows_are_embedded_as_they_change(documents: psycopg.Connection) -> None:
    before = column(documents, "select embedding::text from documents order by id")
    assert alter(documents, content_columns=["title"], backfill=False) == 0
    assert value(documents, "select pgembedd.sweep()") == 0
    assert column(documents, "select embedding::text from documents order by id") == before


def test_content_columns_and_a_content_function_take_turns(documents: psycopg.Connection) -> None:
    assert alter(documents, content_function="shout") == 3
    work(documents)
    assert made(documents, "content_columns", "content_function", "watch_columns") == (
        None,
        "public.shout",
        ["content", "id", "other", "title"],
    )
    assert value(documents, "select embedding from documents where id = 1").to_list() == made_up("TITLE 1")
    assert alter(documents, content_columns=["title"]) == 3
    assert made(documents, "content_columns", "content_function", "watch_columns") == (["title"], None, ["title"])


def test_watched_columns_that_were_given_stay(documents: psycopg.Connection) -> None:
    assert alter(documents, watch_columns=["other"]) == 0
    assert alter(documents, content_columns=["content"]) == 3
    assert made(documents, "watch_columns") == (["other"],)
    empty(documents)
    documents.execute("update documents set content = 'another' where id = 1")
    assert queued(documents) == []
    assert alter(documents, reset=["watch_columns"]) == 0
    documents.execute("update documents set content = 'again' where id = 1")
    assert queued(documents) == [1]


def test_a_column_that_came_later_is_watched_after_a_reset(documents: psycopg.Connection) -> None:
    """With a content function every column is watched; an option that is kept is not derived again."""
    alter(documents, content_function="shout", backfill=False)
    documents.execute("alter table documents add later text")
    alter(documents, max_attempts=2, on_update="clear")
    assert made(documents, "watch_columns") == (["content", "id", "other", "title"],)
    alter(documents, reset=["watch_columns"])
    assert made(documents, "watch_columns") == (["content", "id", "later", "other", "title"],)


def test_a_retry_policy_holds_for_the_next_failure(documents: psycopg.Connection) -> None:
    assert alter(documents, max_attempts=1, retry_delay="1 h", retry_max_delay="2 h", retry_factor=3.0) == 0
    assert alter(documents, reset=["retry_delay", "retry_max_delay"]) == 0
    policy = "max_attempts", "retry_delay::text", "retry_factor", "retry_max_delay::text"
    assert made(documents, *policy) == (1, "00:00:02", 3.0, "00:10:00")


def test_on_update_there_and_back(documents: psycopg.Connection) -> None:
    alter(documents, on_update="clear")
    documents.execute("update documents set title = 'another' where id = 1")
    assert value(documents, "select embedding is null from documents where id = 1")
    alter(documents, on_update="keep")
    documents.execute("update documents set title = 'another' where id = 2")
    assert value(documents, "select embedding is not null from documents where id = 2")
    assert queued(documents) == [1, 2]


def test_triggers_there_and_back(documents: psycopg.Connection) -> None:
    triggers = "select count(*) from pg_trigger where tgrelid = 'documents'::regclass and tgname like 'pgembedd%%'"
    alter(documents, triggers=False)
    assert value(documents, triggers) == 0
    documents.execute("update documents set title = 'unseen' where id = 1")
    assert queued(documents) == []
    with refused("enable_always is done by triggers, and this pipeline is to have none."):
        alter(documents, enable_always=True)
    alter(documents, triggers=True, enable_always=True)
    documents.execute("update documents set title = 'seen' where id = 2")
    documents.execute("set session_replication_role = replica")
    documents.execute("update documents set title = 'seen' where id = 3")
    assert queued(documents) == [2, 3]


REFUSALS = [
    ({"rename_to": "other"}, 'There is a pipeline "other" already.', "42710"),
    ({"rename_to": "two words"}, "The pipeline name 'two words' is not usable.", "42602"),
    ({"content_columns": ["nope"]}, 'public.documents has no column "nope", named in content_columns.', "42703"),
    (
        {"content_columns": []},
        "Say what is to be embedded: content_columns or content_function, one of the two.",
        "22023",
    ),
    (
        {"content_columns": ["title"], "content_function": "shout"},
        "Say what is to be embedded: content_columns or content_function, one of the two.",
        "22023",
    ),
    ({"content_function": "nope"}, "There is no function nope(public.documents).", "42883"),
    ({"watch_columns": ["nope"]}, 'public.documents has no column "nope", named in watch_columns.', "42703"),
    ({"on_update": "forget"}, "on_update 'forget' is not known.", "22023"),
    ({"max_attempts": 0}, "max_attempts 0 is out of range.", "22023"),
    ({"text_config": "klingon"}, "There is no text search configuration 'klingon'.", "42704"),
    ({"reset": ["nope"]}, "reset names nope, which is no option with a default.", "22023"),
    ({"reset": ["content_columns"]}, "reset names content_columns, which is no option with a default.", "22023"),
    ({"reset": ["max_attempts", None]}, "reset names NULL, which is no option with a default.", "22023"),
    ({"max_attempts": 3, "reset": ["max_attempts"]}, "max_attempts is given, and reset names it, too.", "22023"),
]


@pytest.mark.parametrize(("options", "message", "state"), REFUSALS)
def test_a_refusal_changes_nothing(
    documents: psycopg.Connection, options: dict[str, Any], message: str, state: str
) -> None:
    create_pipeline(documents, pipeline="other", embedding_column="second", backfill=False)
    before = rows(documents, "select p::text from pgembedd_internal.pipeline p order by p.id")
    with pytest.raises(psycopg.Error) as caught:
        alter(documents, **options)
    assert (caught.value.diag.message_primary, caught.value.sqlstate) == (message, state)
    check_context(caught.value)
    assert rows(documents, "select p::text from pgembedd_internal.pipeline p order by p.id") == before


def test_an_unknown_pipeline_is_a_notice_with_if_exists(documents: psycopg.Connection) -> None:
    notices: list[str | None] = []
    documents.add_notice_handler(lambda diagnosis: notices.append(diagnosis.message_primary))
    assert alter(documents, "nope", max_attempts=3, if_exists=True) == 0
    call(documents, "drop_pipeline", pipeline="nope", if_exists=True)
    for function in ("alter_pipeline", "drop_pipeline"):
        with refused("There is no pipeline NULL.", "There are: documents."):
            call(documents, function, pipeline=None, if_exists=True)
    assert notices == ['There is no pipeline "nope": nothing to do.'] * 2
    with refused('There is no pipeline "nope".'):
        alter(documents, "nope")
    assert alter(documents, if_exists=True, max_attempts=3) == 0
    call(documents, "drop_pipeline", pipeline="documents", if_exists=True)
    assert column(documents, "select name from pgembedd_internal.pipeline") == []


def test_a_content_that_lost_a_column_is_altered(documents: psycopg.Connection) -> None:
    """It is the way out of what stopped the pipeline; another option is refused with the reason."""
    documents.execute("alter table documents drop content cascade")
    with pytest.raises(psycopg.Error, match=r'cannot be altered: public\.documents has no column "content" any more'):
        alter(documents, max_attempts=3)
    assert alter(documents, content_columns=["title"]) == 3
    work(documents)
    assert value(documents, "select embedding from documents where id = 1").to_list() == made_up("title 1")


def test_a_pipeline_is_altered_in_the_transaction_that_made_it(connection: psycopg.Connection) -> None:
    with connection.transaction():
        make_documents(connection, 2)
        create_pipeline(connection)
        assert alter(connection, rename_to="texts", content_columns=["content"], on_update="clear") == 2
    assert alter(connection, "texts", rename_to="documents", reset=["on_update"]) == 0
    work(connection)
    assert value(connection, "select embedding from documents where id = 1").to_list() == made_up("content 1")


def test_a_renamed_pipeline_is_known_by_its_new_name_everywhere(documents: psycopg.Connection) -> None:
    documents.execute("select pgembedd.configure_answers('documents', 'some-model', title_column => 'title')")
    asked = value(documents, "select pgembedd.ask('documents', 'title 1', embedding => '[1,1,1]')")
    comment = "select obj_description('documents_words'::regclass, 'pg_class')"
    assert 'by the pipeline "documents".' in value(documents, comment)
    assert alter(documents, rename_to="texts") == 0
    assert column(documents, "select pipeline from pgembedd.status") == ["texts"]
    assert rows(documents, "select pipeline, title_column from pgembedd_internal.answer_settings") == [
        ("texts", "title")
    ]
    assert rows(documents, "select pipeline from pgembedd.answers where id = %s", asked) == [("texts",)]
    assert set(column(documents, "select pipeline from pgembedd_internal.answer_source")) <= {"texts"}
    assert 'by the pipeline "texts".' in value(documents, comment)
    assert column(documents, NAMED_OLD) == []
    documents.execute("update documents set title = 'another' where id = 1")
    assert [job.pipeline for job in claim(documents)] == ["texts"]
    with refused('There is no pipeline "documents".', "There are: texts."):
        alter(documents, rename_to="texts")
    create_pipeline(documents, embedding_column="second", backfill=False)
    assert value(documents, "select count(*) from pgembedd.answers where pipeline = 'documents'") == 0


# Texts in the catalog and in pgembedd's tables that hold the old name of a pipeline, but for the table's own name.
NAMED_OLD = """
    select f.proname from pg_proc f where f.pronamespace = 'pgembedd_code'::regnamespace
        and f.prosrc like '%note this change for the pipeline%''documents'', sqlerrm%'
    union all select c.relname from pg_class c where obj_description(c.oid, 'pg_class') like '%"documents"%'
"""


def test_generated_code_warns_with_the_new_name(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks", enable_always=True)
    alter(connection, rename_to="texts")
    named = "select count(*) from pg_proc where pronamespace = 'pgembedd_code'::regnamespace and prosrc like %s"
    assert value(connection, named, "%texts%") > 2
    assert column(connection, NAMED_OLD) == []
    assert 'by the pipeline "texts".' in value(connection, "select obj_description('chunks'::regclass, 'pg_class')")


@pytest.mark.own_database
def test_an_event_says_what_was_altered(documents: psycopg.Connection) -> None:
    with documents.transaction():
        documents.execute("delete from pgembedd_internal.event")
        alter(documents, content_columns=["title"], rename_to="texts", max_attempts=5)
        alter(documents, "texts")
        payload = "select payload - '{at,pipeline_id}'::text[] from pgembedd_internal.event"
        assert column(documents, payload) == [
            {
                "event": "altered",
                "pipeline": "texts",
                "changed": ["content_columns", "watch_columns"],
                "renamed_from": "documents",
                "queued": 3,
            }
        ]


def test_the_words_are_made_again(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("insert into documents values (1, 'running dogs', 'x'), (2, 'laufende Hunde', 'y')")
    create_pipeline(connection, text_config="english", index_type="hnsw")
    work(connection)
    assert hits(connection, "run") == [1]
    assert alter(connection, text_config="german") == 0
    assert queued(connection) == []
    connection.execute("select pgembedd.sweep()")
    assert hits(connection, "run") == []
    assert hits(connection, "Hund") == [2]
    indexes = "select indexdef from pg_indexes where tablename = 'documents_words' and indexdef like '%gin%'"
    assert len(column(connection, indexes)) == 1
    alter(connection, text_config="none")
    assert value(connection, "select to_regclass('documents_words')") is None
    connection.execute("update documents set title = 'a cat' where id = 1")
    assert work(connection) == {1: "written"}
    alter(connection, text_config="english")
    connection.execute("select pgembedd.sweep()")
    assert hits(connection, "cat") == [1]


def hits(connection: psycopg.Connection, query: str) -> list[Any]:
    return column(connection, "select key from pgembedd.search('documents', %s, mode => 'text')", query)


def test_chunks_are_made_of_the_new_content(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("insert into documents values (1, 'title', E'one\\n\\ntwo'), (2, 'title', 'three')")
    create_pipeline(connection, embedding_table="chunks", formatting="$title: $chunk")
    pin(connection, "documents", "model")
    work(connection)
    chunks = "select id, chunk from chunks order by id, chunk_index"
    before = rows(connection, chunks)
    assert (1, "title") in before
    assert alter(connection, content_columns=["content"]) == 2
    assert rows(connection, chunks) == before
    assert made(connection, "watch_columns") == (["content", "title"],)
    work(connection, embed=lambda text: made_up(text)[::-1])
    assert rows(connection, chunks) == [(1, "one"), (1, "two"), (2, "three")]
    vectors = "select embedding from chunks where chunk in ('two', 'three') order by chunk_index"
    assert [v.to_list() for v in column(connection, vectors)] == [made_up("title: three"), made_up("title: two")]


def test_chunks_of_rows_deleted_without_triggers_go_when_these_are_back(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, embedding_table="chunks")
    pin(connection, "documents", "model")
    work(connection)
    alter(connection, triggers=False)
    connection.execute("delete from documents where id = 1")
    alter(connection, reset=["triggers"])
    assert column(connection, "select distinct id from chunks") == [2]
    connection.execute("delete from documents")
    assert column(connection, "select id from chunks") == []


def test_both_sides_of_a_change_of_model_are_altered(documents: psycopg.Connection) -> None:
    call(documents, "change_model", pipeline="documents", model="other", dimensions=3)
    assert alter(documents, content_columns=["title"], max_attempts=2, rename_to="texts") == 6
    both = "select name, content_columns, watch_columns, max_attempts from pgembedd_internal.pipeline order by id"
    assert rows(documents, both) == [("texts", ["title"], ["title"], 2), ("texts.next", ["title"], ["title"], 2)]
    with refused('"texts.next" is the second pipeline of a change of model.', 'Alter "texts"'):
        alter(documents, "texts.next", max_attempts=3)
    work(documents)
    call(documents, "switch_model", pipeline="texts", force=True)
    assert alter(documents, "texts", content_function="shout", on_update="clear") == 6
    assert alter(documents, "texts", rename_to="documents") == 0
    work(documents)
    assert column(documents, "select name from pgembedd_internal.pipeline order by id") == [
        "documents.previous",
        "documents",
    ]
    vectors = rows(documents, "select embedding, embedding_previous from documents where id = 1")
    assert [[v.to_list() for v in pair] for pair in vectors] == [[made_up("TITLE 1")] * 2]
    call(documents, "revert_model", pipeline="documents")
    create_pipeline(documents, pipeline="other.next", embedding_column="third", backfill=False)
    with refused('There is a pipeline "other.next" already.'):
        alter(documents, rename_to="other")
    with refused(
        f'The name "{"n" * 55}" is too long: with ".previous" behind it, which the old side is called after a '
        "switch, it would have more than 63 characters."
    ):
        alter(documents, rename_to="n" * 55)


def test_another_formatting_is_watched_unless_columns_were_given(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection, embedding_table="chunks", content_columns=["content"])
    call(connection, "change_model", pipeline="documents", formatting="$title: $chunk")
    assert made(connection, "watch_columns", name="documents.next") == (["content", "title"],)


def test_quoted_names(connection: psycopg.Connection) -> None:
    connection.execute('create schema "Odd"; create table "Odd"."a ""b""" (id int primary key, "x{y}" text, "%s" text)')
    connection.execute("""insert into "Odd"."a ""b\""" values (1, 'simple', 's')""")
    create_pipeline(connection, source='"Odd"."a ""b"""', content_columns=["x{y}"])
    work(connection)
    assert alter(connection, content_columns=["%s"], watch_columns=["x{y}"], on_update="clear", enable_always=True) == 1
    assert alter(connection, reset=["watch_columns"], text_config="x{y}") == 0
    assert made(connection, "watch_columns", "text_config_column") == (["%s", "x{y}"], "x{y}")
    assert work(connection) == {1: "written"}

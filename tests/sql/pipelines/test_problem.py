"""A pipeline that cannot work stops with a sentence, alone, and goes on when it is mended."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    create_pipeline,
    look_twice,
    make_documents,
    qualified,
    queued,
    reason,
    rows,
    state,
    store,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three rows that are not queued."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)


AGAIN = 'drop the pipeline "documents" and create it again'


OTHERS = "call pgembedd.alter_pipeline('documents', content_columns => ...)"


BACK = f"Change the type back, or {AGAIN}."


ANEW = (
    "The table public.documents was dropped. Remove the pipeline with pgembedd.drop_pipeline('documents'), "
    "then create it again for the new table of that name."
)

INHERITS = (
    "public.documents takes part in table inheritance, or is one partition of a table, by now. Undo that, or drop "
    'the pipeline "documents" and register the partitioned table.'
)

ATTACH = """
    create table everything (like documents, primary key (id)) partition by range (id);
    alter table everything attach partition documents for values from (0) to (100);
"""

BREAKAGES = {
    "dropped": (
        "drop table documents",
        "The table public.documents was dropped. Remove the pipeline with pgembedd.drop_pipeline('documents').",
    ),
    "dropped and created again": ("drop table documents; create table documents (id int primary key)", ANEW),
    "a parent by now": ("create table child () inherits (documents)", INHERITS),
    "a partition by now": (ATTACH, INHERITS),
    "content column renamed": (
        "alter table documents rename title to name",
        f'public.documents has no column "title" any more. Rename it back, or {OTHERS}.',
    ),
    "content column dropped": (
        "alter table documents drop content",
        f'public.documents has no column "content" any more. Rename it back, or {OTHERS}.',
    ),
    "embedding column dropped": (
        "alter table documents drop embedding",
        f'public.documents has no column "embedding" any more. Rename it back, or {AGAIN}.',
    ),
    "embedding column changed": (
        "alter table documents alter embedding type vector(3)",
        f"public.documents.embedding is public.vector(3) now, but the pipeline writes halfvec(3). {BACK}",
    ),
    "key dropped": (
        "alter table documents drop constraint documents_pkey",
        f"The primary key of public.documents changed. Change it back, or {AGAIN}.",
    ),
    "key renamed": (
        "alter table documents rename id to number",
        f"The primary key of public.documents changed. Change it back, or {AGAIN}.",
    ),
}


@prepared
def two(connection: psycopg.Connection) -> None:
    """`documents`, about to break, and `letters` after it, which must go on."""
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(connection, pipeline="letters", source="letters", content_columns=["title"])


def letters_go_on(connection: psycopg.Connection) -> bool:
    connection.execute("insert into letters select count(*), 'x' from letters")
    jobs = [job for job in claim(connection) if job.pipeline == "letters"]
    return state(connection, "letters") == "running" and store(connection, jobs) == ["written"]


@pytest.mark.parametrize("kind", BREAKAGES)
@pytest.mark.parametrize("finder", ["sweep", "diagnose"])
def test_a_broken_pipeline_stops_alone_with_a_sentence(two: psycopg.Connection, kind: str, finder: str) -> None:
    breakage, sentence = BREAKAGES[kind]
    two.execute(breakage)
    if finder == "sweep":
        look_twice(two)
    else:
        assert look_twice(two, "diagnose(1)") == sentence
    assert (state(two), reason(two)) == ("stopped", sentence)
    assert letters_go_on(two)
    assert value(two, "select pgembedd_internal.diagnose(2)") is None
    assert claim(two, BACKFILL) == []


@pytest.mark.parametrize("table", ["documents", "chunks"])
def test_a_table_that_was_dropped_is_told_of_at_once(connection: psycopg.Connection, table: str) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute(f"drop table {table} cascade")
    assert state(connection) == "stopped"
    assert reason(connection).startswith(f"The {'embedding ' * (table == 'chunks')}table public.{table} was dropped.")
    assert value(connection, "select state from pgembedd.pipelines") == "stopped"
    assert value(connection, "select state from pgembedd_internal.pipeline") == "running"
    call(connection, "pause", pipeline="documents")
    assert value(connection, "select state from pgembedd.pipelines") == "paused"


# What a pipeline is of, what becomes of the table, what alter_pipeline() is to be given, and a call that does it.
ALTERED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    "content": ({}, "rename title to name", "content_columns => ...", {"content_columns": ["name"]}),
    "configuration": ({"text_config": "lang"}, "drop lang", "text_config => ...", {"text_config": "simple"}),
    "watched": ({"watch_columns": ["other"]}, "drop other", "watch_columns => ...", {"watch_columns": ["title"]}),
    "of a function": (
        {"content_function": "first"},
        "drop other",
        "reset => '{watch_columns}'",
        {"reset": ["watch_columns"]},
    ),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_a_column_that_is_gone_is_mended_by_the_call_that_is_named(connection: psycopg.Connection, kind: str) -> None:
    options, change, named, remedy = ALTERED[kind]
    make_documents(connection, 1)
    connection.execute("alter table documents add lang text")
    connection.execute("create function first(documents) returns text language sql as 'select $1.title'")
    create_pipeline(connection, **options)
    connection.execute(f"alter table documents {change}")
    with refused(value(connection, PROBLEM), ""):
        call(connection, "backfill", pipeline="documents")
    assert value(connection, PROBLEM).endswith(f"call pgembedd.alter_pipeline('documents', {named}).")
    call(connection, "alter_pipeline", pipeline="documents", **remedy)
    assert value(connection, PROBLEM) is None


PROBLEM = "select pgembedd_internal._problem(p) from pgembedd_internal.pipeline p"


@pytest.mark.parametrize("kind", BREAKAGES)
@pytest.mark.parametrize("function", ["tick(0, 0)", "retention()", "_repair()"])
def test_the_upkeep_outlives_a_broken_pipeline(two: psycopg.Connection, kind: str, function: str) -> None:
    two.execute(BREAKAGES[kind][0])
    two.execute("set client_min_messages = error")
    two.execute("insert into letters values (100, ' ')")
    store(two, [job for job in claim(two) if job.pipeline == "letters"])
    two.execute("delete from letters")
    two.execute(f"select {qualified(function)}")
    if "tick" in function or "retention" in function:
        assert rows(two, "select * from pgembedd_internal.row_state") == []
    assert letters_go_on(two)


def test_a_pipeline_that_the_repair_cannot_mend_stops_alone(two: psycopg.Connection) -> None:
    two.execute("update pgembedd_internal.pipeline set search_path = 'no list', code_version = null where id = 1")
    two.execute("select pgembedd_internal._repair()")
    assert reason(two).startswith("The repair failed: ")
    assert reason(two).endswith("Mend that, then call pgembedd.resume('documents').")
    assert letters_go_on(two)


def test_a_sweep_that_fails_for_any_reason_stops_one_pipeline(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, backfill=False)
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(connection, pipeline="letters", source="letters", content_columns=["title"])
    connection.execute("""
        create function refuse() returns trigger language plpgsql as $$ begin raise exception 'it is refused'; end $$;
        create trigger refuse before insert on pgmq.q_pgembedd_backfill for each row
        when (new.message ->> 'pipeline' = '1') execute function refuse();
    """)
    connection.execute("select pgembedd.sweep()")
    assert state(connection) == "running", "it may be a table that is being altered"
    connection.execute("select pgembedd.sweep()")
    assert reason(connection).startswith("The sweep failed: it is refused")
    assert reason(connection).endswith("Mend that, then call pgembedd.resume('documents').")
    assert letters_go_on(connection)


def test_a_sweep_that_fails_once_stops_nothing(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, backfill=False)
    for _ in range(2):
        connection.execute("alter table pgmq.q_pgembedd_backfill rename column message to text")
        assert value(connection, "select pgembedd.sweep()") == 0
        connection.execute("alter table pgmq.q_pgembedd_backfill rename column text to message")
        connection.execute("select pgembedd.sweep()")
        assert state(connection) == "running"
        connection.execute("update pgembedd_internal.pipeline set sweep_due_at = '-infinity'")
    assert queued(connection, BACKFILL) == [1, 2]


@pytest.mark.parametrize("look", ["sweep()", "diagnose(1)"])
def test_a_column_that_is_missing_for_a_moment_stops_nothing(two: psycopg.Connection, look: str) -> None:
    """However often: the first look at each of them says that it is to be tried again."""
    for _ in range(3):
        two.execute("alter table documents rename title to headline")
        for _ in range(2):
            assert value(two, f"select {qualified(look)}") == (0 if look == "sweep()" else "altered")
        two.execute("alter table documents rename headline to title")
        assert value(two, f"select {qualified(look)}") == (0 if look == "sweep()" else "followed")
        two.execute("update pgembedd_internal.pipeline set problem_since = problem_since - interval '2 s'")
    assert state(two) == "running"


MENDED = {
    "column renamed": ("rename title to headline", "rename headline to title"),
    "column dropped": ("drop title", "add title text"),
    "vector of another type": ("alter embedding type vector(3)", "alter embedding type halfvec(3)"),
    "key dropped": ("drop constraint documents_pkey", "add primary key (id)"),
}


@pytest.mark.parametrize("change", MENDED.values(), ids=MENDED)
@pytest.mark.parametrize("look", ["sweep()", "tick(3600, 3600)"])
def test_a_pipeline_goes_on_by_itself_once_its_table_is_mended(
    two: psycopg.Connection, change: tuple[str, str], look: str
) -> None:
    two.execute("drop index if exists documents_embedding_hnsw")
    broken, mended = change
    two.execute(f"alter table documents {broken}")
    look_twice(two)
    two.execute("insert into documents (id) values (100)")
    two.execute(f"select {qualified(look)}")
    assert state(two) == "stopped"
    two.execute(f"alter table documents {mended}; update documents set title = 'new' where id = 100")
    two.execute(f"select {qualified(look)}")
    assert state(two) == "running"
    work(two)
    assert value(two, "select embedding is not null from documents where id = 100")


def test_only_a_stop_for_a_table_ends_by_itself(two: psycopg.Connection) -> None:
    two.execute("select pgembedd_internal.stop_pipeline(1, 'The model was withdrawn.')")
    two.execute("select pgembedd.sweep(), pgembedd.tick(0, 0)")
    assert (state(two), reason(two)) == ("stopped", "The model was withdrawn.")


def test_a_content_function_that_is_gone(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    connection.execute("create function embedding_input(documents) returns text language sql as $$ select $1.title $$")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("drop function embedding_input(documents)")
    sentence = (
        "The content function public.embedding_input(public.documents) is gone. "
        "Create it again, then call pgembedd.resume('documents'); "
        "or name another: pgembedd.alter_pipeline('documents', content_function => ...)."
    )
    assert look_twice(connection, "diagnose(1)") == sentence
    with refused(f'The pipeline "documents" cannot resume: {sentence}'):
        call(connection, "resume", pipeline="documents")
    connection.execute("create function embedding_input(documents) returns text language sql as $$ select 'x' $$")
    call(connection, "resume", pipeline="documents")
    assert work(connection) == {1: "written"}


def test_a_search_tells_the_problem_whatever_schema_the_content_function_is_in(connection: psycopg.Connection) -> None:
    """The role that looks for it has no right on that schema."""
    make_documents(connection)
    connection.execute(
        "create schema aside;create function aside.input(documents) returns text language sql as $$ select $1.title $$"
    )
    create_pipeline(connection, content_function="aside.input", embedding_table="chunks")
    connection.execute("alter table chunks drop embedding cascade")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r'public\.chunks has no column "embedding"'):
        connection.execute("select pgembedd.search('documents', 'x', embedding => '[1,2,3]')")


def test_a_column_of_no_concern_may_come_and_go(documents: psycopg.Connection) -> None:
    documents.execute("alter table documents drop other, add another int")
    documents.execute("insert into documents values (4, 'x', 'y')")
    assert work(documents) == {4: "written"}


def test_a_changed_type_of_the_content_does_no_harm(documents: psycopg.Connection) -> None:
    documents.execute("update documents set title = id::text")
    documents.execute("alter table documents alter title type int using title::int")
    documents.execute("update documents set title = 7 where id = 1")
    assert set(work(documents).values()) == {"written"}
    assert None not in vectors(documents)


def test_stopping_is_told_once(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    other.execute("listen pgembedd_events")
    for text in ("first", "second"):
        documents.execute("select pgembedd_internal.stop_pipeline(1, %s)", [text])
    assert reason(documents) == "first"
    other.execute("select 1")
    assert len(list(other.notifies(timeout=0))) == 1

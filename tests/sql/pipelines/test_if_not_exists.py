"""create_pipeline(if_not_exists => true), where there is a pipeline of that name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import call, make_documents, rows, value, work
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["connection"]

ALREADY = 'There is a pipeline "documents" already'
TEXTS: dict[str, Any] = {"content_columns": ["title", "content"]}
FUNCTION: dict[str, Any] = {"content_columns": None, "content_function": "embedding_input"}
CHUNKS: dict[str, Any] = {"embedding_table": "chunks", "chunk_tokens": 99, "chunk_overlap_tokens": 9}
WAITS = "select exists (select from pg_locks where pid = %s and not granted)"
CATALOG = """
    select 'pipeline', to_jsonb(p)::text from pgembedd_internal.pipeline p
    union all select 'relation', concat(oid::regclass, relfilenode) from pg_class where oid > 16384
    union all select 'function', concat(oid::regprocedure, xmin) from pg_proc where oid > 16384
    union all select 'trigger', concat(tgname, xmin) from pg_trigger
    union all select 'column', concat(attrelid::regclass, attname) from pg_attribute where attrelid > 16384
    union all select 'vector', embedding::text from documents
    union all select 'job', msg_id::text from pgmq.q_pgembedd_backfill order by 1, 2
"""


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Rows, and a function of them."""
    make_documents(connection, 2)
    connection.execute("""
        alter table documents add language text;
        create function embedding_input(documents) returns text language sql as 'select $1.title'""")


def make(connection: psycopg.Connection, **options: Any) -> Any:
    """A pipeline with these options and if_not_exists, and all others left out."""
    return call(
        connection,
        "create_pipeline",
        **{"pipeline": "documents", "source": "documents", "if_not_exists": True} | TEXTS | options,
    )


def notices(connection: psycopg.Connection) -> list[str | None]:
    heard: list[str | None] = []
    connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    return heard


@pytest.mark.parametrize(
    "options", [{}, FUNCTION, CHUNKS, {"text_config": "language"}, {"index_type": "none"}, {"embedding_column": "v"}]
)
def test_the_same_again_is_a_notice_and_nothing_more(documents: psycopg.Connection, options: dict[str, Any]) -> None:
    assert make(documents, **options) == 2
    documents.execute("alter table documents add column if not exists embedding halfvec(384)")
    before = rows(documents, CATALOG)
    heard = notices(documents)
    for existing in ("refuse", "keep", "clear"):
        assert make(documents, **options, existing_vectors=existing, index_when="now", backfill=False) == 0
    assert heard == [f"{ALREADY}, with this definition."] * 3
    assert rows(documents, CATALOG) == before


def test_vectors_that_it_has_made_are_not_touched(documents: psycopg.Connection) -> None:
    make(documents, dimensions=3, model="mine")
    work(documents)
    before = rows(documents, CATALOG)
    assert make(documents, dimensions=3, model="mine", existing_vectors="clear") == 0
    assert rows(documents, CATALOG) == before


SPELLED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"source": 'public."documents"'}),
    ({}, {"dimensions": 384, "embedding_column": "embedding", "watch_columns": ["content", "title"]}),
    ({}, {"model": "thenlper/gte-small"}),
    ({}, {"text_config": "pg_catalog.english"}),
    ({"index_options": '{"m": 16}'}, {"index_options": '{"ef_construction": 64}'}),
    ({"retry_max_delay": "60 s"}, {"retry_max_delay": "1 min"}),
    (CHUNKS, CHUNKS | {"embedding_table": 'public."chunks"'}),
    (CHUNKS | {"chunk_overlap_tokens": 0}, CHUNKS | {"chunk_overlap_tokens": None}),
    (FUNCTION, FUNCTION | {"content_function": "public.embedding_input"}),
    ({"text_config": None}, {"text_config": "none"}),
]


@pytest.mark.parametrize(("made", "asked"), SPELLED)
def test_what_means_the_same_is_the_same(
    documents: psycopg.Connection, made: dict[str, Any], asked: dict[str, Any]
) -> None:
    make(documents, **made)
    assert make(documents, **asked) == 0


DIFFERENT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {},
        {"content_columns": ["title"], "watch_columns": ["content", "title"]},
        "content_columns: has array['title', 'content'], asked for array['title']",
    ),
    (
        {},
        {"content_columns": ["content", "title"]},
        "content_columns: has array['title', 'content'], asked for array['content', 'title']",
    ),
    (
        {},
        FUNCTION | {"watch_columns": ["content", "title"]},
        (
            "content_columns: has array['title', 'content'], asked for null; "
            "content_function: has null, asked for 'public.embedding_input'"
        ),
    ),
    ({}, {"embedding_column": "it's"}, "embedding_column: has 'embedding', asked for 'it''s'"),
    ({}, {"model": "all-MiniLM-L6-v2"}, "model: has 'gte-small', asked for 'all-MiniLM-L6-v2'"),
    (
        {},
        {"model": "huggingface:thenlper/gte-small"},
        "model: has 'gte-small', asked for 'huggingface:thenlper/gte-small'",
    ),
    (
        {},
        {"dimensions": 3, "vector_type": "vector"},
        "dimensions: has 384, asked for 3; vector_type: has 'halfvec', asked for 'vector'",
    ),
    (
        {},
        {"max_attempts": 7, "retry_delay": "3 s"},
        "max_attempts: has 5, asked for 7; retry_delay: has '00:00:02', asked for '00:00:03'",
    ),
    (
        {"content_columns": ["title", "content"]},
        {"content_columns": ["title"]},
        "content_columns: has array['title', 'content'], asked for array['title']",  # what is watched follows
    ),
    ({"watch_columns": ["title"]}, {}, "watch_columns: has array['title'], asked for array['content', 'title']"),
    (
        FUNCTION | {"watch_columns": ["title"]},
        FUNCTION,
        "watch_columns: has array['title'], asked for array['id', 'title']",
    ),
    ({}, {"index_type": "none"}, "index_type: has 'hnsw', asked for 'none'"),
    (
        {},
        {"index_options": '{"m": 8}'},
        """index_options: has '{}', asked for '{"m": 8, "ef_construction": 64}'""",
    ),
    (
        {},
        CHUNKS,
        (
            "embedding_column: has 'embedding', asked for null; embedding_table: has null, asked for 'public.chunks'; "
            "chunk_tokens: has null, asked for 99; chunk_overlap_tokens: has null, asked for 9"
        ),
    ),
    (CHUNKS, CHUNKS | {"chunk_overlap_tokens": None}, "chunk_overlap_tokens: has 9, asked for null"),
    ({}, {"enable_always": True}, "enable_always: has false, asked for true"),
    ({}, {"text_config": "german"}, "text_config: has 'pg_catalog.english', asked for 'pg_catalog.german'"),
    ({}, {"source": "others"}, "source: has 'public.documents', asked for 'public.others'"),
]


@pytest.mark.parametrize(("made", "asked", "difference"), DIFFERENT)
def test_each_difference_is_named(
    documents: psycopg.Connection, made: dict[str, Any], asked: dict[str, Any], difference: str
) -> None:
    documents.execute("create table others (id int primary key, title text, content text)")
    make(documents, **made)
    before = value(documents, "select to_jsonb(p) from pgembedd_internal.pipeline p")
    with refused(f"{ALREADY}, with another definition: {difference}.", "pgembedd.pipeline_definition('documents')"):
        make(documents, **asked)
    assert value(documents, "select to_jsonb(p) from pgembedd_internal.pipeline p") == before


def test_what_it_is_now_counts(documents: psycopg.Connection) -> None:
    """A change of the model since then is a difference from the call that made the pipeline, and from no other."""
    make(documents, backfill=False)
    call(documents, "change_model", pipeline="documents", model="all-MiniLM-L6-v2", backfill=False)
    assert make(documents) == 0
    call(documents, "switch_model", pipeline="documents", force=True)
    with refused(f"{ALREADY}, with another definition: model: has 'all-MiniLM-L6-v2', asked for 'gte-small'."):
        make(documents)
    assert make(documents, model="all-MiniLM-L6-v2") == 0


def test_columns_that_a_table_got_since_are_no_difference(documents: psycopg.Connection) -> None:
    """Where a content function makes the pipeline watch every column."""
    make(documents, **FUNCTION)
    documents.execute("alter table documents add later text")
    assert make(documents, **FUNCTION) == 0
    assert value(documents, "select not 'later' = any (watch_columns) from pgembedd.pipelines")


def test_another_table_of_the_same_name_is_another_source(documents: psycopg.Connection) -> None:
    make(documents)
    documents.execute("alter table documents rename to moved")
    make_documents(documents)
    with refused(
        f"{ALREADY}, with another definition: source: has 'public.moved', asked for 'public.documents'.",
        "remove it with select pgembedd.drop_pipeline('documents')",
    ):
        make(documents)
    assert make(documents, source="moved") == 0
    documents.execute("drop table moved cascade")
    with refused(
        f"{ALREADY}, with another definition: source: has 'public.documents', which was dropped, asked for"
        " 'public.documents'."
    ):
        make(documents)


def test_the_code_is_that_of_a_name_that_is_taken(documents: psycopg.Connection) -> None:
    make(documents)
    with pytest.raises(psycopg.errors.DuplicateObject, match="max_attempts"):
        make(documents, max_attempts=7)


@pytest.mark.parametrize("asked", [False, None])
def test_otherwise_the_name_is_taken(documents: psycopg.Connection, asked: bool | None) -> None:
    make(documents)
    with pytest.raises(psycopg.errors.DuplicateObject, match=f"{ALREADY}[.]"):
        make(documents, if_not_exists=asked)


def test_what_is_invalid_is_refused_nevertheless(documents: psycopg.Connection) -> None:
    make(documents)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"existing_vectors": "maybe"}, "existing_vectors 'maybe' is not known."),
        ({"index_when": "never"}, "index_when 'never' is not known."),
        ({"content_columns": ["nope"]}, 'public.documents has no column "nope", named in content_columns.'),
    ]
    for options, message in refusals:
        with refused(message):
            make(documents, **options)


def test_of_two_sessions_at_once_the_second_finds_the_pipeline(database: Database) -> None:
    """As of two instances of an application that start together; its wait is limited, so it may have to ask again."""
    with database.connect() as first, database.connect() as second, ThreadPoolExecutor() as pool:
        make_documents(first, 2)

        def ask() -> Any:
            while True:
                with suppress(psycopg.errors.LockNotAvailable):
                    return make(second)

        with first.transaction():
            assert make(first) == 2
            asked = pool.submit(ask)
            eventually(lambda: value(first, WAITS, second.info.backend_pid))
        assert asked.result(PATIENCE_S) == 0
        assert value(first, "select count(*) from pgembedd.pipelines") == 1

"""`import pgai`: pipelines for vectorizers of the real catalogue, vectors kept, nothing of pgai's touched unasked."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.errors import Diagnostic

from pgembedd.contrib.model_names import known_model
from pgembedd.contrib.pgai import Options, plan, read_catalogue
from pgembedd.contrib.plan import Plan, Refused, as_script, execute_plan
from pgembedd.model.specs import resolve
from tests.sql.imports.imports import carried_out, only, triggers, why
from tests.support.guide import embed
from tests.support.pgai import configuration, create_vectorizer, install_pgai
from tests.support.prepared import prepared
from tests.support.roles import Roles
from tests.support.sql import BACKFILL, FRESH, claim, column, queued, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

VECTOR = "array_fill(0.5::real, array[384])::vector"


@prepared
def pgai(connection: psycopg.Connection) -> None:
    """pgai's catalogue and a table of two rows."""
    install_pgai(connection)
    connection.execute("create table blog (id int primary key, title text, body text)")
    connection.execute("insert into blog values (1, 'One', 'first text. second text.'), (2, 'Two', 'other text')")


TO_COLUMN = {
    "destination": "ai.destination_column('vec')",
    "chunking": "ai.chunking_none()",
    "embedding": "ai.embedding_litellm('huggingface/thenlper/gte-small', 384)",
}
WHO = """
    create function who() returns boolean language plpgsql immutable as
    $$ begin raise notice 'who: %', current_user; return true; end $$
"""


def plans(connection: psycopg.Connection, model: str | None = None, **options: Any) -> list[Plan | Refused]:
    chosen = Options(None if model is None else resolve(model), **options)
    return [plan(connection, each, chosen) for each in read_catalogue(connection)]


def done_by_pgai(connection: psycopg.Connection, vectorizer: int, *ids: int) -> None:
    """Those rows are out of pgai's queue."""
    connection.execute(f"delete from ai._vectorizer_q_{vectorizer} where id = any (%s)", [list(ids)])


def test_a_table_destination_is_taken_over_with_its_vectors(pgai: psycopg.Connection) -> None:
    vectorizer = create_vectorizer(pgai, "blog", "body", formatting="ai.formatting_python_template('$title: $chunk')")
    pgai.execute(
        "insert into blog_embedding_store (id, chunk_seq, chunk, embedding) select id, nth, chunk, "
        f"{VECTOR} from (values (1, 0, 'One: first text.'), (1, 1, 'One: second text.'), (2, 0, 'Two: other text'))"
        " as written(id, nth, chunk)"
    )
    done_by_pgai(pgai, vectorizer, 1, 2)
    pgai.execute("update blog set body = 'other text, and more' where id = 2")
    done = carried_out(pgai, plans(pgai))
    assert "rows taken over with their vectors: 1" in done
    assert "rows queued that have none: 1" in done
    table = "blog_embedding_store_all_minilm_l6_v2"
    assert rows(pgai, f"select id, chunk_index, chunk, start_offset, end_offset, model, content_hash = "
                      f"sha256(convert_to('One: ' || chunk, 'UTF8')) from {table} order by 1, 2") == [
        (1, 0, "first text.", 0, 11, resolve("all-MiniLM-L6-v2").fingerprint, True),
        (1, 1, "second text.", 12, 24, resolve("all-MiniLM-L6-v2").fingerprint, True),
    ]  # fmt: skip
    ((tokens, overlap, formatting),) = rows(
        pgai, "select chunk_tokens, chunk_overlap_tokens, formatting from pgembedd_internal.pipeline"
    )
    assert (tokens, overlap, formatting) == (200, 100, "$title: $chunk")
    assert queued(pgai, BACKFILL) == [2]
    assert value(pgai, "select count(*) from blog_embedding_store") == 3
    assert value(pgai, "select count(*) from ai.vectorizer") == 1
    assert f"_vectorizer_src_trg_{vectorizer}" in triggers(pgai)


def test_chunks_that_are_not_in_the_text_are_embedded_again(pgai: psycopg.Connection) -> None:
    vectorizer = create_vectorizer(pgai, "blog", "body")
    pgai.execute(
        "insert into blog_embedding_store (id, chunk_seq, chunk, embedding) values "
        f"(1, 0, 'first text.', {VECTOR}), (1, 1, 'nowhere', {VECTOR})"
    )
    done_by_pgai(pgai, vectorizer, 1, 2)
    done = carried_out(pgai, plans(pgai))
    assert "rows taken over with their vectors: 0" in done
    assert sorted(queued(pgai, BACKFILL)) == [1, 2]


def test_a_column_destination_is_adopted(pgai: psycopg.Connection) -> None:
    vectorizer = create_vectorizer(pgai, "blog", "body", name="'my_blog'", **TO_COLUMN)
    pgai.execute(f"update blog set vec = {VECTOR}")
    pgai.execute("insert into blog values (3, 'Three', 'no vector yet')")
    done_by_pgai(pgai, vectorizer, 1, 3)
    done = carried_out(pgai, plans(pgai))
    assert "rows queued that pgai had still to do: 1" in done
    assert sorted(queued(pgai, BACKFILL)) == [2, 3]
    assert rows(
        pgai, "select name, model, vector_type, embedding_column, content_columns from pgembedd_internal.pipeline"
    ) == [("my_blog", "gte-small", "vector", "vec", ["body"])]
    assert work(pgai, embed=embed) == {2: "written", 3: "written"}
    assert value(pgai, f"select vec = {VECTOR} from blog where id = 1")


def test_two_vectorizers_and_odd_names(pgai: psycopg.Connection) -> None:
    pgai.execute('create schema "My Schema"')
    pgai.execute('create table "My Schema"."It\'s" (doc uuid, part int, "Text" text, primary key (part, doc))')
    key = value(pgai, """insert into "My Schema"."It's" values (gen_random_uuid(), 7, 'abc') returning doc""")
    create_vectorizer(pgai, "blog", "body")
    create_vectorizer(
        pgai, '"My Schema"."It\'s"', "Text", chunking="ai.chunking_none()", name="'odd'",
        embedding="ai.embedding_litellm('huggingface/sentence-transformers/all-MiniLM-L6-v2', 384)",
    )  # fmt: skip
    pgai.execute('insert into "My Schema"."It\'s_embedding_store" (doc, part, chunk_seq, chunk, embedding) '
                 f"values (%s, 7, 0, 'abc', {VECTOR})", [key])  # fmt: skip
    pgai.execute("delete from ai._vectorizer_q_2")
    for each in plans(pgai):
        assert isinstance(each, Plan), each
        assert isinstance(execute_plan(pgai, each), list)
    assert column(pgai, "select name from pgembedd_internal.pipeline order by 1") == [
        "odd", "public_blog_embedding_store"
    ]  # fmt: skip
    found = rows(pgai, 'select part, doc, chunk from "My Schema"."It\'s_embedding_store_all_minilm_l6_v2"')
    assert found == [(7, key, "abc")]
    again = plans(pgai)
    assert all(isinstance(each, Refused) and "already: it was imported" in each.why for each in again)


def test_dropping_the_vectorizer_keeps_its_vectors(pgai: psycopg.Connection) -> None:
    create_vectorizer(pgai, "blog", "body")
    carried_out(pgai, plans(pgai, drop_vectorizer=True))
    assert value(pgai, "select count(*) from ai.vectorizer") == 0
    assert value(pgai, "select count(*) from blog_embedding_store") == 0
    assert {name for name in triggers(pgai) if not name.startswith("pgembedd_1_")} == set()


def test_a_disabled_vectorizer_is_paused_and_its_index_is_like_pgais(pgai: psycopg.Connection) -> None:
    vectorizer = create_vectorizer(pgai, "blog", "body")
    hnsw = {"implementation": "hnsw", "opclass": "vector_l2_ops", "m": 8, "ef_construction": 32}
    configuration(pgai, vectorizer, "indexing", hnsw)
    pgai.execute("update ai.vectorizer set disabled = true")
    carried_out(pgai, plans(pgai))
    assert rows(pgai, "select state, distance, m, ef_construction from pgembedd_internal.pipeline") == [
        ("paused", "l2", 8, 32)
    ]


@pytest.mark.own_database  # as the script commits
def test_another_model_is_embedded_again_on_request(pgai: psycopg.Connection) -> None:
    create_vectorizer(pgai, "blog", "body", embedding="ai.embedding_openai('text-embedding-3-small', 1536)")
    assert why(plans(pgai)) == (
        "its vectors are of text-embedding-3-small, which pgembedd does not have: "
        "--model gte-small embeds the rows again, into a new table."
    )
    script = "\n".join(as_script(pgai, only(plans(pgai, "gte-small"))))
    assert column(pgai, "select name from pgembedd_internal.pipeline") == []
    pgai.execute(script.encode())
    assert rows(pgai, "select embedding_table_name, dimensions from pgembedd_internal.pipeline") == [
        ("public.blog_embedding_store_gte_small", 384)
    ]
    assert sorted(queued(pgai, BACKFILL)) == [1, 2]
    assert {job.pipeline for job in claim(pgai, BACKFILL)} == {"public_blog_embedding_store"}
    assert queued(pgai, FRESH) == []


@pytest.mark.own_database
@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"embedding": "ai.embedding_ollama('all-minilm', 128)"}, "it keeps 128 dimensions of all-minilm"),
        ({"loading": "ai.loading_uri('body')"}, "it loads documents from elsewhere"),
        (
            {
                "destination": "ai.destination_column('vec')",
                "chunking": "ai.chunking_none()",
                "formatting": "ai.formatting_python_template('$title: $chunk')",
            },
            "it formats by '$title: $chunk' into a column",
        ),
    ],
)
def test_what_has_no_equal(pgai: psycopg.Connection, parts: dict[str, str], reason: str) -> None:
    create_vectorizer(pgai, "blog", "body", **parts)
    assert why(plans(pgai)).startswith(reason)


@pytest.mark.own_database
def test_a_catalogue_from_before_destinations(pgai: psycopg.Connection) -> None:
    vectorizer = create_vectorizer(pgai, "blog", "body")
    pgai.execute("alter table ai.vectorizer add target_schema name, add target_table name")
    pgai.execute("update ai.vectorizer set target_schema = 'public', target_table = 'blog_embedding_store', "
                 "config = config - 'destination' - 'loading'")  # fmt: skip
    configuration(pgai, vectorizer, "chunking", {"chunk_column": "body", "chunk_size": 100, "chunk_overlap": 10})
    carried_out(pgai, plans(pgai))
    assert rows(pgai, "select content_columns, chunk_tokens, chunk_overlap_tokens from pgembedd_internal.pipeline") == [
        (["body"], 25, 2)
    ]


@pytest.mark.parametrize("parts", [{}, TO_COLUMN], ids=["table", "column"])
def test_code_of_the_tables_owner_runs_as_that_owner(
    roles: Roles, pgai: psycopg.Connection, parts: dict[str, str]
) -> None:
    """What a superuser imports: the predicate of an index runs when a statement over its table is planned."""
    owner = roles.make("owner")
    vectorizer = create_vectorizer(pgai, "blog", "body", **parts)
    pgai.execute(f"grant create on schema public to {owner}; alter table blog owner to {owner}; set role {owner}")
    pgai.execute(WHO)
    pgai.execute("create index on blog (id) where who(); reset role")
    ran_as: set[str] = set()

    def note(diagnostic: Diagnostic) -> None:
        ran_as.update((diagnostic.message_primary or "").split("who: ")[1:])

    pgai.add_notice_handler(note)
    try:
        hidden = f"ai._vectorizer_q_{vectorizer}"
        refused = execute_plan(pgai, only(plans(pgai)))
        assert isinstance(refused, Refused)
        assert f"{owner}, who owns public.blog, may not read " in refused.why
        pgai.execute(f"grant usage on schema ai to {owner}; grant select on {hidden} to {owner}")
        if not parts:
            pgai.execute(f"grant select on blog_embedding_store to {owner}")
        carried_out(pgai, plans(pgai))
    finally:
        pgai.remove_notice_handler(note)
    assert ran_as == {owner}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("all-minilm", "all-MiniLM-L6-v2"),
        ("all-minilm:l6-v2", "all-MiniLM-L6-v2"),
        ("ollama/all-minilm", "all-MiniLM-L6-v2"),
        ("all-minilm:l12-v2", None),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("huggingface/thenlper/gte-small", "gte-small"),
        ("Supabase/gte-small", "gte-small"),
        ("e5-small-v2-int8", None),
        ("text-embedding-3-small", None),
        ("", None),
    ],
)
def test_models_under_the_names_of_others(theirs: str, ours: str | None) -> None:
    model = known_model(theirs)
    assert (model.name if model else None) == ours

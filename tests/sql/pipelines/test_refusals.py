"""create_pipeline refuses invalid arguments with a sentence, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model.specs import REGISTRY, RERANKERS
from tests.support.databases import Database, fresh_database
from tests.support.postgres_versions import needs
from tests.support.refusals import refused
from tests.support.sql import call, connected, create_pipeline, make_documents, rows, state
from tests.support.transaction import connection

__all__ = ["connection"]

EVERYTHING = """
    select 'relation', oid::regclass::text from pg_class where oid > 16384
    union all select 'function', oid::regprocedure::text from pg_proc where oid > 16384
    union all select 'trigger', tgname from pg_trigger
    union all select 'column', attrelid::regclass::text || attname from pg_attribute where attrelid > 16384
    union all select 'pipeline', name from pgembedd_internal.pipeline order by 1, 2
"""

SETUP = """
    create table keyless (title text, content text);
    create view "a view" as select 1 as id, '' as title, '' as content;
    create materialized view matview as select 1 as id;
    create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
    create foreign table away (id int, title text, content text) server nowhere;
    create table parent (id int primary key, title text, content text);
    create table child (primary key (id)) inherits (parent);
    create table parts (id int primary key, title text, content text) partition by range (id);
    create table part partition of parts for values from (0) to (10);
    alter table documents add long halfvec(5), add wide vector(3), add words text,
        add bare halfvec, add made halfvec(3) generated always as ('[1,2,3]'::halfvec(3)) stored;
    create sequence numbers;
    create table distributed (id int primary key, title text, content text);
    set allow_system_table_mods = on;
    create table pg_catalog.pg_dist_partition (logicalrelid regclass); -- stands in for that of Citus
    reset allow_system_table_mods;
    insert into pg_dist_partition values ('distributed');
    create table other (id int primary key);
    create function takes_text(text) returns text language sql as 'select $1';
    create function embedding_input(documents) returns text language sql as 'select $1.title';
    create function many(documents) returns setof text language sql as 'select $1.title';
    create function parts(documents) returns text[] language sql as 'select array[$1.title]';
    create function counted(documents) returns int language sql as 'select 1';
    create procedure does(documents) language sql as 'select';
    create aggregate joined(documents) (sfunc = array_append, stype = documents[]);
"""

ONE_OF_THE_TWO = "Say what is to be embedded: content_columns or content_function, one of the two."

SOURCES = [
    ("nobody", "There is no table nobody."),
    ("public.nobody", "There is no table public.nobody."),
    ("not a name at all!", "There is no table not a name at all!."),
    ("a.b.c", "There is no table a.b.c."),
    ("a.b.c.d", "There is no table a.b.c.d."),
    ("a..b", "There is no table a..b."),
    ('"open', 'There is no table "open.'),
    ("", "There is no table ."),
    (None, "There is no table NULL."),
    ('"a view"', 'public."a view" is a view, not a table.'),
    ("matview", "public.matview is a materialized view, not a table."),
    ("away", "public.away is a foreign table, not a table."),
    ("documents_pkey", "public.documents_pkey is an index, not a table."),
    ("numbers", "public.numbers is a sequence, not a table."),
    ("keyless", "public.keyless has no primary key."),
    ("passing", "passing is a temporary table."),
    ("parent", "public.parent takes part in table inheritance, or is one partition of a table."),
    ("child", "public.child takes part in table inheritance, or is one partition of a table."),
    ("part", "public.part takes part in table inheritance, or is one partition of a table."),
    ("distributed", "public.distributed is a table that Citus distributes."),
    ("pg_class", "pg_class is not a table of yours."),
    ("information_schema.sql_features", "information_schema.sql_features is not a table of yours."),
    ("pgmq.meta", "pgmq.meta is not a table of yours."),
]

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"pipeline": "taken"}, 'There is a pipeline "taken" already.'),
    ({"pipeline": "two words"}, "The pipeline name 'two words' is not usable."),
    ({"pipeline": "-x"}, "The pipeline name '-x' is not usable."),
    ({"pipeline": ""}, "The pipeline name '' is not usable."),
    ({"pipeline": None}, "The pipeline name NULL is not usable."),
    ({"pipeline": "n" * 64}, f"The pipeline name '{'n' * 64}' is not usable."),
    (
        {"content_columns": ["title", "nope", "no"]},
        'public.documents has no column "nope", "no", named in content_columns.',
    ),
    ({"content_columns": [None]}, 'public.documents has no column "", named in content_columns.'),
    ({"content_columns": ["ctid"]}, 'public.documents has no column "ctid", named in content_columns.'),
    ({"watch_columns": ["nope"]}, 'public.documents has no column "nope", named in watch_columns.'),
    ({"content_columns": []}, ONE_OF_THE_TWO),
    ({"content_columns": None}, ONE_OF_THE_TWO),
    ({"content_columns": ["title"], "content_function": "embedding_input"}, ONE_OF_THE_TWO),
    ({"content_function": "nothing"}, "There is no function nothing(documents)."),
    ({"content_function": "takes_text"}, "There is no function takes_text(documents)."),
    ({"content_function": "many"}, "many(documents) is no function that returns one value."),
    ({"content_function": "does"}, "does(documents) is no function that returns one value."),
    ({"content_function": "parts"}, "parts(documents) returns text[], not text."),
    ({"content_function": "counted"}, "counted(documents) returns integer, not text."),
    ({"content_function": "joined"}, "joined(documents) is no function that returns one value."),
    ({"vector_type": "sparsevec"}, "vector_type 'sparsevec' is not known."),
    ({"vector_type": None}, "vector_type NULL is not known."),
    ({"distance": "hamming"}, "distance 'hamming' is not known."),
    ({"distance": None}, "distance NULL is not known."),
    ({"on_update": "ignore"}, "on_update 'ignore' is not known."),
    ({"dimensions": 4001}, "4001 dimensions cannot be indexed as halfvec."),
    ({"dimensions": 2001, "vector_type": "vector"}, "2001 dimensions cannot be indexed as vector."),
    ({"dimensions": 0}, "0 dimensions cannot be indexed as halfvec."),
    ({"model": "MS-MARCO-MiniLM-L12"}, "MS-MARCO-MiniLM-L12 reranks texts and has no vectors."),
    ({"dimensions": None, "model": "house:e5"}, "The dimensions of the model house:e5 are not known here."),
    ({"model": "text-embedding-3-small"}, "text-embedding-3-small is a model of a provider's."),
    ({"max_attempts": 0}, "max_attempts 0 is out of range."),
    ({"max_attempts": 101}, "max_attempts 101 is out of range."),
    ({"max_attempts": None}, "max_attempts NULL is out of range."),
    (
        {"retry_delay": "-1 s"},
        "retry_delay -00:00:01, retry_factor 2 and retry_max_delay 00:10:00 are out of range.",
    ),
    ({"retry_delay": "11 min"}, "retry_delay 00:11:00, retry_factor 2 and retry_max_delay 00:10:00 are out of range."),
    ({"retry_delay": None}, "retry_delay NULL, retry_factor 2 and retry_max_delay 00:10:00 are out of range."),
    (
        {"retry_max_delay": "31 days"},
        "retry_delay 00:00:02, retry_factor 2 and retry_max_delay 31 days are out of range.",
    ),
    ({"retry_factor": 0.5}, "retry_delay 00:00:02, retry_factor 0.5 and retry_max_delay 00:10:00 are out of range."),
    (
        {"retry_factor": float("nan")},
        "retry_delay 00:00:02, retry_factor NaN and retry_max_delay 00:10:00 are out of range.",
    ),
    ({"model": ""}, "The pipeline needs a model."),
    ({"model": None}, "The pipeline needs a model."),
    ({"embedding_column": ""}, "The pipeline needs an embedding_column."),
    ({"embedding_column": "v" * 64}, f'The embedding_column "{"v" * 64}" is longer than a name can be.'),
    ({"embedding_column": "xmin"}, '"xmin" is a system column of every table.'),
    ({"embedding_column": "content"}, 'The column "content" cannot be content or key and hold the vector, too.'),
    ({"embedding_column": "id"}, 'The column "id" cannot be content or key and hold the vector, too.'),
    (
        {"embedding_column": "long"},
        "public.documents.long is public.halfvec(5), but this pipeline writes public.halfvec(3).",
    ),
    (
        {"embedding_column": "bare"},
        "public.documents.bare is public.halfvec, but this pipeline writes public.halfvec(3).",
    ),
    (
        {"embedding_column": "wide"},
        "public.documents.wide is public.vector(3), but this pipeline writes public.halfvec(3).",
    ),
    ({"embedding_column": "words"}, "public.documents.words is text, but this pipeline writes public.halfvec(3)."),
    ({"embedding_column": "made"}, "public.documents.made is a generated column, which cannot be written."),
    ({"embedding_column": "used"}, 'public.documents.used is filled by the pipeline "taken" already.'),
    ({"index_type": "ivfflat"}, "index_type 'ivfflat' is not known."),
    ({"index_type": None}, "index_type NULL is not known."),
    ({"index_options": '{"m": 1}'}, "m = 1 and ef_construction = 64 do not make an HNSW index."),
    ({"index_options": '{"m": 101}'}, "m = 101 and ef_construction = 64 do not make an HNSW index."),
    ({"index_options": '{"m": 40}'}, "m = 40 and ef_construction = 64 do not make an HNSW index."),
    ({"index_options": '{"ef_construction": 1001}'}, "m = 16 and ef_construction = 1001 do not make an HNSW index."),
    *(
        ({"index_options": options}, f"index_options takes m and ef_construction, each an integer, not {options}.")
        for options in [
            '{"lists": 100}',
            '{"m": "8"}',
            '{"m": 8.5}',
            '{"m": null}',
            '{"m": 99999999999}',
            '{"m": true}',
            "[8]",
            "8",
            "null",
            '"m"',
        ]
    ),
    ({"existing_vectors": "drop"}, "existing_vectors 'drop' is not known."),
    ({"index_when": None}, "index_when NULL is not known."),
]


@pytest.fixture(scope="module")
def odd(server: EmbeddedPostgres, template: Database) -> Iterator[psycopg.Connection]:
    """Tables and functions of many kinds, one of this session, and a pipeline: all refusals leave them as they are."""
    with fresh_database(server, template.name) as database, connected(database) as connection:
        make_documents(connection, 1)
        connection.execute(SETUP)
        create_pipeline(connection, pipeline="taken", embedding_column="used")
        connection.execute("create temporary table passing (id int primary key, title text, content text)")
        yield connection


@pytest.mark.parametrize(("options", "message"), [*(({"source": name}, said) for name, said in SOURCES), *OPTIONS])
def test_an_option_is_refused(odd: psycopg.Connection, options: dict[str, Any], message: str) -> None:
    before = rows(odd, EVERYTHING)
    with refused(message):
        create_pipeline(odd, **options)
    assert rows(odd, EVERYTHING) == before


@needs("WITHOUT OVERLAPS")
def test_a_key_without_overlaps(connection: psycopg.Connection) -> None:
    connection.execute(
        "create table temporal (id int4range, at int4range, title text, primary key (id, at without overlaps))"
    )
    with refused("public.temporal has a primary key WITHOUT OVERLAPS."):
        create_pipeline(connection, source="temporal", content_columns=["title"])


@pytest.mark.parametrize(
    "model", ["gte-small", "thenlper/GTE-small", "openai:text-embedding-3-small", "text-embedding-3-small", "house:e5"]
)
def test_a_model_in_the_place_of_the_content_function(odd: psycopg.Connection, model: str) -> None:
    message = f"'{model}' is a model, not a content_function."
    for columns in ("{content}", None):
        with refused(message, f"Write model => '{model}': all arguments after the third are given by name."):
            odd.execute("select pgembedd.create_pipeline('docs', 'documents', %s, %s)", [columns, model])


@pytest.mark.parametrize(
    ("columns", "given", "written"),
    [
        ("{content}", "wide", "embedding_column => 'wide'"),
        ("{content}", "title", "embedding_column => 'title'"),
        (None, "wide", "embedding_column => 'wide'"),
        (None, "title", "content_columns => array['title']"),
    ],
)
def test_a_column_in_the_place_of_the_content_function(
    odd: psycopg.Connection, columns: str | None, given: str, written: str
) -> None:
    with refused(f"'{given}' is a column, not a content_function.", f"Write {written}: all arguments after"):
        odd.execute("select pgembedd.create_pipeline('docs', 'documents', %s, %s)", [columns, given])


@pytest.mark.parametrize("given", ["no(model", "vec", "e5-large"])
def test_another_text_in_the_place_of_the_content_function(odd: psycopg.Connection, given: str) -> None:
    message = f"content_columns are given, and then '{given}' as content_function."
    with refused(message, "All arguments after the third are given by name, as in model => 'gte-small'."):
        odd.execute("select pgembedd.create_pipeline('docs', 'documents', '{content}', %s)", [given])


@pytest.mark.parametrize("function", ["drop_pipeline", "pause", "resume", "backfill", "retry_dead_letters"])
def test_an_unknown_pipeline(connection: psycopg.Connection, function: str) -> None:
    with refused('There is no pipeline "nope".', "There is none at all; pgembedd.create_pipeline() makes one."):
        call(connection, function, pipeline="nope")
    make_documents(connection)
    create_pipeline(connection)
    with refused('There is no pipeline "nope".', "There are: documents."):
        call(connection, function, pipeline="nope")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pgmq.q_pgembedd_fresh", "pgmq.q_pgembedd_fresh is not a table of yours."),
        ("pgembedd_internal.pipeline", "pipeline is not a table of yours."),
        ("chunks", "public.chunks is the embedding table of a pipeline."),
    ],
)
def test_tables_that_are_written_by_ourselves(connection: psycopg.Connection, source: str, message: str) -> None:
    make_documents(connection)
    create_pipeline(connection, embedding_table="chunks")
    with pytest.raises(psycopg.errors.WrongObjectType) as refusal:
        create_pipeline(connection, pipeline="second", source=source, content_columns=["message"])
    assert refusal.value.diag.message_primary == message


def test_a_sweep_of_fewer_than_none_stops_nothing(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="The sweep cannot queue -1 rows"):
        connection.execute("select pgembedd.sweep(-1)")
    for seconds in ("-1", "NaN", "Infinity"):
        with refused(f"The sweep cannot stop after {seconds} seconds.", "within_s is 0 to 86400"):
            connection.execute("select pgembedd.sweep(within_s => %s::float8)", [seconds])
    assert state(connection) == "running"


@pytest.mark.slow
def test_nothing_is_said_where_nothing_is_to_be_said(connection: psycopg.Connection) -> None:
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    make_documents(connection)
    create_pipeline(connection, dimensions=384)
    create_pipeline(connection, pipeline="second", embedding_table="chunks", dimensions=384)
    assert notices == []
    again = {"if_not_exists": True}
    warned: list[tuple[dict[str, Any], str | None]] = [
        ({}, "gte-small has 384 dimensions, so no worker will serve a pipeline of 3."),
        (
            {"model": "gte-smal"},
            "pgembedd has no model gte-smal: a worker serves it only from files of yours, with --model-dir.",
        ),
        ({"model": "ollama:all-minilm"}, None),
    ]
    for options, said in warned:
        connection.execute("drop table if exists documents cascade")
        make_documents(connection)
        notices.clear()
        create_pipeline(connection, pipeline=f"pipeline_{len(said or '')}", **options)
        assert notices == ([said] if said else [])
        notices.clear()  # of a model that stays nothing is told
        call(connection, "alter_pipeline", pipeline=f"pipeline_{len(said or '')}", max_attempts=3)
        create_pipeline(connection, pipeline=f"pipeline_{len(said or '')}", max_attempts=3, **again | options)
        assert [notice for notice in notices if "There is a pipeline" not in str(notice)] == []


def test_the_models_that_sql_knows_are_pgembedds(connection: psycopg.Connection) -> None:
    known = "select name, dimensions, min_similarity from pgembedd_internal._known_model(%s)"
    for spec in [*REGISTRY.values(), *RERANKERS.values()]:
        for name in [spec.name, spec.name.upper(), *spec.aliases, *(f"huggingface:{name}" for name in spec.aliases)]:
            assert rows(connection, known, name) == [(spec.name, spec.dims or None, spec.min_similarity)], name
    for name in ("ollama:all-minilm", "ollama:all-minilm:33m"):
        assert rows(connection, known, name) == [("all-MiniLM-L6-v2", 384, 0.3)]
    for name in ("null", "ollama:gte-small", "openai:gte-small", "all-minilm", "huggingface:all-minilm:22m"):
        assert rows(connection, known, name) == [(None, None, None)], name

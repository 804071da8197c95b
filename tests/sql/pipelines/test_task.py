"""What a pipeline makes: options that do not go with its task, and what else must know of pages."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgembedd.errors import refusal_text
from tests.support.pages import contracts, create_parsing, parse_all, parse_jobs
from tests.support.prepared import prepared
from tests.support.sql import call, claim, column, create_pipeline, due, look_twice, queued, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def filed(connection: psycopg.Connection) -> None:
    """`contracts` with a pipeline that parses, one file with its page, and a pipeline of the pages."""
    contracts(connection)
    create_pipeline(
        connection, pipeline="pages", source="contract_pages", content_columns=["text"], embedding_table="page_chunks"
    )
    connection.execute("insert into contracts values (1, 'lease', 'one')")
    parse_all(connection)


REFUSED: dict[str, dict[str, Any]] = {
    "task 'generate' is not known. embed makes vectors of texts, parse makes pages of text of files.": {
        "task": "generate"
    },
    "The task parse makes no vectors, which these options are for: model, distance, chunk_tokens. Leave them out here,"
    " and give them to a pipeline on the table of the pages.": {
        "model": "all-MiniLM-L6-v2",
        "distance": "l2",
        "chunk_tokens": 64,
    },
    "The task parse makes no vectors, which these options are for: index_options, index_when, text_config. Leave them"
    " out here, and give them to a pipeline on the table of the pages.": {
        "index_options": '{"m": 8}',
        "index_when": "later",
        "text_config": "none",
    },
    "The task parse needs into_table: the table that its pages go into. It is created when missing.": {
        "into_table": None
    },
    "into_table is for files, and the task is embed. Say task => 'parse' for files; vectors go into"
    " embedding_column or embedding_table.": {"task": "embed"},
    "A file is in one column, and is not made by a function. Name the column: content_columns => '{file}'; or"
    " uri_column, where it holds URIs.": {"content_columns": ["file", "name"]},
    "public.contracts.id is integer, and a file is bytea. Name a column of type bytea; one of type text is parsed, too,"
    " as a file in UTF-8.": {"content_columns": ["id"]},
    "public.page_chunks is the embedding table of a pipeline. Register the table that the texts are in.": {
        "source": "page_chunks",
        "content_columns": ["chunk"],
    },
    "public.contract_pages is filled by a pipeline, and holds no files. Register the table that the files are in.": {
        "source": "contract_pages",
        "content_columns": ["text"],
    },
    'public.contract_pages is filled by the pipeline "contract_text" already. Name another into_table.': {
        "into_table": "contract_pages"
    },
    "public.contracts is there already, and is no table of pages of public.contracts: it has no column page. Name"
    " another into_table: it is created.": {"into_table": "contracts"},
}


@pytest.mark.parametrize("expected", REFUSED)
def test_what_does_not_go_with_a_task_is_refused_in_one_sentence(filed: psycopg.Connection, expected: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        create_parsing(filed, **{"pipeline": "other", "into_table": "other_pages"} | REFUSED[expected])
    assert refusal_text(refused.value.diag) == expected


def test_no_pipeline_parses_what_a_pipeline_writes(filed: psycopg.Connection) -> None:
    """So none writes to its own source, by way of others."""
    filed.execute("alter table contract_pages rename page to number")
    filed.execute("alter table contract_pages add file bytea")
    with pytest.raises(psycopg.errors.WrongObjectType, match="contract_pages is filled by a pipeline, and holds no"):
        create_parsing(filed, pipeline="cycle", source="contract_pages", into_table="contracts2")


VECTORS_ALONE = {
    "search": "select pgembedd.search('contract_text', 'x')",
    "search of the table": "select pgembedd.search(null::contracts, 'x')",
    "search_many": "select pgembedd.search_many(array['contract_text'], 'x')",
    "explain": "select pgembedd.explain_search('contract_text', 'x')",
    "similar": "select pgembedd.similar('contract_text', '1')",
    "embed": "select pgembedd.embed('x', 'contract_text')",
    "ask": "select pgembedd.ask('contract_text', 'x')",
    "index": "select pgembedd.index_statements('contract_text')",
}


@pytest.mark.parametrize("verb", VECTORS_ALONE)
def test_what_vectors_are_for_names_the_pipeline_on_the_pages(filed: psycopg.Connection, verb: str) -> None:
    with pytest.raises(psycopg.errors.WrongObjectType) as refused:
        filed.execute(VECTORS_ALONE[verb].encode())
    assert refusal_text(refused.value.diag) == (
        'The pipeline "contract_text" makes text of files, and no vectors. Name one that stands on its table: "pages".'
    )


def test_a_model_cannot_be_changed_and_the_refusal_says_what_can(filed: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.WrongObjectType) as refused:
        call(filed, "change_model", pipeline="contract_text", model="x")
    assert "pgembedd.backfill('contract_text', force => true)" in refusal_text(refused.value.diag)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="which these options are for: text_config"):
        call(filed, "alter_pipeline", pipeline="contract_text", text_config="english")


def test_its_definition_makes_it_again(filed: psycopg.Connection) -> None:
    definition = value(filed, "select pgembedd.pipeline_definition('contract_text')")
    assert "task => 'parse'" in definition
    assert "into_table => 'public.contract_pages'" in definition
    assert "vector_type" not in definition
    filed.execute(definition.removesuffix(")") + ", if_not_exists => true)")
    with pytest.raises(psycopg.errors.DuplicateObject, match="task: has 'parse', asked for 'embed'"):
        filed.execute("select pgembedd.create_pipeline('contract_text', 'contracts', '{name}', if_not_exists => true)")
    call(filed, "drop_pipeline", pipeline="contract_text")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="contract_pages holds pages already"):
        filed.execute(definition)
    assert value(filed, definition.removesuffix(")") + ", existing_vectors => 'keep')") == 1
    assert parse_all(filed) == ["unchanged"]


def test_a_table_that_others_stand_on_is_not_dropped(filed: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match='source of another pipeline: "pages"'):
        call(filed, "drop_pipeline", pipeline="contract_text", drop_vectors=True)
    call(filed, "drop_pipeline", pipeline="pages", drop_vectors=True)
    call(filed, "drop_pipeline", pipeline="contract_text", drop_vectors=True)
    assert value(filed, "select to_regclass('contract_pages')") is None


def test_all_that_walks_the_pipelines_knows_of_both_tasks(filed: psycopg.Connection) -> None:
    """Upkeep, status, metrics, lists, rights, and code that is made again."""
    filed.execute("alter table contract_pages rename to clauses")
    filed.execute("alter table contracts rename to papers")
    look_twice(filed)
    filed.execute("select pgembedd.tick(0, 0), pgembedd.retention(), pgembedd_internal._repair()")
    filed.execute("select pgembedd_internal._maintain_indexes(), pgembedd_internal._mirror_all_rights()")
    assert rows(
        filed, "select pipeline, state, reason, destination, coverage, index from pgembedd.status order by 1"
    ) == [
        ("contract_text", "running", None, "public.clauses", 1, "none"),
        ("pages", "running", None, "public.page_chunks", 0, "none"),
    ]
    assert rows(filed, "select pipeline, task, into_table from pgembedd.pipelines order by 1") == [
        ("contract_text", "parse", "public.clauses"),
        ("pages", "embed", None),
    ]
    assert column(filed, "select pipeline from pgembedd.search_pipelines()") == ["pages"]
    assert column(filed, "select pipeline from pgembedd.metrics() order by 1") == ["contract_text", "pages"]
    assert column(filed, "select pipeline from pgembedd_internal.models()") == ["pages"]
    assert column(filed, "select pipeline from pgembedd_internal.parse_pipelines()") == ["contract_text"]
    assert column(filed, "select pgembedd.index_statements()") == []
    assert value(filed, "select pgembedd.demand('contract_text')") == 0
    filed.execute("update papers set file = 'two'")
    assert parse_all(filed) == ["written"]
    call(filed, "alter_pipeline", pipeline="contract_text", rename_to="paper_text", max_attempts=3)
    assert value(filed, "select obj_description('clauses'::regclass)").endswith('by the pipeline "paper_text".')


def test_neither_lane_claims_the_others_jobs(filed: psycopg.Connection) -> None:
    filed.execute("update contracts set file = 'two'")
    parsing = value(filed, "select id from pgembedd_internal.pipeline where task = 'parse'")
    assert parsing not in due(filed)
    assert due(filed, task="parse") == [parsing]
    assert [job.pipeline for job in claim(filed)] == ["pages"]
    assert [job.pipeline for job in parse_jobs(filed)] == ["contract_text"]


def test_a_column_that_is_dropped_stops_it_and_says_why(filed: psycopg.Connection) -> None:
    filed.execute("alter table contract_pages rename parser to program")
    look_twice(filed)
    assert value(filed, "select reason from pgembedd.status where pipeline = 'contract_text'") == (
        'The table of pages public.contract_pages has no column "parser" any more. Rename it back, or drop the pipeline'
        ' "contract_text" and create it again.'
    )
    filed.execute("insert into contracts values (3, '', 'x')")  # a writer does not fail
    assert 3 in queued(filed)

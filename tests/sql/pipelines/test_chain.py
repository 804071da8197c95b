"""A chain: what stands on the table of a pipeline that parses files."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.pages import contracts, parse_all, parse_jobs, store_pages
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.sql import call, claim, column, create_pipeline, fail, look_twice, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def filed(connection: psycopg.Connection) -> None:
    """`contracts` with a pipeline that parses, one file of two pages, and a pipeline of the pages, all embedded."""
    contracts(connection)
    create_pipeline(
        connection, pipeline="pages", source="contract_pages", content_columns=["text"], embedding_table="page_chunks"
    )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x' where task = 'embed'")
    connection.execute("insert into contracts values (1, 'lease', convert_to(E'one\\x0ctwo', 'UTF8'))")
    parse_all(connection)
    work(connection)


def status(connection: psycopg.Connection) -> str:
    return str(value(connection, "select status from pgembedd.row_status('contract_text', '{1}')"))


def test_the_status_of_a_file_follows_its_pages(filed: psycopg.Connection) -> None:
    assert status(filed) == "embedded"
    filed.execute("update contracts set file = 'two'")
    assert status(filed) == "queued"
    jobs = parse_jobs(filed)
    assert status(filed) == "parsing"
    store_pages(filed, jobs)
    assert status(filed) == "parsed"  # its page waits for a vector
    work(filed)
    assert status(filed) == "embedded"
    filed.execute("update contract_pages set text = ''")
    assert status(filed) == "parsed"
    work(filed)
    assert status(filed) == "embedded"  # a blank page waits for none
    filed.execute("update contract_pages set text = 'unlucky'")
    (job,) = claim(filed)
    fail(filed, job, permanent=True)
    assert status(filed) == "parsed"
    call(filed, "drop_pipeline", pipeline="pages", drop_vectors=True)
    assert status(filed) == "parsed"


def test_the_lag_of_a_page_counts_from_the_change_of_its_file(filed: psycopg.Connection) -> None:
    filed.execute("update contracts set file = 'three'")
    filed.execute("update pgmq.q_pgembedd_fresh set enqueued_at = now() - interval '1 hour'")
    parse_all(filed)
    work(filed)
    lag = (
        "select lag > '1 hour' from pgembedd_internal.activity a where pipeline_id = "
        "(select id from pgembedd_internal.pipeline where name = 'pages') order by at desc limit 1"
    )
    assert value(filed, lag)
    filed.execute("update contract_pages set text = 'by hand'")
    work(filed)
    assert not value(filed, lag)


CREATE = (
    "select pgembedd.create_pipeline('contract_text', 'contracts', '{file}', task => 'parse',"
    " into_table => 'contract_pages', existing_vectors => 'keep')"
)
KEPT = (
    "select pgembedd.requeue('contract_text', '{1}')",
    "select pgembedd.backfill('contract_text', force => true)",
    "select pgembedd.backfill(p) from unnest('{contract_text,pages}'::text[]) p",
    "update contracts set file = file || ''::bytea, name = 'another'",
    "alter table contracts add copy bytea; update contracts set copy = file",
    "select pgembedd.alter_pipeline('contract_text', content_columns => '{copy}')",
    "select pgembedd.alter_pipeline('contract_text', content_columns => '{file}', max_attempts => 3)",
    "select pgembedd.alter_pipeline('contract_text', rename_to => 'text')",
    "select pgembedd.alter_pipeline('text', rename_to => 'contract_text')",
    "select pgembedd.alter_pipeline('pages', rename_to => 'paragraphs')",
    "select pgembedd.alter_pipeline('contract_text', triggers => false)",
    "select pgembedd.alter_pipeline('contract_text', triggers => true)",
    "select pgembedd.alter_pipeline('contract_text', on_update => 'clear')",
    "select pgembedd.pause('contract_text'); select pgembedd.resume('contract_text')",
    "alter table contracts rename to papers; alter table contract_pages rename to clauses",
    "alter table papers rename to contracts; alter table clauses rename to contract_pages",
    "create schema other; alter table contracts set schema other; alter table other.contracts set schema public",
    "alter table contracts alter file type text using convert_from(file, 'UTF8')",
    "create role chain_owner; grant create on schema public to chain_owner; alter table contracts owner to chain_owner",
    "select pgembedd.drop_pipeline('contract_text')",
    CREATE,
    "select pgembedd.tick(0, 0), pgembedd_internal._repair()",
)
"""What is done to the pipeline above, to its tables, and to the one below."""


@pytest.mark.own_database
def test_nothing_that_did_not_change_is_embedded_again(filed: psycopg.Connection, roles: Roles) -> None:
    """Each operation leaves pages and chunks as they are, and a change comes through after it."""
    chunks = "select ctid, xmin::text from page_chunks order by 1"
    for number, operation in enumerate(KEPT):
        before = rows(filed, chunks)
        with filed.transaction():
            filed.execute(operation.encode())
        look_twice(filed)
        parse_all(filed)
        assert value(filed, "select queued from pgembedd.status where destination like '%page_chunks'") == 0, operation
        assert rows(filed, chunks) == before, operation
        (table,) = column(filed, "select source from pgembedd.status where destination like '%page_chunks'")
        filed.execute(f"update {table} set text = 'by hand {number}' where page = 2".encode())
        assert work(filed) != {}, operation


def test_what_others_stand_on_is_neither_cleared_nor_swapped(filed: psycopg.Connection) -> None:
    call(filed, "drop_pipeline", pipeline="contract_text")
    with refused(
        'public.contract_pages is the source of another pipeline: "pages".',
        "Say existing_vectors => 'keep': pages of files that are the same stay.",
    ):
        filed.execute(CREATE.replace("'keep'", "'clear'").encode())
    call(filed, "drop_pipeline", pipeline="pages")
    create_pipeline(filed, pipeline="chunks", source="page_chunks", content_columns=["chunk"], embedding_column="more")
    with refused(
        'public.page_chunks is the source of another pipeline: "chunks".',
        "Name another embedding_table: it is created.",
    ):
        create_pipeline(
            filed,
            pipeline="pages",
            source="contract_pages",
            content_columns=["text"],
            embedding_table="page_chunks",
            existing_vectors="keep",
        )


def test_a_change_of_model_below(filed: psycopg.Connection) -> None:
    call(filed, "change_model", pipeline="pages", model="another", dimensions=3)
    filed.execute("update pgembedd_internal.pipeline set fingerprint = 'x' where task = 'embed'")
    work(filed)
    for switch in ("switch_model", "revert_model"):
        call(filed, switch, pipeline="pages", force=True)
        filed.execute("update contracts set file = %s", (switch.encode(),))
        parse_all(filed)
        assert status(filed) == "parsed"
        work(filed)
        assert status(filed) == "embedded"
        for chunks in ("page_chunks", f"page_chunks_{'previous' if switch == 'switch_model' else 'next'}"):
            assert column(filed, f"select chunk from {chunks}") == [switch]

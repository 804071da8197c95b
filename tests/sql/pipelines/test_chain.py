"""A chain: what stands on the table of a pipeline that parses files."""

from __future__ import annotations

import psycopg

from tests.support.pages import contracts, parse_all, parse_jobs, store_pages
from tests.support.prepared import prepared
from tests.support.sql import call, claim, create_pipeline, fail, value, work
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

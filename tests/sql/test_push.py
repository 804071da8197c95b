"""set_push() and process_embeddings(): what is posted, from which lanes, and what is said of what is missing."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.pg_net_standin import install
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    BACKFILL,
    FRESH,
    call,
    claim,
    column,
    create_pipeline,
    let_leases_run_out,
    make_documents,
    rows,
    store,
    value,
    work,
)

URL = "http://127.0.0.1:8432/functions/v1/embed"
POSTED = (
    "delete from net.http_request_queue returning url, headers, convert_from(body, 'UTF8')::jsonb, timeout_milliseconds"
)


@pytest.fixture
def pushed(connection: psycopg.Connection) -> psycopg.Connection:
    """The stand-in of pg_net, a URL to post to, and a pipeline with nothing queued."""
    install(connection)
    call(connection, "set_push", url=URL, token="a-token-of-one's-own")
    make_documents(connection)
    create_pipeline(connection)
    return connection


def posted(connection: psycopg.Connection) -> list[list[dict[str, Any]]]:
    """The batches that were posted."""
    return column(connection, "delete from net.http_request_queue returning convert_from(body, 'UTF8')::jsonb")


def test_what_is_posted_is_the_guides_job_and_more(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (7, 'text')")
    assert call(pushed, "process_embeddings", timeout_milliseconds=60_000) == 1
    assert rows(pushed, POSTED) == [
        (
            URL,
            {"Content-Type": "application/json", "Authorization": "Bearer a-token-of-one's-own"},
            [
                {
                    "jobId": 1,
                    "queue": "pgembedd_jobs",
                    "readCt": 1,
                    "id": 7,
                    "schema": "public",
                    "table": "documents",
                    "embeddingColumn": "embedding",
                    "pipeline": 1,
                }
            ],
            60_000,
        )
    ]
    assert value(pushed, "select vt between now() + '55 s' and now() + '65 s' from pgmq.q_pgembedd_jobs")
    assert call(pushed, "process_embeddings") == 0
    assert posted(pushed) == []


def test_batches_and_a_quarter_for_the_backfill(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) select i, 'text' from generate_series(1, 30) i")
    pushed.execute("select pgembedd.backfill('documents', force => true)")
    assert call(pushed, "process_embeddings", batch_size=4, max_requests=5) == 20
    batches = posted(pushed)
    assert [len(batch) for batch in batches] == [4] * 5
    queues = [job["queue"] for batch in batches for job in batch]
    assert (queues.count(FRESH), queues.count(BACKFILL)) == (15, 5)
    assert (
        call(pushed, "process_embeddings", batch_size=20, max_requests=4) == 40
    )  # what one leaves over is the other's


def test_posts_that_nobody_gets_blame_nobody(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    for _ in range(5):
        call(pushed, "process_embeddings")
        let_leases_run_out(pushed)
    (job,) = claim(pushed)
    assert (job.read_ct, job.suspect) == (6, False)
    assert store(pushed, [job]) == ["written"]


def test_a_paused_pipeline_is_not_posted(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    call(pushed, "pause", name="documents")
    assert call(pushed, "process_embeddings") == 0
    call(pushed, "resume", name="documents")
    assert call(pushed, "process_embeddings") == 1


def test_a_pushed_claim_is_fenced_against_its_read(pushed: psycopg.Connection) -> None:
    """The read that posted the message holds no claim any more, and a second delivery gets no job."""
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    call(pushed, "process_embeddings")
    (batch,) = posted(pushed)
    take = "select state, reason, read_ct from pgembedd.claim_pushed(%s::jsonb, 60) order by n nulls first"
    assert rows(pushed, take, json.dumps(batch)) == [("claimed", None, 2), ("claimed", None, None)]
    assert rows(pushed, take, json.dumps(batch)) == [("failed", "Another request or worker has claimed it.", None)]
    del batch[0]["readCt"]
    assert rows(pushed, take, json.dumps(batch)) == [("failed", "Another request or worker has claimed it.", None)]
    let_leases_run_out(pushed)
    assert rows(pushed, take, json.dumps(batch))[0] == ("claimed", None, 3)
    assert work(pushed) == {}


REFUSALS = {
    "no URL": ("select pgembedd.process_embeddings()", "There is no URL to push jobs to"),
    "a word": ("select pgembedd.set_push('localhost')", "is not the URL of an endpoint"),
    "a password": ("select pgembedd.set_push('http://me:secret@host/')", "The URL holds a password"),
    "two lines": (r"select pgembedd.set_push('http://host/', E'a\r\nX: b')", "no header may have"),
    "a schedule": ("select pgembedd.set_push('http://host/', every => '90 seconds')", "is no schedule of pg_cron"),
}


def test_what_cannot_be_meant_is_refused(connection: psycopg.Connection) -> None:
    for statement, sentence in REFUSALS.values():
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=sentence):
            connection.execute(statement.encode())
    assert value(connection, "select count(*) from pgembedd.push") == 0


def test_it_says_what_is_missing(connection: psycopg.Connection) -> None:
    assert "neither pg_net nor pg_cron is in this database" in call(connection, "set_push", url=URL)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="pg_net is not installed in this database"):
        call(connection, "process_embeddings")
    install(connection)
    assert "pg_cron is not in this database" in call(connection, "set_push", url=URL)
    assert call(connection, "set_push", url=None) == "Nothing is pushed."


def test_a_schema_of_that_name_is_not_pg_net(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    """pg_cron runs its jobs as our owner, so it must not run code of a role that may create a schema."""
    stranger = roles.make("stranger")
    connection.execute(f"grant create on database {database.name} to {stranger}".encode())
    with connect_as(database, stranger) as theirs:
        install(theirs)
    call(connection, "set_push", url=URL)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="pg_net is not installed"):
        call(connection, "process_embeddings")


def test_without_triggers_nothing_is_attached(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    assert create_pipeline(connection, triggers=False) == 1
    assert value(connection, "select count(*) from pg_trigger where not tgisinternal") == 0
    connection.execute("select pgembedd.sweep(), pgembedd.pause('documents'), pgembedd.resume('documents')")
    assert value(connection, "select count(*) from pg_trigger where not tgisinternal") == 0
    call(connection, "change_model", name="documents", dimensions=4)
    assert value(connection, "select bool_or(triggers) from pgembedd.status") is False
    for option in ({"on_update": "clear"}, {"enable_always": True}):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="is done by triggers"):
            create_pipeline(connection, name="other", embedding_column="other", triggers=False, **option)

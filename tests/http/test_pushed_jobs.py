"""Jobs that our own SQL posts, through the stand-in of pg_net, to a real port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import insert, make_documents, missing, stale, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import PLAIN, TOKEN, posting, serving
from tests.support.pg_net_standin import carry, install
from tests.support.sql import call, claim, column, let_leases_run_out, value
from tests.support.waiting import PATIENCE_S

PATH = "/functions/v1/embed"


@pytest.fixture
def client(database: Database, model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), database.conninfo) as opened:
        yield opened


def posted(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The jobs as process_embeddings() posts them, under a lease of five minutes."""
    return column(connection, "select j from pgembedd_internal._claim_for_push(100, 300) j order by j -> 'jobId'")


def errors(answer: httpx.Response) -> dict[int, str]:
    """The sentences, by jobId."""
    return {job["jobId"]: job["error"] for job in answer.json()["failedJobs"]}


@pytest.mark.slow
def test_our_own_schedule_posts_both_lanes(database: Database, connection: psycopg.Connection, model: Session) -> None:
    install(connection)
    make_documents(connection)
    with serving(only(model), database.conninfo, http_token=TOKEN) as client:
        call(connection, "set_push", url=f"{client.base_url.join(PATH)}", token=TOKEN)
        assert call(connection, "process_embeddings") == 0
        insert(connection, range(1, 6))
        connection.execute("insert into documents values (6, ' '), (7, 'short-lived')")
        connection.execute("delete from documents where id = 7")
        connection.execute("select pgembedd.backfill('documents', force => true)")
        assert call(connection, "process_embeddings", batch_size=8) == 13
        with httpx.Client(trust_env=False, verify=PLAIN) as carrier:
            carry(connection, carrier)
    assert column(connection, "select status_code from net._http_response") == [200, 200]
    assert missing(connection) == [6]
    assert stale(connection, model) == [6]
    assert waiting(connection) == []
    assert value(connection, "select blank from pgembedd.status") == 1


@pytest.mark.slow
def test_one_bad_row_fails_alone_and_its_attempt_counts(
    connection: psycopg.Connection, client: httpx.Client, log: list[EventDict]
) -> None:
    make_documents_with(connection)
    insert(connection, range(1, 6), text="secret")
    answer = client.post(PATH, json=posted(connection))
    assert (answer.status_code, answer.headers["x-completed-jobs"], answer.headers["x-failed-jobs"]) == (207, "4", "1")
    assert list(errors(answer).values()) == ["It failed (content); it waits for its next attempt."]
    assert "secret" not in answer.text + json.dumps(log, default=str)
    assert missing(connection) == [3]
    ((job),) = waiting(connection)
    assert (job.id, job.attempts, job.reasons) == (3, 1, ("content",))
    again = client.post(PATH, json=[{**answer.json()["failedJobs"][0]}])
    assert list(errors(again).values()) == ["It waits in the queue for its next attempt."]
    connection.execute("update pgembedd_internal.pipeline set max_attempts = 2")
    let_leases_run_out(connection)
    last = client.post(PATH, json=posted(connection))
    assert list(errors(last).values()) == ["It failed for good (content): see pgembedd.dead_letters."]
    late = client.post(PATH, json=last.json()["failedJobs"])
    assert list(errors(late).values()) == ["It failed for good: see pgembedd.dead_letters."]


def make_documents_with(connection: psycopg.Connection) -> None:
    """`documents` with a content function that fails of bodies that end with 3."""
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute("""
        create function content_of(d documents) returns text language plpgsql as $$
        begin
            if d.body like '%3' then raise exception 'Cannot use %', d.body; end if;
            return d.body;
        end $$""")
    call(
        connection,
        "create_pipeline",
        pipeline="documents",
        source="documents",
        content_function="content_of",
        model="all-MiniLM-L6-v2",
    )


def test_what_is_posted_is_not_believed(connection: psycopg.Connection, client: httpx.Client) -> None:
    make_documents(connection)
    insert(connection, range(1, 7))
    jobs = posted(connection)
    jobs[0]["id"] = 2
    jobs[1]["pipeline"] = 2
    jobs[2]["queue"] = "somebody_elses"
    jobs[3]["embeddingColumn"] = "embedding"  # no field of ours
    strange = [{"pipeline": 1, **job} for job in ({"id": 1}, {"jobId": "6"}, {"jobId": 1.5}, {"jobId": 10**30})]
    answer = client.post(PATH, json=[*jobs, "no job\0", *strange, {**jobs[5], "readCt": -1}])
    assert answer.status_code == 207
    assert [job["id"] for job in answer.json()["completedJobs"]] == [4, 5, 6]
    sentences = [job["error"] for job in answer.json()["failedJobs"]]
    assert sentences == [
        "The message of this jobId is about something else than what was posted.",
        "The message of this jobId is about something else than what was posted.",
        "This is no job: its queue is none of pgembedd_fresh and pgembedd_backfill.",
        *["This is no job: it has no jobId, or one that is no whole number."] * 5,
        "This is no job: it has no readCt, or one that is no whole number.",
    ]
    assert missing(connection) == [1, 2, 3]
    assert [(job.read_ct, job.attempts) for job in waiting(connection)] == [(1, 0)] * 3


def test_a_job_that_somebody_claimed_since_is_not_taken_from_them(
    connection: psycopg.Connection, client: httpx.Client
) -> None:
    make_documents(connection)
    insert(connection, [1])
    (job,) = posted(connection)
    let_leases_run_out(connection)
    assert len(claim(connection, lease_s=600)) == 1
    answer = client.post(PATH, json=[job])
    assert list(errors(answer).values()) == ["Another request or worker has claimed it."]
    assert [(each.read_ct, each.deferrals) for each in waiting(connection)] == [(2, 1)]


def test_a_delivery_that_comes_twice_is_worked_once(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, [1])
    jobs = posted(connection)
    gate = Gate()
    with (
        serving(only(Wrapped(model, on_result=gate)), database.conninfo) as client,
        posting(client, PATH, jobs) as first,
    ):
        assert gate.reached.wait(PATIENCE_S)
        second = client.post(PATH, json=jobs * 2)
        assert list(errors(second).values()) == ["Another request or worker has claimed it."]
        assert second.headers["x-failed-jobs"] == "2"
        gate.open()
        assert first().headers["x-completed-jobs"] == "1"
        assert client.post(PATH, json=jobs).headers["x-completed-jobs"] == "1"
    assert missing(connection) == []


@pytest.mark.slow
def test_a_paused_pipelines_jobs_wait(connection: psycopg.Connection, client: httpx.Client) -> None:
    make_documents(connection)
    insert(connection, [1])
    jobs = posted(connection)
    call(connection, "pause", pipeline="documents")
    answer = client.post(PATH, json=jobs)
    assert list(errors(answer).values()) == [
        "Its pipeline does not run; the job waits in the queue for pgembedd.resume()."
    ]
    call(connection, "resume", pipeline="documents")
    assert client.post(PATH, json=posted(connection)).headers["x-completed-jobs"] == "1"


TYPE = {"headers": {"content-type": "application/json"}}
REFUSED: list[tuple[dict[str, Any], int]] = [
    ({"content": b"[", **TYPE}, 400),
    ({"content": b"[NaN]", **TYPE}, 400),
    ({"content": b'["\xff"]', **TYPE}, 400),
    ({"content": b"[" * 50_000, **TYPE}, 400),
    ({}, 422),
    ({"json": {"jobId": 1}}, 422),
    ({"content": b'["\\ud800"]', **TYPE}, 422),
    ({"content": b"[1e999999]", **TYPE}, 422),
    ({"content": b'[{"jobId": 1, "id": 1e400}]', **TYPE}, 422),  # which Postgres would take, and no answer could hold
    ({"json": [{}] * 2049}, 413),
    ({"content": b"[]"}, 415),
]


def test_other_bodies_are_refused(client: httpx.Client) -> None:
    for given, status in REFUSED:
        answer = client.post(PATH, **given)
        assert (answer.status_code, set(answer.json())) == (status, {"error", "message"}), answer.text
    answer = client.post(PATH, json=[])
    assert (answer.status_code, answer.json()) == (200, {"completedJobs": [], "failedJobs": []})


def test_it_needs_the_scope_jobs(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo, http_token=TOKEN) as client:
        assert client.post(PATH, json=[], headers={"authorization": "Bearer wrong"}).status_code == 401
        assert client.post(PATH, json=[]).status_code == 200

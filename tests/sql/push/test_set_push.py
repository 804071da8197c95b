"""set_push() and process_embeddings(): what is posted, from which lanes, and what is said of what is missing."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from pgembedd.database.connect import connect
from pgembedd.doctor.pipelines import check_pipelines
from tests.support.databases import Database
from tests.support.pg_net_standin import install
from tests.support.prepared import prepared
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
from tests.support.transaction import connection

__all__ = ["connection"]

TAKE = "select state, reason, (job).read_ct from pgembedd_internal.claim_pushed(%s::jsonb, 60) order by n"
URL = "http://127.0.0.1:8432/functions/v1/embed"
POSTED = (
    "delete from net.http_request_queue returning url, headers, convert_from(body, 'UTF8')::jsonb, timeout_milliseconds"
)


@prepared
def pushed(connection: psycopg.Connection) -> None:
    """The stand-in of pg_net, a URL to post to, and a pipeline with nothing queued."""
    install(connection)
    call(connection, "set_push", url=URL, token="a-token-of-one's-own")
    make_documents(connection)
    create_pipeline(connection)


def posted(connection: psycopg.Connection) -> list[list[dict[str, Any]]]:
    """The batches that were posted."""
    return column(connection, "delete from net.http_request_queue returning convert_from(body, 'UTF8')::jsonb")


def test_what_is_posted_names_the_job_and_its_read(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (7, 'text')")
    assert call(pushed, "process_embeddings", timeout_milliseconds=60_000) == 1
    assert rows(pushed, POSTED) == [
        (
            URL,
            {"Content-Type": "application/json", "Authorization": "Bearer a-token-of-one's-own"},
            [
                {
                    "jobId": 1,
                    "queue": "pgembedd_fresh",
                    "readCt": 1,
                    "id": 7,
                    "pipeline": 1,
                }
            ],
            60_000,
        )
    ]
    assert value(pushed, "select vt between now() + '55 s' and now() + '65 s' from pgmq.q_pgembedd_fresh")
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


def test_a_tick_posts_the_jobs_of_a_batch(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) select i, 'text' from generate_series(1, 250) i")
    assert call(pushed, "process_embeddings") == 100
    call(pushed, "set_push", url=URL, batch_size=25)
    assert call(pushed, "process_embeddings") == 25
    assert [len(batch) for batch in posted(pushed)] == [10] * 12 + [5]
    assert call(pushed, "process_embeddings", batch_size=4, max_requests=2) == 8


ANSWERED = "insert into net._http_response (id, status_code, timed_out, error_msg) values (%s, %s, %s, %s)"
PROBLEMS = {
    (200, None, None): None,
    (207, None, None): None,
    (401, None, None): "was answered with 401: the service wants another token, which set_push() takes; "
    "behind a redirect none arrives.",
    (404, None, None): "was answered with 404: this is not the path of a service, which is /functions/v1/embed.",
    (422, None, None): "was answered with 422: this is not the path of a service, which is /functions/v1/embed.",
    (502, None, None): "was answered with 502: see the log of the service.",
    (None, True, None): "had no answer in time: see whether the service runs there.",
    (None, None, "Couldn't resolve host name"): "was not sent: Couldn't resolve host name.",
}


def test_the_newest_answer_says_what_is_wrong(pushed: psycopg.Connection) -> None:
    pushed.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    for answer, problem in PROBLEMS.items():
        told: list[str] = []
        pushed.execute("insert into documents (id, title) select coalesce(max(id), 0) + 1, 'text' from documents")
        call(pushed, "process_embeddings")
        ((number,),) = rows(pushed, "delete from net.http_request_queue returning id")
        pushed.execute("select pgembedd.tick()")
        pushed.execute(ANSWERED, [number, *answer])
        pushed.execute("select pgembedd.tick()")
        expected = problem and f"The last push to {URL} {problem}"
        assert value(pushed, "select problem from pgembedd_internal.push") == expected
        assert value(pushed, "select reason from pgembedd.status") == expected
        assert told == ([expected] if expected else [])
        pushed.execute("select pgembedd.tick()")
        assert len(told) == bool(expected)  # said once
        assert value(pushed, "select requests from pgembedd_internal.push") == []
    call(pushed, "set_push", url=URL)
    assert value(pushed, "select reason from pgembedd.status") is None


def test_the_doctor_says_what_is_wrong_with_the_push(pushed: psycopg.Connection, database: Database) -> None:
    def found(about: str = "push") -> list[tuple[str, str]]:
        with connect(database.conninfo, autocommit=True) as connection:
            return [(one.level, one.text) for one in check_pipelines(connection) if one.about == about]

    assert found() == [("ok", f"jobs are posted to {URL}")]
    pushed.execute("update pgembedd_internal.push set problem = 'It is away.'")
    assert found() == [("bad", "It is away.")]
    pushed.execute("update pgembedd_internal.push set problem = null; drop table net._http_response")
    assert found() == [("note", f"jobs are posted to {URL}, and the answers cannot be read")]
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    assert ("ok", "running, 1 job waiting, 0 workers") in found('pipeline "documents"'), "it waits for the next post"
    assert call(pushed, "process_embeddings") == 1
    pushed.execute("select pgembedd.tick()")


def test_posts_that_nobody_gets_blame_nobody(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    for _ in range(5):
        call(pushed, "process_embeddings")
        let_leases_run_out(pushed)
    (job,) = claim(pushed)
    assert (job.read_ct, job.suspect) == (6, False)
    assert store(pushed, [job]) == ["written"]


def test_what_a_worker_has_claimed_is_not_taken_from_it_by_a_post(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    (job,) = claim(pushed)
    made_up = [{"jobId": job.msg_id, "queue": FRESH, "readCt": job.read_ct, "id": 1, "pipeline": 1}]
    assert rows(pushed, TAKE, json.dumps(made_up)) == [("failed", "Another request or worker has claimed it.", None)]
    assert store(pushed, [job]) == ["written"]


def test_a_paused_pipeline_is_not_posted(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    call(pushed, "pause", pipeline="documents")
    assert call(pushed, "process_embeddings") == 0
    call(pushed, "resume", pipeline="documents")
    assert call(pushed, "process_embeddings") == 1


def test_of_a_pipeline_that_no_worker_can_serve_one_job_is_posted(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) select i, 'text' from generate_series(1, 50) i")
    pushed.execute("select pgembedd_internal.note_unserved(1, 'No network.')")
    assert call(pushed, "process_embeddings") == 1
    pushed.execute("select pgembedd_internal.note_served(1)")
    assert call(pushed, "process_embeddings") == 49


def test_a_pushed_claim_is_fenced_against_its_read(pushed: psycopg.Connection) -> None:
    """The read that posted the message holds no claim any more, and a second delivery gets no job."""
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    call(pushed, "process_embeddings")
    (batch,) = posted(pushed)
    assert rows(pushed, TAKE, json.dumps(batch)) == [("claimed", None, 2)]
    assert rows(pushed, TAKE, json.dumps(batch)) == [("failed", "Another request or worker has claimed it.", None)]
    del batch[0]["readCt"]
    no_job = "This is no job: it has no readCt, or one that is no whole number."
    assert rows(pushed, TAKE, json.dumps(batch)) == [("failed", no_job, None)]
    let_leases_run_out(pushed)
    batch[0]["readCt"] = 2
    assert rows(pushed, TAKE, json.dumps(batch)) == [("claimed", None, 3)]
    assert work(pushed) == {}


def test_a_job_that_is_posted_twice_at_once_is_one(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) values (1, 'text')")
    call(pushed, "process_embeddings")
    (batch,) = posted(pushed)
    assert rows(pushed, TAKE, json.dumps(batch * 2)) == [("claimed", None, 2)] * 2


def test_what_is_released_is_due_soon_and_only_if_its_sender_holds_it(pushed: psycopg.Connection) -> None:
    pushed.execute("insert into documents (id, title) select i, 'text' from generate_series(1, 4) i")
    call(pushed, "process_embeddings")
    (batch,) = posted(pushed)
    held, claimed, failed, forged = batch
    assert rows(pushed, TAKE, json.dumps([claimed, failed])) == [("claimed", None, 2)] * 2
    call(pushed, "fail", queue=FRESH, msg_id=failed["jobId"], read_ct=2, reason="content", error="no", permanent=False)
    before = due_at(pushed)
    everything = [held, claimed, {**failed, "readCt": 2}, {**forged, "id": 5}, "no job"]
    pushed.execute("select pgembedd_internal.release_pushed(%s, 2)", [json.dumps(everything)])
    after = due_at(pushed)
    assert [after[job["jobId"]] == before[job["jobId"]] for job in batch] == [False, True, True, True]
    assert value(pushed, "select bool_or(vt < now() + '3 s') from pgmq.q_pgembedd_fresh")
    pushed.execute("select pgembedd_internal.release_pushed(%s, 1000)", [json.dumps(everything)])
    assert due_at(pushed) == after
    waits = ("failed", "It waits in the queue for its next attempt.", None)
    assert rows(pushed, TAKE, json.dumps([held])) == [waits]
    let_leases_run_out(pushed)
    assert rows(pushed, TAKE, json.dumps([held])) == [("claimed", None, 2)]


def due_at(connection: psycopg.Connection) -> dict[int, Any]:
    """The time at which each message of the fresh lane is due."""
    return dict(rows(connection, "select msg_id, vt from pgmq.q_pgembedd_fresh"))


REFUSALS = {
    "no URL": ("select pgembedd.process_embeddings()", "There is no URL to push jobs to"),
    "a word": ("select pgembedd.set_push('localhost')", "is not the URL of an endpoint"),
    "a password": ("select pgembedd.set_push('http://me:secret@host/')", "The URL holds a password"),
    "two lines": (r"select pgembedd.set_push('http://host/', E'a\r\nX: b')", "no header may have"),
    "no jobs": ("select pgembedd.set_push('http://host/', batch_size => 0)", "batch_size 0 is out of range"),
    "a schedule": ("select pgembedd.set_push('http://host/', every => '90 seconds')", "is no schedule of pg_cron"),
}


def test_what_cannot_be_meant_is_refused(connection: psycopg.Connection) -> None:
    for statement, sentence in REFUSALS.values():
        with pytest.raises(psycopg.Error, match=sentence):
            connection.execute(statement.encode())
    assert value(connection, "select count(*) from pgembedd_internal.push") == 0


def test_it_says_what_is_missing(connection: psycopg.Connection) -> None:
    assert "neither pg_net nor pg_cron is in this database" in call(connection, "set_push", url=URL)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="pg_net is not installed in this database"):
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
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="pg_net is not installed"):
        call(connection, "process_embeddings")


def test_without_triggers_nothing_is_attached(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    assert create_pipeline(connection, triggers=False) == 1
    assert value(connection, "select count(*) from pg_trigger where not tgisinternal") == 0
    connection.execute("select pgembedd.sweep(), pgembedd.pause('documents'), pgembedd.resume('documents')")
    assert value(connection, "select count(*) from pg_trigger where not tgisinternal") == 0
    call(connection, "change_model", pipeline="documents", dimensions=4)
    assert value(connection, "select bool_or(triggers) from pgembedd.status") is False
    for option in ({"on_update": "clear"}, {"enable_always": True}):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="is done by triggers"):
            create_pipeline(connection, pipeline="other", embedding_column="other", triggers=False, **option)

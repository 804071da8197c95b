"""Jobs that are pushed, and webhooks, of a pipeline whose owner's code does not end."""

from __future__ import annotations

import json

import psycopg
import pytest

from pgembedd.database.pushed_jobs import PushedJobRepository
from pgembedd.loop.pushed_request import Outcome
from pgembedd.model import Session
from tests.loop.pushing import READ, Pusher, pushing
from tests.support.databases import Database
from tests.support.documents import insert, missing, put_off_upkeep, waiting
from tests.support.embedders import MODEL, Wrapped
from tests.support.sql import let_leases_run_out, rows, value
from tests.support.waiting import eventually

OVER = "update pgembedd_internal.pipeline set slow_until = clock_timestamp() where slow_until is not null"
SLOW = """
    create table documents (id int primary key, body text);
    create function content_of(d documents) returns text language plpgsql as $$
    begin
        if d.body = 'slow 3' then perform pg_sleep(100000); end if;
        return d.body;
    end $$;
    """
PAUSES = "Its pipeline pauses, as code of its table's owner is too slow; the job waits in the queue."


def make_slow(connection: psycopg.Connection) -> None:
    """A pipeline of five rows, the third of which is never read."""
    connection.execute(SLOW)
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', content_function => 'content_of', "
        f"model => '{MODEL}', max_attempts => 1)".encode()
    )
    put_off_upkeep(connection)
    insert(connection, range(1, 6), text="slow")


def pause(connection: psycopg.Connection, pusher: Pusher) -> list[Outcome]:
    """The outcomes of all jobs in one request, of which the pipeline pauses."""
    outcomes = pusher.post().result()
    assert value(connection, "select pgembedd_internal._pauses(p) from pgembedd_internal.pipeline p")
    return outcomes


@pytest.mark.slow
def test_the_other_rows_of_a_slow_pipeline_are_done(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_slow(connection)
    with pushing(database, connection, Wrapped(model), owner_timeout_s=1.0) as pusher:
        assert {outcome.word for outcome in pause(connection, pusher)} == {"queued"}

        def is_done() -> bool:
            connection.execute(OVER)
            let_leases_run_out(connection)
            if (posted := value(connection, READ)) is not None:
                assert len(json.loads(posted)) == 1
                pusher.post(posted).result()
            return not waiting(connection)

        eventually(is_done)
    assert missing(connection) == [3]
    ((detail,),) = rows(connection, "select error from pgembedd.dead_letters")
    assert "Code of the table's owner" in detail


def test_of_a_slow_pipeline_one_posted_job_is_claimed_and_the_others_are_put_back(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_slow(connection)
    posted = value(connection, READ)
    connection.execute("select pgembedd_internal.note_slow(1, 60, 60, false)")
    with pushing(database, connection, Wrapped(model)) as pusher:
        assert {(outcome.word, outcome.sentence) for outcome in pusher.post(posted).result()} == {("failed", PAUSES)}
        assert value(connection, "select count(*) from pgmq.q_pgembedd_fresh where vt > now()") == 0
        connection.execute(OVER)
        posted = value(connection, "select jsonb_agg(j)::text from pgembedd_internal._claim_for_push(100, 300) j")
        again = json.dumps([{**json.loads(posted)[0], "jobId": 10**6}])
        assert [outcome.word for outcome in pusher.post(again).result()] == ["done"]
        assert not value(connection, "select pgembedd_internal._pauses(p) from pgembedd_internal.pipeline p"), (
            "it took no turn"
        )
        assert [outcome.word for outcome in pusher.post(posted).result()] == ["written"]


@pytest.mark.parametrize("key", ["int", "number"])
def test_a_webhook_is_queued_in_a_pause_unless_its_key_has_a_type_of_the_owner(
    database: Database, connection: psycopg.Connection, model: Session, key: str
) -> None:
    connection.execute(f"create domain number as int; create table documents (id {key} primary key, body text)")
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', array['body'], "
        f"model => '{MODEL}', triggers => false)".encode()
    )
    insert(connection, [1])
    connection.execute("select pgembedd_internal.note_slow(1, 60, 60, false)")
    change = {"type": "INSERT", "schema": "public", "table": "documents", "record": {"id": 1}}
    with pushing(database, connection, Wrapped(model)) as pusher:
        answer = pusher.claim(lambda jobs: PushedJobRepository.claim_changed(jobs, json.dumps(change)))
        if key == "int":
            assert answer.result() == [Outcome("failed", PAUSES)]
        else:
            with pytest.raises(psycopg.errors.LockNotAvailable, match="pauses"):
                answer.result()
    assert [job.id for job in waiting(connection)] == ([1] if key == "int" else [])

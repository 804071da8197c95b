"""Database webhooks: what Supabase posts of a row that changed, for tables with and without triggers of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from pgembedd.loop import pushed_jobs
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import missing, stale, waiting
from tests.support.embedders import MODEL, Gate, Wrapped, only
from tests.support.http import posting, serving
from tests.support.prepared import prepared
from tests.support.sql import LANES, call, claim, column, queued, value
from tests.support.waiting import PATIENCE_S

PATH = "/webhooks/database"

# What a webhook's trigger posts, as Supabase's does: the row images as JSON.
POSTED = """
create table posted (n bigint generated always as identity, body jsonb);
create function post_change() returns trigger language plpgsql as $$
begin
    insert into posted (body) values (jsonb_build_object(
        'type', tg_op, 'schema', tg_table_schema, 'table', tg_table_name,
        'record', case when tg_op <> 'DELETE' then to_jsonb(new) end,
        'old_record', case when tg_op <> 'INSERT' then to_jsonb(old) end));
    return null;
end $$;
"""


@pytest.fixture
def embedded() -> list[str]:
    """The texts that went through the model."""
    return []


@pytest.fixture
def client(database: Database, model: Session, embedded: list[str]) -> Iterator[httpx.Client]:
    with serving(only(Wrapped(model, on_start=embedded.extend)), database.conninfo) as opened:
        yield opened


@prepared
def hooked(connection: psycopg.Connection) -> None:
    """`documents` with a webhook and a pipeline without triggers."""
    connection.execute(POSTED)
    make(connection, "documents", "id int primary key")


def make(connection: psycopg.Connection, table: str, key: str, **options: Any) -> None:
    """A table with a webhook, and its pipeline."""
    connection.execute(f"create table {table} ({key}, body text, other int)".encode())
    hook = (
        f"create trigger hook after insert or update or delete on {table} for each row execute function post_change()"
    )
    connection.execute(hook.encode())
    given = {
        "pipeline": table.strip('"'),
        "source": table,
        "content_columns": ["body"],
        "model": MODEL,
        "triggers": False,
    }
    call(connection, "create_pipeline", **given | options)


def deliver(connection: psycopg.Connection, client: httpx.Client) -> list[list[tuple[str, str]]]:
    """Post what is to be posted, until the answers change nothing more; of each the pipelines' outcomes."""
    answers = []
    while bodies := column(connection, "delete from posted returning body"):
        for body in bodies:
            answer = client.post(PATH, json=body)
            assert answer.status_code == 200, answer.text
            answers.append([(entry["pipeline"], entry["outcome"]) for entry in answer.json()["pipelines"]])
    return answers


@pytest.mark.slow
def test_rows_are_embedded_changed_cleared_and_deleted(
    hooked: psycopg.Connection, client: httpx.Client, model: Session, embedded: list[str]
) -> None:
    hooked.execute("insert into documents values (1, 'first')")
    assert queued(hooked) == []
    # The store fires the webhook, too: that is answered by doing nothing.
    assert deliver(hooked, client) == [[("documents", "written")], [("documents", "skipped")]]
    assert stale(hooked, model) == []
    hooked.execute("update documents set body = 'second'")
    assert deliver(hooked, client) == [[("documents", "written")], [("documents", "skipped")]]
    hooked.execute("update documents set other = 1")
    assert deliver(hooked, client) == [[("documents", "skipped")]]
    assert embedded == ["first", "second"]
    hooked.execute("update documents set embedding = null")
    assert deliver(hooked, client)[0] == [("documents", "written")]
    hooked.execute("update documents set body = ' '")
    assert deliver(hooked, client)[0] == [("documents", "cleared")]
    assert missing(hooked) == [1]
    hooked.execute("update documents set id = 2, body = 'third'")
    assert sorted(deliver(hooked, client)[0]) == [("documents", "gone"), ("documents", "written")]
    hooked.execute("delete from documents")
    assert deliver(hooked, client) == [[("documents", "gone")]]
    assert waiting(hooked) == []


@pytest.mark.slow
def test_chunks_go_with_their_row(connection: psycopg.Connection, client: httpx.Client) -> None:
    connection.execute(POSTED)
    make(connection, "documents", "id int primary key", embedding_table="chunks")
    connection.execute("insert into documents values (1, 'one'), (2, 'two'), (3, 'three')")
    deliver(connection, client)
    assert column(connection, "select id from chunks order by id") == [1, 2, 3]
    connection.execute("update documents set id = 4 where id = 1")
    connection.execute("delete from documents where id = 2")
    assert [sorted(answer) for answer in deliver(connection, client)] == [
        [("documents", "gone"), ("documents", "written")],
        [("documents", "gone")],
    ]
    assert column(connection, "select id from chunks order by id") == [3, 4]
    forged = {"type": "DELETE", "schema": "public", "table": "documents", "old_record": {"id": 3}}
    assert client.post(PATH, json=forged).json() == {"pipelines": [{"pipeline": "documents", "outcome": "unchanged"}]}


KEYS = {
    "composite": ('"Key A" uuid, b timestamptz, primary key ("Key A", b)', "gen_random_uuid(), now()"),
    "domain": ("id percent primary key", "7.50"),
    "bytes": ("id bytea primary key", r"'\xff00'"),
    "range": ("id int4range primary key", "'[1,5)'"),
    "decimal": ("id numeric primary key", "0.10000000000000000000000000000000000001"),
}


@pytest.mark.parametrize(("key", "example"), KEYS.values(), ids=KEYS)
def test_any_key_becomes_the_one_that_jobs_have(
    connection: psycopg.Connection, client: httpx.Client, key: str, example: str
) -> None:
    connection.execute("set timezone = 'Asia/Tokyo'")
    connection.execute("create domain percent as numeric check (value <= 100)")
    connection.execute(POSTED)
    make(connection, '"Odd Table"', key, pipeline="odd")
    connection.execute(f"""insert into "Odd Table" select {example}, 'text'""".encode())
    body = value(connection, "delete from posted returning body::text")
    answer = client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert answer.json() == {"pipelines": [{"pipeline": "odd", "outcome": "written"}]}
    # The key is in the form that the triggers' jobs and the sweep's have.
    call(connection, "pause", pipeline="odd")
    client.post(PATH, content=body, headers={"content-type": "application/json"})
    call(connection, "resume", pipeline="odd")
    call(connection, "backfill", pipeline="odd", force=True)
    messages = [value(connection, f"select message from pgmq.q_{lane}") for lane in LANES]
    assert messages[0] == messages[1]


@pytest.mark.slow
def test_with_triggers_it_is_harmless(database: Database, connection: psycopg.Connection, client: httpx.Client) -> None:
    connection.execute(POSTED)
    make(connection, "documents", "id int primary key", triggers=True)
    connection.execute("insert into documents values (1, 'text')")
    assert queued(connection) == [1]
    assert deliver(connection, client)[0] == [("documents", "written")]
    assert [job.attempts for job in waiting(connection)] == [0]


def test_a_paused_pipeline_queues_and_says_so(hooked: psycopg.Connection, client: httpx.Client) -> None:
    call(hooked, "pause", pipeline="documents")
    hooked.execute("insert into documents values (1, 'text')")
    answer = client.post(PATH, json=value(hooked, "delete from posted returning body")).json()
    message = "Its pipeline does not run; the job waits in the queue for pgembedd.resume()."
    assert answer == {"pipelines": [{"pipeline": "documents", "outcome": "queued", "message": message}]}
    assert queued(hooked) == [1]


def test_what_fails_stays_in_the_queue_until_it_is_a_dead_letter(
    hooked: psycopg.Connection, client: httpx.Client
) -> None:
    hooked.execute("alter table documents add constraint no check (embedding is null)")
    hooked.execute("insert into documents values (1, 'secret')")
    answer = client.post(PATH, json=value(hooked, "delete from posted returning body"))
    assert answer.json()["pipelines"][0]["outcome"] == "attempt_failed"
    assert "secret" not in answer.text
    assert [(job.id, job.attempts, job.reasons) for job in waiting(hooked)] == [(1, 1, ("write",))]
    hooked.execute("update pgembedd_internal.pipeline set max_attempts = 1")
    hooked.execute("insert into documents values (2, 'secret')")
    answer = client.post(PATH, json=value(hooked, "delete from posted returning body"))
    assert answer.json()["pipelines"][0]["outcome"] == "dead_letter"
    assert "secret" not in answer.text


def test_what_finds_no_place_is_queued(
    database: Database, hooked: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_jobs, "MAX_WAITING", 0)
    hooked.execute("insert into documents values (1, 'one'), (2, 'two')")
    first, second = column(hooked, "delete from posted returning body")
    gate = Gate()
    embedder = Wrapped(model, on_result=gate)
    with (
        serving(only(embedder), database.conninfo, http_push_at_once=1) as client,
        posting(client, PATH, first) as answer,
    ):
        assert gate.reached.wait(PATIENCE_S)
        assert client.post(PATH, json=second).json() == {"pipelines": [{"pipeline": "documents", "outcome": "queued"}]}
        assert client.post("/functions/v1/embed", json=[{"jobId": 5, "pipeline": 1}]).status_code == 503
        gate.open()
        assert answer().json() == {"pipelines": [{"pipeline": "documents", "outcome": "written"}]}
    assert queued(hooked) == [2]
    assert len(claim(hooked)) == 1


def test_the_sweep_finds_what_no_webhook_told(hooked: psycopg.Connection) -> None:
    hooked.execute("insert into documents values (1, 'text')")
    assert value(hooked, "select pgembedd.sweep()") == 1


@pytest.mark.slow
def test_whatever_a_domain_says_of_a_key_stays_here(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    connection.execute(
        "create function judged(i int) returns bool language plpgsql as "
        "$$ begin if i > 9 then raise no_data_found using message = 'secret'; end if; "
        "if i > 8 then raise serialization_failure; end if; return true; end $$; "
        "create domain small as int check (judged(value))"
    )
    connection.execute("create table documents (id small primary key, body text)")
    call(connection, "create_pipeline", pipeline="documents", source="documents", model=MODEL, content_columns=["body"])
    with serving(only(model), database.conninfo) as client:
        refused = client.post(PATH, json={**CHANGE, "type": "INSERT", "record": {"id": 10}})
    assert refused.status_code == 422
    assert "secret" not in refused.text
    for timeout_s in (1.0, 30.0):  # tried again until then, or until it is taken for a user's own error
        with serving(only(model), database.conninfo, http_push_timeout_s=timeout_s) as client:
            assert client.post(PATH, json={**CHANGE, "type": "INSERT", "record": {"id": 9}}).status_code == 503


ROW = {"id": 1, "body": "text"}
CHANGE = {"schema": "public", "table": "documents"}
REFUSED: dict[str, tuple[Any, int, str]] = {
    "no object": ([], 422, "is not an object"),
    "no table": ({"type": "INSERT", "record": ROW}, 422, "does not name its table"),
    "another type": ({**CHANGE, "type": "TRUNCATE"}, 422, "none of INSERT, UPDATE and DELETE"),
    "no record": ({**CHANGE, "type": "INSERT", "record": None}, 422, 'has "record"'),
    "no old record": ({**CHANGE, "type": "UPDATE", "record": ROW}, 422, 'has "old_record"'),
    "no key": (
        {**CHANGE, "type": "INSERT", "record": {"body": "secret"}},
        422,
        'has no "id", which is in the primary key',
    ),
    "no such key": (
        {**CHANGE, "type": "INSERT", "record": {"id": "secret"}},
        422,
        "has a key that no row of public.documents",
    ),
    "no pipeline": (
        {**CHANGE, "type": "INSERT", "record": ROW, "table": "posted"},
        404,
        "No pipeline embeds this table",
    ),
    "no such table": (
        {**CHANGE, "type": "INSERT", "record": ROW, "schema": "no"},
        404,
        "No pipeline embeds this table",
    ),
}


def test_other_bodies_are_refused(hooked: psycopg.Connection, client: httpx.Client) -> None:
    for name, (body, status, sentence) in REFUSED.items():
        answer = client.post(PATH, json=body)
        assert (answer.status_code, sentence in answer.json()["message"]) == (status, True), (name, answer.text)
        assert "secret" not in answer.text
    assert queued(hooked) == []

"""Requests with posted jobs take turns with each other and with the queue, and wake the worker; a suspect waits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from pgembedd.loop import claimer, pushed_jobs
from pgembedd.loop.pushed_request import BusyError, Outcome
from pgembedd.model import Session
from tests.loop.pushing import EACH, READ, pushing
from tests.support.databases import Database
from tests.support.documents import insert, make_documents, missing
from tests.support.embedders import Gate, Wrapped
from tests.support.prepared import prepared
from tests.support.sql import call, column, let_leases_run_out, value
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.usefixtures("documents")


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A pipeline without rows."""
    make_documents(connection)


def test_more_than_there_is_room_for_has_to_come_again(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_jobs, "MAX_WAITING", 1)
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate), http={"http_push_at_once": 1}) as pusher:
        first = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        insert(connection, [2, 3])
        second = pusher.post()
        eventually(lambda: len(pusher.pushed._requests) == 2)  # the second waits for its turn
        assert isinstance(pusher.post("[]").exception(), BusyError)
        gate.open()
        assert first.result() == [Outcome("written")]
        assert second.result() == [Outcome("written"), Outcome("written")]
    assert pusher.pushed._by_job == {}


def test_requests_take_turns(database: Database, connection: psycopg.Connection, model: Session) -> None:
    insert(connection, range(1, 4))
    order, gate = list[str](), Gate()
    with pushing(database, connection, Wrapped(model, on_start=order.extend, on_result=gate)) as pusher:
        first = pusher.post_each()
        pusher.await_in_flight(2)
        insert(connection, range(4, 7))
        second = pusher.post_each()
        eventually(lambda: len(pusher.pushed._requests) == 2)
        gate.open()
        assert first.result() == second.result() == [Outcome("written")] * 3
    assert order == [f"text {number}" for number in (1, 2, 4, 5, 3, 6)]


@pytest.mark.parametrize("role", ["serve", "listen", "poll"])
def test_a_request_wakes_the_worker(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setattr(claimer, "STOP_CHECK_S", 2 * PATIENCE_S)
    settings: dict[str, Any] = {"wait": "poll"} if role == "poll" else {"poll_max_s": 2 * PATIENCE_S}
    if role == "listen":  # the pause between two looks of a lane that polls is not ended by requests
        monkeypatch.setattr(claimer, "FIRST_PAUSE_S", 2 * PATIENCE_S)
    insert(connection, range(3))
    parts = column(connection, EACH)
    with pushing(database, connection, Wrapped(model), pulls=role != "serve", **settings) as pusher:
        for part in parts:
            assert pusher.post(part).result(PATIENCE_S) == [Outcome("written")]


def test_a_request_that_ends_wakes_the_worker_for_the_next(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer, "STOP_CHECK_S", 2 * PATIENCE_S)
    insert(connection, range(3))
    parts = column(connection, EACH)
    with pushing(database, connection, Wrapped(model), http={"http_push_at_once": 1}) as pusher:
        answers = [pusher.post(part) for part in parts]
        assert [answer.result(PATIENCE_S) for answer in answers] == [[Outcome("written")]] * 3


@pytest.mark.slow
def test_requests_and_the_queue_take_turns(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection, "others")
    insert(connection, range(6))
    parts = column(connection, EACH)
    insert(connection, range(40), "others", "other")
    order, gate = list[str](), Gate()
    embedder = Wrapped(model, on_start=lambda texts: order.append(texts[0].split()[0]), on_result=gate)
    with pushing(database, connection, embedder, pulls=True, claim_size=4) as pusher:
        eventually(lambda: len(order) == 2)
        answer = pusher.post(*parts)
        eventually(lambda: len(pusher.pushed._requests) == 1)
        gate.open()
        assert answer.result() == [Outcome("written")] * 6
        eventually(lambda: missing(connection, "others") == [])
    pushed = [number for number, kind in enumerate(order) if kind == "text"]
    assert [later - earlier for earlier, later in pairwise(pushed)] == [2] * 5


def test_a_suspect_is_worked_alone_and_lost_posts_make_none(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    connection.execute("update documents set body = 'suspect' where id = 1")
    connection.execute("delete from pgmq.q_pgembedd_fresh where msg_id = 1")
    for _ in range(5):  # posts that were never received
        connection.execute(READ.encode())
        let_leases_run_out(connection)
    for _ in range(2):  # requests that died in the middle of it
        take = "select count(*) filter (where (job).suspect) from pgembedd_internal.claim_pushed(%s::jsonb, 60)"
        assert value(connection, take, value(connection, READ)) == 0
        let_leases_run_out(connection)
    gate, order = Gate(), list[str]()

    def hold(texts: Sequence[str]) -> None:
        if texts[0] != "suspect":
            gate(texts)

    insert(connection, [2])
    call(connection, "backfill", pipeline="documents", force=True)
    connection.execute("delete from pgmq.q_pgembedd_backfill where message ->> 'id' <> '2'")
    embedder = Wrapped(model, on_start=order.extend, on_result=hold)
    with pushing(database, connection, embedder, vector_cache_mb=0) as pusher:
        alone = pusher.post()  # the suspect, with two others from both queues
        pusher.await_in_flight(3)
        assert gate.reached.wait(PATIENCE_S)
        gate.open()
        assert [outcome.done for outcome in alone.result()] == [True] * 3
    assert order == ["text 2", "text 2", "suspect"]

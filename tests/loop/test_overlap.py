"""Claim, embed and store overlap, and what a claim costs the database does not grow with it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from pgembedd.database.connection import Connection
from pgembedd.database.listener import Waker
from pgembedd.database.records import FRESH, Due
from pgembedd.database.sessions import Sessions
from pgembedd.loop.claimer import Claimer
from pgembedd.loop.embedding import Embedding
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.lane import Lane
from pgembedd.loop.lane_watch import Watch
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.role import Role
from pgembedd.loop.storer import Storer
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.vector_cache import VectorCache
from tests.support.databases import Database
from tests.support.documents import await_quiet, backends, insert, make_documents, stale
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, brisk, worker_thread

CLAIMS = 6


def test_the_model_has_the_next_claim_before_it_gives_up_the_last(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """No claim's vectors come out before the next claim's texts have gone in, as long as there is one."""
    make_documents(connection)
    insert(connection, range(CLAIMS * 4))
    started = 0
    finished = 0
    changed = threading.Condition()

    def start(texts: Sequence[str]) -> None:
        nonlocal started
        with changed:
            started += 1
            changed.notify_all()

    def result(texts: Sequence[str]) -> None:
        nonlocal finished
        with changed:
            finished += 1
            ahead = min(finished + 1, CLAIMS)
            assert changed.wait_for(lambda: started >= ahead, 30), "the model is idle, and there is work"

    with worker_thread(database, only(Wrapped(model, start, result)), claim_size=4):
        await_quiet(connection)
    assert (started, finished) == (CLAIMS, CLAIMS)
    assert stale(connection, model) == []


def test_a_claim_goes_into_the_model_while_the_last_is_being_stored(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """A trigger of the user's holds the first store up until another claim has gone into the model."""
    make_documents(connection)
    connection.execute(
        "create function hold() returns trigger language plpgsql as "
        "$$ begin perform pg_advisory_xact_lock(1); return new; end $$;"
        "create trigger hold before update on documents for each row execute function hold()"
    )
    insert(connection, range(4))
    claims = threading.Semaphore(0)
    with database.connect(autocommit=False) as user:
        user.execute("select pg_advisory_xact_lock(1)")
        with worker_thread(database, only(Wrapped(model, on_start=lambda _texts: claims.release())), claim_size=4):
            assert claims.acquire(timeout=PATIENCE_S)
            eventually(lambda: backends(connection, "wait_event = 'advisory'"))
            insert(connection, range(4, 8))
            assert claims.acquire(timeout=PATIENCE_S), "the next claim waits for the store"
            user.commit()
            await_quiet(connection)


def test_equal_texts_of_a_claim_are_embedded_once(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_documents(connection)
    connection.execute("insert into documents select i, 'text ' || i % 2 from generate_series(1, 8) i")
    encoded: list[str] = []
    encode = model._encode_all

    def recording(texts: Sequence[Any], kind: Any) -> Any:
        encoded.extend(texts)
        return encode(texts, kind)

    with monkeypatch.context() as patch:
        patch.setattr(model, "_encode_all", recording)
        with worker_thread(database, only(Wrapped(model))):
            await_quiet(connection)
    assert sorted(encoded) == ["text 0", "text 1"]
    assert stale(connection, model) == []


class Counting(psycopg.Cursor[Any]):
    """A cursor that counts what it is asked to execute."""

    executed = 0

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        type(self).executed += 1
        return super().execute(*args, **kwargs)


class Stages:
    """What takes a job from its claim to its acknowledgement, over one connection and without threads."""

    def __init__(self, database: Database, model: Session, share: FairShare) -> None:
        self.connection = Connection(Sessions(database.conninfo, "test"), threading.Event())
        registry = ModelRegistry(only(Wrapped(model)))
        registry.get(MODEL)
        self.lane = Lane(
            FRESH, brisk(), Role(), Embedding(PinnedModels(registry), VectorCache(0)), InFlight(), share=share
        )
        waker, self.backfill = Waker(threading.Event()), Waker(threading.Event())
        self.watch = Watch(self.backfill)
        self.claimer = Claimer(self.lane, self.connection, lambda: False, waker, self.watch)
        self.storer = Storer(self.lane, self.connection)


@pytest.mark.slow
def test_the_statements_of_a_claim_are_a_constant(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """From claim to acknowledgement: a look at what is due, claim, read, store; after the last two a cleaning."""
    make_documents(connection)
    stages = Stages(database, model, FairShare(1000))
    insert(connection, [0])
    counts: list[int] = []
    for size in (1, 1, 300):
        if counts:
            insert(connection, range(size * 1000, size * 1000 + size))
        stages.connection.call(lambda session: setattr(session, "cursor_factory", Counting))
        Counting.executed = 0
        assert stages.claimer.claim_due()
        batch = stages.lane.batches.get_nowait()
        assert batch is not None
        assert len(batch.jobs) == size
        stages.storer.store(batch)
        counts.append(Counting.executed)
        connection.execute("delete from documents")
    stages.connection.close()
    assert counts[1:] == [6, 6], "the first claim also pins the model"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["read", "store"])
def test_a_pipeline_whose_table_is_locked_is_left_out_for_a_while(
    database: Database, connection: psycopg.Connection, model: Session, stage: str
) -> None:
    """Each of its claims waits two seconds."""
    make_documents(connection)
    insert(connection, range(4))
    share = FairShare(4)
    other = Due(2, FRESH)
    share.stored(other, 4, 0.1)
    stages = Stages(database, model, share)
    with database.connect(autocommit=False) as user:
        if stage == "read":
            user.execute("lock table documents in access exclusive mode")
        assert stages.claimer.claim_due()
        if stage == "store":
            user.execute("lock table documents in access exclusive mode")
            batch = stages.lane.batches.get_nowait()
            assert batch is not None
            stages.storer.store(batch)
        user.rollback()
    stages.connection.close()
    assert len(stages.lane.in_flight) == 0
    assert share.left_out() == [1]
    assert share.next([Due(1, FRESH)]) is None
    assert share.next([Due(1, FRESH), other]) == other


def test_the_backfill_lane_sleeps_only_while_all_that_is_its_own_is_looked_at(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """The fresh lane does not look at pipelines that it leaves out, nor beyond fresh jobs that others hold."""
    make_documents(connection)
    share = FairShare(4)
    share.stored(Due(2, FRESH), 4, 0.1)
    stages = Stages(database, model, share)

    def watches() -> bool:
        return stages.watch.watches

    assert not stages.claimer.claim_due()
    assert watches()
    share.released(Due(1, FRESH), 4, 1.0)
    assert not stages.claimer.claim_due()
    assert not watches()
    assert stages.backfill.wait(0.0)
    share.stored(Due(1, FRESH), 4, 0.1)
    assert not stages.claimer.claim_due()
    assert watches()
    insert(connection, [1])
    with database.connect(autocommit=False) as other:
        other.execute("select from pgmq.q_pgembedd_fresh for update")
        assert not stages.claimer.claim_due()
        other.rollback()
    assert not watches()
    assert stages.backfill.wait(0.0)
    stages.connection.close()

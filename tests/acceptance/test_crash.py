"""Workers that are killed again and again: nothing is lost, nothing stale.

This is the short form of tests/faults, in the default suite and with the real model.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_quiet, make_documents, stale, waiting
from tests.support.sql import value
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, WorkerProcess

ROWS, KILLS = 120, 3
# The workers are hardly ever idle, for a kill must find something: what comes in at a time keeps the model for longer
# than the next takes to come. It sleeps over it rather than compute, which would keep the next worker from its start.
BURST, EVERY_S = 4, 0.08
BUSY = {"MODEL_FAULT": "slow:0.1", "PGEMBEDD_LEASE_S": "3", "PGEMBEDD_CLAIM_SIZE": "8"}
SHORT_WORDS, CHUNKED_WORDS, CHUNK_TOKENS = 8, 50, 48


def busy_worker(database: Database) -> WorkerProcess:
    return WorkerProcess(database.conninfo, module="tests.support.faulty_model_worker", **BUSY)


def text(seed: random.Random) -> str:
    """A body unlike all others."""
    words = ("river", "stone", "bread", "engine", "winter", "music", "letter", "garden", "copper", "window")
    return " ".join(f"{seed.choice(words)} {seed.randrange(10_000)}" for _ in range(4))


def write(database: Database, stopping: threading.Event) -> None:
    """Inserts the rows and updates them at random until it is stopped, a burst to a statement, each a transaction."""
    seed = random.Random(7)
    key = 0
    with database.connect() as connection:
        while key < ROWS or not stopping.is_set():
            keys = range(key, key + BURST) if key < ROWS else seed.sample(range(ROWS), BURST)
            connection.execute(
                "insert into documents (id, body) select * from unnest(%s::bigint[], %s::text[]) "
                "on conflict (id) do update set body = excluded.body",
                (list(keys), [text(seed) for _ in keys]),
            )
            key += BURST
            stopping.wait(EVERY_S)


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """Writes meanwhile."""
    stopping = threading.Event()
    thread = threading.Thread(target=write, args=(database, stopping), name="writer")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def held(connection: psycopg.Connection) -> int:
    """Counts the claimed jobs without an outcome."""
    return sum(job.unrecorded > 0 for job in waiting(connection))


def test_workers_killed_again_and_again(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    with writing(database):
        workers = kill_workers(database, connection)
    with workers[0], workers[1]:
        await_quiet(connection, timeout_s=240)
    assert value(connection, "select count(*) from documents") == ROWS
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


def kill_workers(database: Database, connection: psycopg.Connection) -> list[WorkerProcess]:
    """Kills two workers in the middle of their work, one after the other, and returns those in their places."""
    seed = random.Random(11)
    struck = 0
    workers = [busy_worker(database), busy_worker(database)]
    try:
        for kill in range(KILLS):
            victim = workers[kill % 2]
            victim.await_event("worker_started")
            eventually(lambda: held(connection) > 0, timeout_s=PATIENCE_S)
            time.sleep(seed.uniform(0, 0.3))  # anywhere in its work: this is the point, not a wait
            victim.kill()
            struck += held(connection) > 0
            workers[kill % 2] = busy_worker(database)
        assert struck > 0, "the kills found nothing to interrupt"
    except BaseException:
        for each in workers:
            each.__exit__()
        raise
    return workers

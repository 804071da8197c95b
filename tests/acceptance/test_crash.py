"""Workers that are killed again and again, and a server that crashes under them: nothing is lost, nothing stale."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.support.databases import Database, fresh_database, initialized, open_directory
from tests.support.documents import await_quiet, make_documents, stale, waiting
from tests.support.sql import rows, value
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, WorkerProcess

ROWS = 120
KILLS, MANY_KILLS = 3, 6
# The workers are hardly ever idle, for a kill must find something: what comes in at a time keeps the model for longer
# than the next takes to come. It sleeps over it rather than compute, which would keep the next worker from its start.
BURST, EVERY_S = 4, 0.08
BUSY = {"MODEL_FAULT": "slow:0.1", "PGEMBEDD_LEASE_S": "3", "PGEMBEDD_CLAIM_SIZE": "8"}
SHORT_WORDS, CHUNKED_WORDS, CHUNK_TOKENS = 8, 50, 48


def busy_worker(database: Database) -> WorkerProcess:
    return WorkerProcess(database.conninfo, module="tests.support.faulty_model_worker", **BUSY)


def text(seed: random.Random, length_words: int) -> str:
    """A body unlike all others."""
    words = ("river", "stone", "bread", "engine", "winter", "music", "letter", "garden", "copper", "window")
    return " ".join(f"{seed.choice(words)} {seed.randrange(10_000)}" for _ in range(length_words // 2))


@dataclass
class Writer:
    """Inserts the rows and updates them at random until it is stopped, a burst to a statement, each a transaction."""

    connect: Callable[[], psycopg.Connection]
    length_words: int = SHORT_WORDS
    stopping: threading.Event = field(default_factory=threading.Event)
    written: int = 0

    def run(self) -> None:
        """Runs in a thread. A server that went away is waited for: the statement is done again."""
        seed = random.Random(7)
        key = 0
        while key < ROWS or not self.stopping.is_set():
            try:
                with self.connect() as connection:
                    while key < ROWS or not self.stopping.is_set():
                        keys = range(key, key + BURST) if key < ROWS else seed.sample(range(ROWS), BURST)
                        connection.execute(
                            "insert into documents (id, body) select * from unnest(%s::bigint[], %s::text[]) "
                            "on conflict (id) do update set body = excluded.body",
                            (list(keys), [text(seed, self.length_words) for _ in keys]),
                        )
                        key, self.written = key + BURST, self.written + BURST
                        self.stopping.wait(EVERY_S)
            except psycopg.OperationalError:
                time.sleep(0.05)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Writes meanwhile."""
        thread = threading.Thread(target=self.run, name="writer")
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def held(connection: psycopg.Connection) -> int:
    """Counts the claimed jobs without an outcome."""
    return sum(job.unrecorded > 0 for job in waiting(connection))


def wrong_chunks(connection: psycopg.Connection, model: Session) -> list[int]:
    """Ids whose chunks, or their vectors, are not those of the row as it is; also of rows that are gone."""
    stored: dict[int, list[tuple[str, list[float]]]] = {}
    for key, chunk, embedding in rows(
        connection, "select id, chunk, embedding::text from chunks order by id, chunk_no"
    ):
        stored.setdefault(key, []).append((chunk, json.loads(embedding)))
    bodies: dict[int, str] = dict(rows(connection, "select id, body from documents"))
    return [key for key in stored.keys() | bodies.keys() if not right(stored.get(key, []), bodies.get(key, ""), model)]


def right(chunks: list[tuple[str, list[float]]], body: str, model: Session) -> bool:
    """Tells that they are the chunks of that body, with their vectors."""
    texts = [chunk.text for chunk in model.split(body, tokens=CHUNK_TOKENS, overlap=0, markdown=False)]
    if [text for text, _ in chunks] != texts:
        return False
    have = np.array([vector for _, vector in chunks])
    return bool((np.einsum("ij,ij->i", have, model.embed(texts).vectors) > 0.9995).all())


@pytest.mark.parametrize("kills", [KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.slow)])
def test_workers_killed_again_and_again(
    database: Database, connection: psycopg.Connection, model: Session, kills: int
) -> None:
    make_documents(connection)
    kill_workers(database, connection, kills)
    assert value(connection, "select count(*) from documents") == ROWS
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.failures") == 0


@pytest.mark.slow
def test_workers_killed_while_they_write_chunks_of_rows_that_come_and_go(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection, embedding_table="chunks", chunk_tokens=CHUNK_TOKENS)
    seed = random.Random(5)
    kill_workers(
        database,
        connection,
        MANY_KILLS,
        length_words=CHUNKED_WORDS,
        after=lambda: connection.execute(
            "delete from documents where id = any (%s)", (seed.sample(range(ROWS), 2 * BURST),)
        ),
    )
    assert value(connection, "select count(*) from chunks") > ROWS
    assert wrong_chunks(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.failures") == 0


def kill_workers(
    database: Database,
    connection: psycopg.Connection,
    kills: int,
    length_words: int = SHORT_WORDS,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Two workers, killed in the middle of their work so many times; `after` is done after each kill. Then quiet."""
    seed = random.Random(11)
    struck = 0

    with Writer(database.connect, length_words).running():
        workers = [busy_worker(database), busy_worker(database)]
        try:
            for kill in range(kills):
                victim = workers[kill % 2]
                victim.await_event("worker_started")
                eventually(lambda: held(connection) > 0, timeout_s=PATIENCE_S)
                time.sleep(seed.uniform(0, 0.3))  # anywhere in its work: this is the point, not a wait
                victim.kill()
                struck += held(connection) > 0
                after()
                workers[kill % 2] = busy_worker(database)
            assert struck > 0, "the kills found nothing to interrupt"
        except BaseException:
            for each in workers:
                each.__exit__()
            raise
    with workers[0], workers[1]:
        await_quiet(connection, timeout_s=240)


@pytest.mark.slow
def test_workers_survive_a_server_crash(model: Session) -> None:
    with open_directory() as directory:
        server = EmbeddedPostgres(initialized(directory / "data"))
        server.start()
        try:
            with fresh_database(server) as database:
                migrate(database.conninfo)
                crash_twice(server, database, model)
        finally:
            server.stop()


def crash_twice(server: EmbeddedPostgres, database: Database, model: Session) -> None:
    """Under one worker and one writer."""
    with database.connect() as connection:
        make_documents(connection)
    writer = Writer(lambda: psycopg.connect(database.conninfo, autocommit=True))
    with busy_worker(database) as worker:
        with writer.running():
            for crash in range(1, 3):
                done = len(worker.named("stored"))
                worker.await_event("stored", done + 3)
                server.kill()
                worker.await_event("database_away", crash)
                server.start()
            worker.await_event("stored", len(worker.named("stored")) + 3)
        with database.connect() as connection:
            await_quiet(connection, timeout_s=240)
            assert value(connection, "select count(*) from documents") == ROWS
            assert stale(connection, model) == []
            assert value(connection, "select count(*) from pgembedd.failures") == 0
        assert worker.process.poll() is None, "it is still the same worker"
    assert worker.named("job_failed") == []
    assert not any(event.get("failed") for event in worker.named("stored"))

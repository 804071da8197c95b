"""Texts of a backfill go to the batches of their provider, are paid for once, and other texts do not wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.loop import provider_batches
from pgembedd.loop.model_loader import loader
from pgembedd.model.embedder import Embedder
from pgembedd.settings import Settings
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing
from tests.support.servers.batches import StandInBatches, batches
from tests.support.servers.stand_in import Answer, Hang
from tests.support.sql import value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess, worker_thread

__all__ = ["batches"]

NAME = "openai:text-embedding-3-small"
ROWS = range(1, 13)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few texts, which are looked at often."""
    monkeypatch.setattr(provider_batches, "FEWEST_TEXTS", 3)
    monkeypatch.setattr(provider_batches, "LOOK_S", 0.05)


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """A pipeline of the provider whose rows were there before it, so that a backfill embeds them."""
    connection.execute("create table documents (id int primary key, body text)")
    insert(connection, ROWS)
    connection.execute("alter table documents rename to kept")
    make_documents(connection, model=NAME, index_type="none", backfill=False)
    connection.execute("set session_replication_role = replica")
    connection.execute("insert into documents select * from kept")
    connection.execute("set session_replication_role = origin")
    connection.execute("select pgembedd.backfill('documents')")
    return connection


def files(folder: Path, provider: StandInBatches) -> str:
    """Writes the file of providers and returns its name."""
    (folder / "key").write_text("sk-right")
    (folder / "providers.toml").write_text(f'[openai]\nurl = "{provider.url}"\nkey_file = "{folder / "key"}"\n')
    return str(folder / "providers.toml")


@pytest.fixture
def load(batches: StandInBatches, tmp_path: Path) -> Callable[[str], Embedder]:
    """Loads the models of the provider, whose batches are used."""
    return loader(Settings(providers_file=files(tmp_path, batches), provider_batch="openai"))


def texts(numbers: Iterator[int] | range) -> list[str]:
    return sorted(f"text {n}" for n in numbers)


def all_ended(batches: StandInBatches, connection: psycopg.Connection) -> bool:
    """Ends the batches that there are; tells that all rows have their vectors."""
    batches.end()
    return not missing(connection)


def test_a_backfill_is_sent_as_batches_and_changes_are_not(
    database: Database, documents: psycopg.Connection, batches: StandInBatches, load: Callable[[str], Embedder]
) -> None:
    with worker_thread(database, load):
        eventually(lambda: len(batches.sent()) == len(ROWS))
        documents.execute("update documents set body = 'another text' where id = 3")
        await_embedded(documents, [3])
        assert missing(documents) == [n for n in ROWS if n != 3], "the others wait"
        assert batches.asked() == ["another text"]
        batches.end()
        await_quiet(documents)
    assert sorted(batches.sent()) == texts(ROWS)
    assert batches.asked() == ["another text"] * 2, "of the row that changed, as a backfill embeds what is there"
    assert not missing(documents)
    assert value(documents, "select count(distinct embedding::text) from documents") == len(ROWS)


def test_what_a_batch_refuses_is_asked_for_at_once(
    database: Database, documents: psycopg.Connection, batches: StandInBatches, load: Callable[[str], Embedder]
) -> None:
    documents.execute("update kept set body = 'refused' where id = 2")
    documents.execute("set session_replication_role = replica")
    documents.execute("update documents set body = 'refused' where id = 2")
    with worker_thread(database, load):
        eventually(lambda: len(batches.sent()) == len(ROWS))
        batches.end()
        await_quiet(documents)
    assert batches.asked() == ["refused"]
    assert len(batches.sent()) == len(ROWS)
    assert not missing(documents)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_batch_whose_answer_was_lost_is_found_and_not_paid_twice(
    database: Database, documents: psycopg.Connection, batches: StandInBatches, load: Callable[[str], Embedder],
    path: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("pgembedd.model.providers.client.SHORT_DELAY_S", 0.05)
    monkeypatch.setattr(provider_batches, "FOUND_S", 0.5)
    monkeypatch.setattr(provider_batches, "AGAIN_S", 0.1)
    batches.instead[path] = Answer(503)
    with worker_thread(database, load, claim_size=100):
        eventually(lambda: all_ended(batches, documents))
    assert sorted(batches.sent()) == texts(ROWS)
    assert not batches.asked()


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_what_a_batch_does_not_give_is_asked_for_again(
    database: Database, documents: psycopg.Connection, batches: StandInBatches, load: Callable[[str], Embedder],
    status: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(provider_batches, "AGAIN_S", 0.1)
    with worker_thread(database, load, claim_size=100):
        eventually(lambda: len(batches.sent()) == len(ROWS))
        batches.end(status)
        eventually(lambda: all_ended(batches, documents))
    again = status == "failed"
    assert (sorted(batches.sent()), batches.asked()) == (sorted(texts(ROWS) * (1 + again)), [])


def test_a_killed_workers_batch_is_another_ones(
    database: Database, documents: psycopg.Connection, batches: StandInBatches, load: Callable[[str], Embedder],
    tmp_path: Path,
) -> None:  # fmt: skip
    settings = {
        "PGEMBEDD_PROVIDERS_FILE": files(tmp_path, batches),
        "PGEMBEDD_PROVIDER_BATCH": "openai",
        "PGEMBEDD_CLAIM_SIZE": "100",
        "PGEMBEDD_LEASE_S": "1",
    }
    documents.execute("insert into kept select i, 'text ' || i from generate_series(13, 120) i")
    documents.execute("set session_replication_role = replica")
    documents.execute("insert into documents select * from kept where id > 12")
    documents.execute("select pgembedd.backfill('documents')")
    batches.instead["/v1/batches"] = Answer(200, {}, [Hang()])
    worker = WorkerProcess(database.conninfo, **settings)
    assert batches.hanging.wait(60), "a batch is made, and the worker does not know its name yet"
    worker.kill()
    with worker_thread(database, load, claim_size=100):
        eventually(lambda: all_ended(batches, documents), timeout_s=60)
    assert sorted(batches.sent()) == texts(range(1, 121))
    assert not batches.asked()


def test_only_what_takes_batches_can_be_named(batches: StandInBatches, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="PGEMBEDD_PROVIDER_BATCH names ollama"):
        loader(Settings(providers="ollama", providers_file=files(tmp_path, batches), provider_batch="ollama"))

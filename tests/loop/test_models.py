"""Searches compare like with like: a pipeline is served by its own model or not at all, and the others run on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from structlog.typing import EventDict

from pgembedd.errors import ConfigurationError, ModelError, ModelMismatchError, ModelUnavailableError
from pgembedd.loop.model_loader import loader
from pgembedd.loop.worker import Worker
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, stale, waiting
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.sql import FRESH, let_leases_run_out, reason, state, value
from tests.support.waiting import eventually
from tests.support.worker import brisk, worker_thread


def two_pipelines(connection: psycopg.Connection, **options: object) -> None:
    """One that can be served, and `others`, with these options."""
    make_documents(connection)
    make_documents(connection, "others", **options)
    insert(connection, range(1, 5), table="others")
    insert(connection, range(1, 5))


def kept(connection: psycopg.Connection, reads: int = 1) -> bool:
    """Tells that only the jobs of `others` are left, released so many times without an attempt."""
    return [(job.id, job.read_ct, job.attempts, job.deferrals) for job in waiting(connection)] == [
        (i, reads, 0, reads) for i in range(1, 5)
    ]


def test_the_first_worker_pins_the_pipeline_to_its_model(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    assert value(connection, "select fingerprint from pgembedd.status") is None
    with worker_thread(database, only(Wrapped(model))):
        insert(connection, [1])
        await_quiet(connection)
    assert value(connection, "select fingerprint from pgembedd.status") == model.fingerprint


def test_a_model_that_cannot_be_had_stops_no_other_pipeline(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    two_pipelines(connection, model="gte-small")
    asked: list[str] = []

    def load(name: str) -> Embedder:
        asked.append(name)
        return only(Wrapped(model))(name)

    with worker_thread(database, load):
        eventually(lambda: kept(connection))
        for reads in range(2, 5):  # looking for it takes long where there is no network, so not at every claim
            let_leases_run_out(connection, FRESH)
            eventually(lambda reads=reads: kept(connection, reads))  # type: ignore[misc]
    assert asked == [MODEL, "gte-small"]
    assert stale(connection, model) == []
    assert missing(connection, "others") == [1, 2, 3, 4], "no row was embedded with another model"
    refused = [event for event in log if event["event"] == "model_refused"]
    assert {event["pipeline"] for event in refused} == {"others"}


def test_a_pipeline_of_another_fingerprint_is_refused_and_its_jobs_are_kept(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    two_pipelines(connection)
    connection.execute("update pgembedd.pipeline set fingerprint = 'of old' where name = 'others'")
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: kept(connection))
    assert stale(connection, model) == []
    assert missing(connection, "others") == [1, 2, 3, 4]
    errors = {event["error"] for event in log if event["event"] == "model_refused"}
    assert len(errors) == 1
    assert 'The pipeline "others" holds vectors of of old' in errors.pop()


def test_a_model_of_other_dimensions_stops_the_pipeline_with_a_sentence(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    two_pipelines(connection, dimensions=3)
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: state(connection, "others") == "stopped")
        eventually(lambda: [job.id for job in waiting(connection)] == [1, 2, 3, 4])
    assert reason(connection, "others").startswith(
        "The model all-MiniLM-L6-v2 gives 384 dimensions, but the pipeline was created with 3"
    )
    assert stale(connection, model) == []


def refusing(error: Exception) -> Embedder:
    """Loads no model: raises."""
    raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelUnavailableError("There is no network."), ModelUnavailableError),
        (ModelError("Its file is damaged."), ModelError),
        (ConfigurationError("No such directory."), ModelError),
    ],
)
def test_a_worker_that_can_serve_no_pipeline_says_why_and_ends(
    database: Database, connection: psycopg.Connection, error: Exception, expected: type[Exception]
) -> None:
    make_documents(connection)
    insert(connection, [1])
    with pytest.raises(expected, match=str(error)):
        Worker(database.conninfo, brisk(), ModelRegistry(lambda _name: refusing(error))).run()
    assert [job.read_ct for job in waiting(connection)] == [0]


def test_a_worker_of_which_the_only_pipeline_is_pinned_elsewhere_ends(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    connection.execute("update pgembedd.pipeline set fingerprint = 'of old'")
    with pytest.raises(ModelMismatchError):
        Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model)))).run()


def test_the_real_loader_has_no_stand_in(
    database: Database, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """gte-small where the Hub cannot be reached and nothing is cached: an error, and never another model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", f"{tmp_path}/hub")
    monkeypatch.setenv("PGEMBEDD_CACHE_DIR", f"{tmp_path}/cache")
    with pytest.raises(ModelUnavailableError):
        loader(brisk(model_dir=""))("gte-small")


def test_models_are_loaded_for_pipelines_made_later(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    texts: list[Sequence[str]] = []
    with worker_thread(database, only(Wrapped(model, on_start=texts.append))):
        make_documents(connection)
        insert(connection, [1])
        await_quiet(connection)
    assert texts == [["text 1"]]


def test_int8_is_a_model_of_its_own(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    """A worker at int8 fills a pipeline; one at fp32 then keeps off it, and says which setting made the vectors."""
    make_documents(connection)
    insert(connection, range(1, 5))
    with worker_thread(database, loader(brisk(precision=f"{MODEL}=int8"))):
        await_quiet(connection)
    pinned = value(connection, "select fingerprint from pgembedd.pipeline")
    assert pinned != model.fingerprint
    register_vector(connection)
    documents = connection.execute("select body, embedding from documents").fetchall()
    vectors = np.array([embedding.to_numpy() for _, embedding in documents], np.float32)
    texts = [body for body, _ in documents]
    assert 0.99 < (vectors * model.embed(texts).vectors).sum(axis=1).min() < 0.9999
    with pytest.raises(ModelMismatchError, match="PGEMBEDD_PRECISION"):
        Worker(database.conninfo, brisk(), ModelRegistry(loader(brisk()))).run()


def test_a_model_that_cannot_be_had_is_told_of_once_in_a_while(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    two_pipelines(connection, model="gte-small")
    with worker_thread(database, only(Wrapped(model)), claim_size=1):
        eventually(lambda: kept(connection))
    told = [event for event in log if event["event"] == "model_refused"]
    assert len(told) <= 2, "once as it starts, once for all the claims"

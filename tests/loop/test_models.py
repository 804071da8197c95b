"""Searches compare like with like: a pipeline is served by its own model or not at all, and the others run on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from structlog.typing import EventDict

from pgembedd.database.connection import Connection
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import ServedPipeline
from pgembedd.database.sessions import Sessions
from pgembedd.errors import ConfigurationError, ModelError, ModelUnavailableError
from pgembedd.loop.model_loader import loader
from pgembedd.loop.pinning import PinnedModels
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing, stale, waiting
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.schemas import without
from tests.support.sql import reason, rows, state, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk, worker_thread


def two_pipelines(connection: psycopg.Connection, **options: object) -> None:
    """One that can be served, and `others`, with these options."""
    make_documents(connection)
    make_documents(connection, "others", **options)
    insert(connection, range(1, 5), table="others")
    insert(connection, range(1, 5))


def untouched(connection: psycopg.Connection) -> bool:
    """Tells that four jobs are left, and that none was ever claimed."""
    return [(job.id, job.read_ct, job.deferrals) for job in waiting(connection)] == [(i, 0, 0) for i in range(1, 5)]


def shown(connection: psycopg.Connection, name: str = "others") -> tuple[str, str | None]:
    """The state and the reason that status shows."""
    ((state, reason),) = rows(connection, "select state, reason from pgembedd.status where pipeline = %s", name)
    return state, reason


class Network:
    """A loader whose models are away, all but those that have `come`; `asked` are the attempts."""

    def __init__(self, model: Session, *come: str) -> None:
        self.come, self.asked, self._model = set(come), list[str](), Wrapped(model)

    def __call__(self, name: str) -> Embedder:
        self.asked.append(name)
        if name not in self.come:
            raise ModelUnavailableError(f"{name} could not be fetched: there is no network in this test.")
        return self._model


AWAY = ("unserved", "gte-small could not be fetched: there is no network in this test.")


def test_the_first_worker_pins_the_pipeline_to_its_model(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    assert value(connection, "select fingerprint from pgembedd.status") is None
    with worker_thread(database, only(Wrapped(model))):
        insert(connection, [1])
        await_quiet(connection)
    assert value(connection, "select fingerprint from pgembedd.status") == model.fingerprint


@pytest.mark.slow
def test_a_model_that_cannot_be_had_is_noted_and_stops_no_other_pipeline(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    two_pipelines(connection, model="gte-small")
    network = Network(model, MODEL)
    with worker_thread(database, network):
        eventually(lambda: shown(connection) == AWAY)
        insert(connection, range(5, 9))
        await_embedded(connection, range(1, 9))
        eventually(lambda: network.asked.count("gte-small") >= 2)
    assert untouched(connection), "no job of it was claimed"
    assert shown(connection, "documents") == ("running", None)
    assert stale(connection, model) == []
    assert missing(connection, "others") == [1, 2, 3, 4], "no row was embedded with another model"
    assert [event["pipeline"] for event in log if event["event"] == "model_refused"] == ["others"], "one line"


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["listen", "poll"])
def test_a_pipeline_heals_by_itself_once_its_model_can_be_had(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict], wait: str
) -> None:
    make_documents(connection, "others", model="gte-small")
    insert(connection, range(1, 5), table="others")
    network = Network(model)
    with worker_thread(database, network, wait=wait):
        eventually(lambda: shown(connection) == AWAY)
        assert untouched(connection)
        network.come.add("gte-small")
        await_quiet(connection)
        eventually(lambda: shown(connection) == ("running", None))
    assert missing(connection, "others") == []
    assert [event["pipeline"] for event in log if event["event"] == "model_served"] == ["others"]


@pytest.mark.slow
def test_a_pipeline_that_is_made_later_is_refused_as_well(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, Network(model, MODEL)):
        insert(connection, [1])
        await_embedded(connection, [1])
        make_documents(connection, "others", model="gte-small")
        insert(connection, range(1, 5), table="others")
        eventually(lambda: shown(connection) == AWAY)
    assert untouched(connection)


@pytest.mark.slow
def test_a_model_that_takes_long_to_load_keeps_no_other_pipeline_waiting(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    two_pipelines(connection, model="gte-small")
    come = threading.Event()

    def load(name: str) -> Embedder:
        if name != MODEL:
            assert come.wait(PATIENCE_S)
        return Wrapped(model)

    with worker_thread(database, load) as worker:
        await_embedded(connection, range(1, 5))
        assert untouched(connection)
        assert worker.health() == "ok"
        come.set()
        await_quiet(connection)


@pytest.mark.slow
def test_a_worker_that_has_the_model_serves_what_another_cannot(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """It takes the other one's note back before that is shown."""
    make_documents(connection, "others", model="gte-small")
    able, unable = Network(model, "gte-small"), Network(model)
    seen: set[tuple[str, str | None]] = set()
    with worker_thread(database, able):
        eventually(lambda: able.asked)
        with worker_thread(database, unable):
            for i in range(1, 4):
                insert(connection, [i], table="others")
                await_embedded(connection, [i], "others")

                def tried_again(tries: int = i + 1) -> bool:
                    seen.add(shown(connection))
                    return len(unable.asked) >= tries

                eventually(tried_again)
    assert seen == {("running", None)}


def test_a_pipeline_of_another_fingerprint_is_refused_and_its_jobs_are_kept(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    two_pipelines(connection)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'of old' where name = 'others'")
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: shown(connection)[0] == "unserved")
        await_embedded(connection, range(1, 5))
    assert untouched(connection)
    assert stale(connection, model) == []
    assert missing(connection, "others") == [1, 2, 3, 4]
    (error,) = [event["error"] for event in log if event["event"] == "model_refused"]
    assert error == shown(connection)[1]
    assert 'The pipeline "others" holds vectors of of old' in error


def test_a_worker_on_a_gpu_fills_what_a_cpu_began_where_that_was_measured(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """The real model under the fingerprint that it has on a GPU: an imitation, as there is none."""
    two_pipelines(connection)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = %s", (model.fingerprint,))
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'of int8' where name = 'others'")
    on_gpu = Wrapped(model)
    on_gpu.fingerprint = replace(model.spec, precision="fp16").fingerprint
    assert on_gpu.fingerprint != model.fingerprint
    with worker_thread(database, only(on_gpu)):
        await_embedded(connection, range(1, 5))
        eventually(lambda: shown(connection)[0] == "unserved")
    assert value(connection, "select fingerprint from pgembedd.status where pipeline = 'documents'") == (
        model.fingerprint
    )
    assert missing(connection, "others") == [1, 2, 3, 4]


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        ModelUnavailableError("There is no network."),
        ModelError("Its file is damaged."),
        ConfigurationError("No such directory."),
        OSError("The disk is broken."),
    ],
)
def test_a_worker_that_can_serve_no_pipeline_says_why_and_stays(
    database: Database, connection: psycopg.Connection, error: Exception
) -> None:
    make_documents(connection)
    insert(connection, range(1, 5))

    def load(_name: str) -> Embedder:
        raise error

    with worker_thread(database, load) as worker:
        eventually(lambda: shown(connection, "documents") == ("unserved", str(error)))
        assert worker.health() == "ok"
    assert untouched(connection)


def test_the_real_loader_has_no_stand_in(
    database: Database, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """gte-small where the Hub cannot be reached and nothing is cached: an error, and never another model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", f"{tmp_path}/hub")
    monkeypatch.setenv("PGEMBEDD_CACHE_DIR", f"{tmp_path}/cache")
    with pytest.raises(ModelUnavailableError):
        loader(brisk(model_dir=""))("gte-small")


def test_a_look_that_is_asked_for_during_another_one_is_made(database: Database, model: Session) -> None:
    """A pipeline may have been made after that one had read them, and before it ended."""
    looks = list[int]()

    class Watched(PipelineRepository):
        def running(self) -> list[tuple[ServedPipeline, bool]]:
            found = super().running()
            looks.append(len(found))
            if len(looks) == 1:
                pinned.look_soon()
            return found

    pinned = PinnedModels(ModelRegistry(only(Wrapped(model))), settled_look_s=600.0)
    with closing(Connection(Sessions(database.conninfo, "test"), threading.Event())) as connection:
        for _ in range(3):
            pinned.look(Watched(connection))
    assert len(looks) == 2


def test_a_worker_that_waits_for_a_schema_has_tried_nothing(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    """Although it has started by then."""
    make_documents(connection)
    with ExitStack() as ended:
        with without(connection, "interface"):
            worker = ended.enter_context(worker_thread(database, only(Wrapped(model))))
            eventually(lambda: any(event["event"] == "worker_started" for event in log))
            assert not worker.has_tried()
        eventually(worker.has_tried)


def test_a_note_is_taken_back_once_no_transaction_holds_the_pipeline(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """A look leaves it alone until then, and would come again half a minute later."""
    make_documents(connection)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = %s", [model.fingerprint])
    value(connection, "select pgembedd_internal.note_unserved(1, 'it has no model')::text")
    with database.connect(autocommit=False) as holder:
        holder.execute("select from pgembedd_internal.pipeline for no key update")
        with worker_thread(database, only(Wrapped(model))) as worker:
            insert(connection, [1])
            await_embedded(connection, [1])
            assert not worker.has_tried(), "nothing is demanded of a pipeline that is unserved"
            holder.rollback()
            eventually(worker.has_tried)
            assert shown(connection, "documents") == ("running", None)


def test_models_are_loaded_for_pipelines_made_later(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    texts: list[Sequence[str]] = []
    with worker_thread(database, only(Wrapped(model, on_start=texts.append))):
        make_documents(connection)
        insert(connection, [1])
        await_quiet(connection)
    assert texts == [["text 1"]]


@pytest.mark.slow
def test_int8_is_a_model_of_its_own(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    """A worker at int8 fills a pipeline; one at fp32 then keeps off it, and says which setting made the vectors."""
    make_documents(connection)
    insert(connection, range(1, 5))
    with worker_thread(database, loader(brisk(precision=f"{MODEL}=int8"))):
        await_quiet(connection)
    pinned = value(connection, "select fingerprint from pgembedd_internal.pipeline")
    assert pinned != model.fingerprint
    register_vector(connection)
    documents = connection.execute("select body, embedding from documents").fetchall()
    vectors = np.array([embedding.to_numpy() for _, embedding in documents], np.float32)
    texts = [body for body, _ in documents]
    assert 0.99 < (vectors * model.embed(texts).vectors).sum(axis=1).min() < 0.9999
    with worker_thread(database, loader(brisk())):
        eventually(lambda: "PGEMBEDD_PRECISION" in str(shown(connection, "documents")[1]))

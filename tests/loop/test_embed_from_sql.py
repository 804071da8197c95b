"""pgembedd.embed() with real workers and the real model: its vectors, its plans, crowds, and workers that die."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.loop.role import Role
from pgembedd.loop.worker import Worker
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.embedders import MODEL, Gate, Wrapped, only
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.schemas import without
from tests.support.sql import column, end_sessions, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import WorkerProcess, brisk, running, worker_thread

TEXTS = ["how do I reset my password", 'it\'s "quoted" \\ and %s $1', "zażółć 猫 🐈\n\ttab", "x"]
Vector = npt.NDArray[np.float32]
HEARS = "application_name = 'pgembedd listen'"


class Asked:
    """A hook that remembers which of the texts were questions."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> None:
        self.texts += texts


@contextmanager
def hearing(connection: psycopg.Connection, workers: int = 1) -> Iterator[None]:
    """Once so many workers answer."""
    eventually(lambda: len(value(connection, "select pgembedd_internal._listeners()") or []) == workers)
    yield


def embed(connection: psycopg.Connection, text: str, rest: str = "") -> Vector:
    return np.asarray(value(connection, f"select pgembedd.embed(%s{rest})::real[]", text), np.float32)


def test_the_vectors_are_the_models_own_for_queries(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model))), hearing(connection):
        for text in TEXTS:
            assert np.array_equal(embed(connection, text), model.embed([text], kind="query").vectors[0])
            document = embed(connection, text, ", kind => 'document'")
            assert np.array_equal(document, model.embed([text], kind="document").vectors[0])


@pytest.mark.slow
@pytest.mark.parametrize("vector_type", ["halfvec", "vector"])
def test_a_search_uses_the_index_and_asks_once(
    database: Database, connection: psycopg.Connection, model: Session, vector_type: str
) -> None:
    make_documents(connection, vector_type=vector_type)
    insert(connection, range(300))
    connection.execute("insert into documents values (1000, 'How to choose another password')")
    search = "select id from documents order by embedding <=> pgembedd.embed('reset my password') limit 3"
    asked = Asked()
    with worker_thread(database, only(Wrapped(model, on_start=asked))), hearing(connection):
        await_quiet(connection)
        plan = "\n".join(column(connection, f"explain {search}"))
        assert "Index Scan using documents_embedding_hnsw" in plan
        assert column(connection, search)[0] == 1000
        assert asked.texts.count("reset my password") == 1


@pytest.mark.slow
def test_a_search_without_an_index_asks_once_for_a_thousand_rows(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    connection.execute(
        "create table plain as select array_fill(i, array[384])::vector as v from generate_series(1, 1000) i"
    )
    asked = Asked()
    loading = only(Wrapped(model, on_start=asked))
    with worker_thread(database, loading, vector_cache_mb=0), hearing(connection):
        for question in ("pgembedd.embed('once')", "(select pgembedd.embed('once'))"):
            search = f"select from plain where v <=> {question} < 3 order by v <=> {question}"
            assert "Seq Scan on plain" in "\n".join(column(connection, f"explain {search}"))
            asked.texts.clear()
            assert len(connection.execute(search.encode()).fetchall()) == 1000
            assert asked.texts == ["once"]


@pytest.mark.slow
def test_fifty_callers_and_two_workers(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    texts = [f"question {number}" for number in range(50)]

    def ask(text: str) -> Vector:
        with database.connect() as own:
            return embed(own, text, ", timeout => '1 min'")

    load = only(Wrapped(model))
    with (
        worker_thread(database, load),
        worker_thread(database, load),
        hearing(connection, 2),
        ThreadPoolExecutor(25) as crowd,  # each takes two connections, and the server has a hundred
    ):
        answers = list(crowd.map(ask, texts))
    assert np.array_equal(answers, model.embed(texts, kind="query").vectors)
    assert value(connection, "select count(*) from pgembedd_internal.embed_request") == 0


def test_a_pipeline_of_another_fingerprint_is_refused(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model))), hearing(connection):
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'all-MiniLM-L6-v2@older'")
        with pytest.raises(psycopg.Error, match="are of all-MiniLM-L6-v2@older, but all-MiniLM-L6-v2 of this worker"):
            embed(connection, "x")
        with pytest.raises(psycopg.Error, match="No pipeline has the model /etc/passwd, and no worker was told to"):
            embed(connection, "x", ", model => '/etc/passwd'")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = null, model = 'gte-small'")
        with pytest.raises(psycopg.Error, match="The model gte-small cannot be fetched"):
            embed(connection, "x")


@pytest.mark.slow
def test_the_reason_of_a_model_that_cannot_be_had_is_quoted_while_others_are_answered(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    gate = threading.Event()

    def load(name: str) -> Embedder:
        if name == "slow":
            assert gate.wait(PATIENCE_S)
        return only(Wrapped(model))(name)

    make_documents(connection)
    make_documents(connection, "others", model="gte-small")
    make_documents(connection, "third", model="slow")
    with worker_thread(database, load), hearing(connection):
        with pytest.raises(psycopg.Error, match="The model gte-small cannot be fetched"):
            embed(connection, "x", ", pipeline => 'others'")
        with pytest.raises(psycopg.Error, match=r"(?s)No vector came within .*still loading the model"):
            embed(connection, "x", ", pipeline => 'third', timeout => '1 s'")
        alone = model.embed(["x"], kind="query").vectors[0]
        assert np.array_equal(embed(connection, "x", ", pipeline => 'documents'"), alone)
        gate.set()


def test_what_the_model_cannot_embed_is_an_error_without_the_text(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    make_documents(connection)

    def fail(texts: Sequence[str]) -> None:
        raise ValueError(texts)

    with (
        worker_thread(database, only(Wrapped(model, on_result=fail))),
        hearing(connection),
        pytest.raises(psycopg.Error, match=r"The model all-MiniLM-L6-v2 could not embed the text \(ValueError\)"),
    ):
        embed(connection, "secret")
    assert "secret" not in str(log)
    assert [event["error"] for event in log if event["event"] == "embed_request_failed"] == ["ValueError"]


def test_a_worker_of_least_privilege_answers_a_caller_of_least_privilege(
    roles: Roles, database: Database, model: Session
) -> None:
    worker, caller = roles.make("worker", "in role pgembedd_worker"), roles.make("caller")
    with database.connect() as connection:
        make_documents(connection)
        connection.execute("select pgembedd.grant_embed(%s)", [caller])
        with (
            worker_thread(conninfo_as(database, worker), only(Wrapped(model))),
            hearing(connection),
            connect_as(database, caller) as theirs,
        ):
            assert np.array_equal(embed(theirs, "x"), model.embed(["x"], kind="query").vectors[0])


def test_without_a_worker_a_service_answers_for_the_models_it_was_given(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    role = Role(pulls=False, served=lambda: [MODEL])
    worker = Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model))), role)
    with running(worker), hearing(connection):
        assert np.array_equal(
            embed(connection, "x", f", model => '{MODEL}'"), model.embed(["x"], kind="query").vectors[0]
        )
    eventually(lambda: value(connection, "select pgembedd_internal._listeners()") is None)


@pytest.mark.slow
def test_a_worker_of_another_interface_leaves_requests_to_others(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """It listens no more, so that callers are told at once where no other worker does."""
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model))):
        with hearing(connection), without(connection, "interface"):
            eventually(lambda: not value(connection, "select pgembedd_internal._listeners()"))
            with pytest.raises(psycopg.Error, match="No worker"):
                embed(connection, "x")
        with hearing(connection):
            assert np.array_equal(embed(connection, "x"), model.embed(["x"], kind="query").vectors[0])


def test_a_worker_whose_connection_is_cut_hears_again(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model))), hearing(connection):
        assert end_sessions(connection, HEARS) == 1
        with hearing(connection):
            embed(connection, "x")


@pytest.mark.slow
def test_a_killed_workers_question_is_answered_by_the_next(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    gate = Gate()
    with (
        database.connect() as own,
        ThreadPoolExecutor(1) as caller,
        worker_thread(database, only(Wrapped(model, on_result=gate))),
        hearing(connection),
    ):
        asked = caller.submit(embed, own, "x", ", timeout => '10 min'")
        assert gate.reached.wait(PATIENCE_S)
        gone = value(connection, "select taken_by from pgembedd_internal.embed_request")

        def answered() -> bool:
            """Only one thread of the worker is held: each of its heartbeats makes its row again."""
            connection.execute("delete from pgembedd_internal.worker where id = %s", [gone])
            return asked.done()

        with WorkerProcess(database.conninfo), hearing(connection, 2):
            eventually(answered)
        gate.open()
    assert np.array_equal(asked.result(), model.embed(["x"], kind="query").vectors[0])

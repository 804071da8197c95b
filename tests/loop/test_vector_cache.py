"""A text that a worker embedded for a pipeline lately is not embedded again, and has the very same vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from pgembedd.database.records import ServedPipeline
from pgembedd.loop.vector_cache import ENTRY_BYTES, VectorCache
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings
from pgembedd.telemetry.observer import Observer
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, stale
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.sql import value
from tests.support.worker import worker_thread

ONE = ServedPipeline(1, "one", MODEL, None, 384)
TEXTS = ["a lake in autumn", "a river", "a lake in autumn", "ein See im Herbst"]


class Counted:
    """The real model, and the texts that it was asked for."""

    def __init__(self, model: Session) -> None:
        self.asked: list[str] = []
        self.model = Wrapped(model, on_start=lambda texts: self.asked.extend(map(str, texts)))


class Recalls(Observer):
    """The number of texts that were recalled."""

    def __init__(self) -> None:
        self.texts = 0

    def recalled(self, model: str, texts: int) -> None:
        assert model == MODEL
        self.texts += texts


def embed(cache: VectorCache, model: Embedder, texts: Sequence[str], pipeline: ServedPipeline = ONE) -> Embeddings:
    pending = cache.start(model, pipeline, texts, "backfill")
    assert pending is not None
    return pending.result()


def same(a: Embeddings, b: Embeddings) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("vectors", "dropped", "tokens"))


def test_what_is_known_is_not_computed_and_is_the_same(model: Session) -> None:
    counted, recalls = Counted(model), Recalls()
    cache = VectorCache(1_000_000, recalls)
    plain = model.start(TEXTS).result()
    assert same(embed(cache, counted.model, TEXTS), plain)
    assert (counted.asked, recalls.texts) == (TEXTS, 0)
    assert same(embed(cache, counted.model, TEXTS), plain)
    assert (counted.asked, recalls.texts) == (TEXTS, 4)
    mixed = ["a river", "a long text " * 300, "a lake in autumn"]
    assert same(embed(cache, counted.model, mixed), model.start(mixed).result())
    assert counted.asked == [*TEXTS, mixed[1]]
    assert embed(cache, counted.model, mixed).dropped[1] > 0


def test_nothing_is_shared_between_pipelines_or_fingerprints(model: Session) -> None:
    counted, cache = Counted(model), VectorCache(1_000_000)
    embed(cache, counted.model, TEXTS[:1])
    embed(cache, counted.model, TEXTS[:1], replace(ONE, id=2))
    counted.model.fingerprint = "another"
    embed(cache, counted.model, TEXTS[:1])
    assert counted.asked == 3 * TEXTS[:1]


def test_what_a_provider_gave_is_asked_for_again(model: Session) -> None:
    counted, cache = Counted(model), VectorCache(1_000_000)
    for _ in range(2):
        embed(cache, counted.model, TEXTS[:1], replace(ONE, model="openai:text-embedding-3-small"))
    assert counted.asked == 2 * TEXTS[:1]


def test_it_holds_what_it_may_and_forgets_what_was_asked_for_longest_ago(model: Session) -> None:
    counted, cache = Counted(model), VectorCache(2 * (384 * 4 + ENTRY_BYTES))
    for text in ("first", "second", "first", "third", "first", "second"):
        embed(cache, counted.model, [text])
    assert counted.asked == ["first", "second", "third", "second"]
    none = VectorCache(0)
    for _ in range(2):
        embed(none, counted.model, ["fourth"])
    assert counted.asked[4:] == ["fourth", "fourth"]


def test_an_error_is_not_held(model: Session) -> None:
    fails = [True]

    def fail(_texts: object) -> None:
        if fails.pop():
            fails.append(False)
            raise ValueError("none")

    cache, broken = VectorCache(1_000_000), Wrapped(model, on_result=fail)
    with pytest.raises(ValueError, match="none"):
        embed(cache, broken, TEXTS)
    fails[:] = [False] * 2
    assert same(embed(cache, broken, TEXTS), model.start(TEXTS).result())


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks", "chunk_tokens": 20}], ids=["column", "table"])
def test_a_worker_embeds_equal_texts_once(
    database: Database, connection: psycopg.Connection, model: Session, options: dict[str, Any]
) -> None:
    counted = Counted(model)
    make_documents(connection, **options)
    with worker_thread(database, only(counted.model)):
        insert(connection, [1])
        await_quiet(connection)
        connection.execute("insert into documents values (2, 'text 1'), (3, 'text 3'), (4, 'text 1')")
        await_quiet(connection)
        connection.execute("select pgembedd.backfill('documents', force => true)")
        await_quiet(connection)
    assert counted.asked == ["text 1", "text 3"]
    if options:
        assert value(connection, "select count(distinct embedding::text) from chunks where chunk = 'text 1'") == 1
        assert value(connection, "select count(*) from chunks") == 4
    else:
        await_embedded(connection, [1, 2, 3, 4])
        assert stale(connection, model) == []

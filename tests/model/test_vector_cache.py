"""A text that a process embedded for an owner lately is not embedded again, and has the very same vector."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pytest

from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Kind, Text
from pgembedd.model.vector_cache import ENTRY_BYTES, VectorCache
from tests.support.embedders import MODEL, Counted, Wrapped

TEXTS = ["a lake in autumn", "a river", "a lake in autumn", "ein See im Herbst"]


def embed(
    cache: VectorCache, model: Embedder, texts: Sequence[Text], owner: Hashable = 1, kind: Kind = "document"
) -> Embeddings:
    return cache.start(model, texts, cache.keys(owner, model, texts, kind), "backfill", kind).result()


def same(a: Embeddings, b: Embeddings) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("vectors", "dropped", "tokens"))


def test_what_is_known_is_not_computed_and_is_the_same(model: Session) -> None:
    counted, recalls = Counted(model), list[tuple[str, int, int]]()
    cache = VectorCache(1_000_000, lambda *told: recalls.append(told))
    plain = model.start(TEXTS).result()
    assert same(embed(cache, counted.model, TEXTS), plain)
    assert (counted.asked, recalls) == (TEXTS, [])
    assert same(embed(cache, counted.model, TEXTS), plain)
    assert (counted.asked, recalls) == (TEXTS, [(MODEL, 4, plain.tokens.sum())])
    mixed = ["a river", "a long text " * 300, "a lake in autumn"]
    assert same(embed(cache, counted.model, mixed), model.start(mixed).result())
    assert counted.asked == [*TEXTS, mixed[1]]
    assert embed(cache, counted.model, mixed).dropped[1] > 0


def test_all_or_none_are_found_at_once(model: Session) -> None:
    recalls = list[int]()
    cache = VectorCache(1_000_000, lambda _, texts, _tokens: recalls.append(texts))
    embed(cache, model, TEXTS[:2])
    found = cache.find(model, cache.keys(1, model, TEXTS[1::-1], "document"))
    assert found is not None
    assert same(found, model.start(TEXTS[1::-1]).result())
    assert cache.find(model, cache.keys(1, model, TEXTS[1:4], "document")) is None
    assert cache.find(model, []) is None
    assert recalls == [2]


def test_nothing_is_shared_between_owners_fingerprints_kinds_or_with_token_ids(model: Session) -> None:
    counted, cache = Counted(model), VectorCache(1_000_000)
    embed(cache, counted.model, TEXTS[:1])
    embed(cache, counted.model, TEXTS[:1], 2)
    embed(cache, counted.model, TEXTS[:1], kind="query")
    counted.model.fingerprint = "another"
    embed(cache, counted.model, TEXTS[:1])
    embed(cache, counted.model, ["(2003, 2004)"])
    for _ in range(2):
        embed(cache, counted.model, [(2003, 2004)])
    embed(cache, counted.model, ["\ud800"])
    embed(cache, counted.model, ["'\\ud800'"])
    assert counted.asked == [*(4 * TEXTS[:1]), "(2003, 2004)", "(2003, 2004)", "\ud800", "'\\ud800'"]


def test_what_a_provider_gave_is_asked_for_again(model: Session) -> None:
    counted, cache = Counted(model), VectorCache(1_000_000)
    counted.model.name = "openai:text-embedding-3-small"
    for _ in range(2):
        embed(cache, counted.model, TEXTS[:1])
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

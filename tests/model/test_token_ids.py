"""Texts that come as the model's own token ids, and whose turn they and others get."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pgembedd.errors import UnknownTokenError
from pgembedd.model import Session
from pgembedd.model.futures import Kind
from tests.model.test_vectors import text_of

TEXTS = ["hello world", "How do I reset my password?", "Straße, naïve, 東京, 😀", ""]


def ids_of(session: Session, text: str) -> tuple[int, ...]:
    """Its own tokens, without the special ones."""
    return tuple(session._encode(text, "document").ids[1:-1])


def test_the_ids_of_a_text_give_its_vector(minilm: Session) -> None:
    texts, ids = minilm.embed(TEXTS), minilm.embed([ids_of(minilm, text) for text in TEXTS])
    assert np.array_equal(ids.vectors, texts.vectors)
    assert np.array_equal(ids.tokens, texts.tokens)


def test_special_tokens_that_come_along_are_not_added_again(minilm: Session) -> None:
    framed = tuple(minilm._encode("hello world", "document").ids)
    assert minilm.embed([framed]).tokens.tolist() == [4]
    assert np.array_equal(minilm.run(framed), minilm.run("hello world"))


def test_texts_and_ids_may_come_together(minilm: Session) -> None:
    mixed = minilm.embed(["hello world", ids_of(minilm, "hello world"), "another"]).vectors
    assert np.array_equal(mixed[0], mixed[1])
    assert np.array_equal(mixed[2], minilm.run("another"))


def test_ids_are_cut_at_the_limit(minilm: Session) -> None:
    text = text_of(256, minilm)
    long = minilm.embed([ids_of(minilm, text) + (1996,) * 44])
    assert (long.tokens.tolist(), long.dropped.tolist()) == ([300], [44])
    assert np.array_equal(long.vectors[0], minilm.run(text))


@pytest.mark.parametrize(
    ("ids", "stranger"),
    [
        ((7592, 30522), 30522),
        ((100_257,), 100_257),
        ((-1,), -1),
        ((2**63,), 2**63),
        ((279, 4062, 14198), 279),  # cl100k's "the quick brown": in this vocabulary [unused274]
        ((7592, 0, 0), 0),  # padded
    ],
)
def test_ids_of_another_model_are_refused(minilm: Session, ids: tuple[int, ...], stranger: int) -> None:
    with pytest.raises(UnknownTokenError, match=re.escape(f"the token {stranger}:")):
        minilm.start(["fine", ids])


@pytest.mark.parametrize("kind", ["query", "document"])
def test_run_takes_a_kind_and_ids(minilm: Session, kind: Kind) -> None:
    ids = ids_of(minilm, "hello world")
    assert minilm.run(ids, kind=kind).shape == (384,)
    assert minilm.run([ids, "x"], kind=kind).shape == (2, 384)
    assert minilm.run(ids, mean_pool=False, kind=kind).shape == (4, 384)


def test_tokens_are_counted_as_they_are_embedded(minilm: Session) -> None:
    for text in ("hello world", ids_of(minilm, "hello world")):
        assert minilm.count_tokens(text) == (4, 4)
        assert minilm.embed([text]).tokens.tolist() == [4]


@pytest.mark.slow
def test_what_is_urgent_goes_ahead_whatever_its_kind(minilm: Session) -> None:
    with Session("all-MiniLM-L6-v2", threads=1, offline=True) as session:
        long = text_of(250, session)
        documents = session.start([f"{i} {long}" for i in range(20)])
        session.start(["a short one"], kind="document", lane="query").result()
        assert not all(future.done() for _, future in documents._runs), "twenty long documents were waited for"
        queries = session.start(["a question"], kind="query", lane="fresh")
        queries.result()
        assert all(future.done() for _, future in documents._runs), "a query that can wait went ahead"


@pytest.mark.slow
def test_raw_vectors_of_a_query_go_ahead_too(minilm: Session) -> None:
    with Session("all-MiniLM-L6-v2", threads=1, offline=True) as session:
        long = text_of(250, session)
        documents = session.start([f"{i} {long}" for i in range(20)])
        session.run("a question", normalize=False, kind="query")
        assert not all(future.done() for _, future in documents._runs), "twenty long documents were waited for"
        documents.result()

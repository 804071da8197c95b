"""The vectors of the real model: right, of norm 1, and the same in any company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgembedd.errors import ConfigurationError
from pgembedd.model import Session
from pgembedd.model.cpu import usable_cores
from tests.support.reference_bert import ReferenceBert

WORDS = ["the", "wing", "of", "a", "supersonic", "aircraft", "is", "heated", "by", "friction,", "and", "its"]


def text_of(tokens: int, session: Session) -> str:
    """A text of exactly that many tokens, special ones included."""
    text = " ".join(WORDS[i % len(WORDS)] for i in range(tokens))
    while session.count_tokens(text)[0] > tokens:
        text = " ".join(text.split()[:-1])
    text += " a" * (tokens - session.count_tokens(text)[0])
    assert session.count_tokens(text)[0] == tokens
    return text


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [2, 3, 17, 64, 129, 256])
def test_equal_to_a_plain_forward_pass(minilm: Session, reference: ReferenceBert, tokens: int) -> None:
    text = text_of(tokens, minilm)
    expected = reference.embed(minilm._encode(text, "document").ids)
    assert np.abs(minilm.run(text) - expected).max() < 1e-5


@pytest.mark.slow
def test_token_vectors_are_equal_too(minilm: Session, reference: ReferenceBert) -> None:
    text = text_of(40, minilm)
    hidden = reference.hidden_states(minilm._encode(text, "document").ids)
    got = minilm.run(text, mean_pool=False, normalize=False)
    assert got.shape == (40, 384)
    assert np.abs(got - hidden).max() < 1e-5


def test_norms_are_one(minilm: Session) -> None:
    texts = ["", "a", "😀", text_of(100, minilm), text_of(256, minilm)]
    norms = np.linalg.norm(minilm.embed(texts).vectors.astype(np.float64), axis=1)
    assert np.abs(norms - 1).max() < 1e-6


def test_a_text_has_the_same_vector_alone_and_in_company(minilm: Session) -> None:
    lengths = [5] * 70 + [9, 9, 9, 31, 31, 130]
    texts = [f"{i} {text_of(length, minilm)}" for i, length in enumerate(lengths)]
    together = minilm.embed(texts).vectors
    for position in (0, 1, 35, 69, 70, 72, 73, 75):
        assert np.abs(together[position] - minilm.run(texts[position])).max() < 1e-6


def test_order_is_kept_and_equal_texts_are_equal(minilm: Session) -> None:
    texts = ["one", "a much longer second text than the first", "one", "three", "", "one"]
    vectors = minilm.embed(texts).vectors
    assert np.array_equal(vectors[0], vectors[2])
    assert np.array_equal(vectors[0], vectors[5])
    for text, vector in zip(texts, vectors, strict=True):
        assert np.abs(vector - minilm.run(text)).max() < 1e-6


def test_shapes_of_the_edge_functions_call(minilm: Session) -> None:
    one, many = minilm.run("hello"), minilm.run(["hello", "world", "!"])
    assert one.shape == (384,)
    assert many.shape == (3, 384)
    assert one.dtype == many.dtype == np.float32
    assert minilm.run([]).shape == (0, 384)
    assert [part.shape for part in minilm.run(["hello", "hello world"], mean_pool=False)] == [(3, 384), (4, 384)]


def test_without_normalising_the_direction_is_the_same(minilm: Session) -> None:
    raw = minilm.run(["hello", "hello world"], normalize=False)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert (np.abs(norms - 1) > 0.01).all()
    assert np.abs(raw / norms - minilm.run(["hello", "hello world"])).max() < 1e-6


@pytest.mark.slow
def test_several_threads_may_ask_at_once(minilm: Session) -> None:
    texts = [text_of(8 + i, minilm) for i in range(12)]
    expected = minilm.run(texts)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: minilm.run(texts), range(8)):
            assert np.array_equal(got, expected)


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot run on 0 threads"):
        Session("all-MiniLM-L6-v2", threads=0)


def test_threads_are_the_usable_cores_unless_said_otherwise() -> None:
    with Session("all-MiniLM-L6-v2", offline=True) as session:
        assert session.threads == usable_cores()


def test_the_number_of_threads_changes_neither_vectors_nor_fingerprint(minilm: Session) -> None:
    texts = [text_of(length, minilm) for length in (4, 4, 20, 60)]
    with Session("all-MiniLM-L6-v2", threads=1, offline=True) as other:
        assert np.array_equal(other.run(texts), minilm.run(texts))
        assert other.fingerprint == minilm.fingerprint


@pytest.mark.slow
def test_a_query_does_not_wait_behind_documents(minilm: Session) -> None:
    with Session("all-MiniLM-L6-v2", threads=1) as session:
        long = text_of(250, session)
        documents = session.start([f"{i} {long}" for i in range(40)])
        session.embed(["a question"], kind="query")
        assert not all(future.done() for _, future in documents._runs), "forty long documents were waited for"
        assert documents.result().vectors.shape == (40, 384)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(WORDS).flatmap(lambda w: st.integers(1, 60).map(lambda n: f"{w} " * n)), max_size=40))
def test_any_batch_gives_each_text_its_own_vector(minilm: Session, texts: list[str]) -> None:
    """Every text once, order kept, the same vector as alone."""
    together = minilm.embed(texts).vectors
    assert together.shape == (len(texts), 384)
    for text, vector in list(zip(texts, together, strict=True))[:5]:
        assert np.abs(vector - minilm.run(text)).max() < 1e-6

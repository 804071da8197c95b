"""Texts that are not meant to be written: too long, empty, broken. None crashes, and what was cut is told."""

from __future__ import annotations

import numpy as np
import pytest

from pgembedd.model import Session


def test_the_limit_is_the_model_s_and_not_the_tokenizer_file_s(minilm: Session) -> None:
    assert minilm.max_tokens == 256
    words = "wing " * 400
    result = minilm.embed([words, "wing " * 254, "wing " * 253])
    assert result.dropped.tolist() == [146, 0, 0]
    assert result.dropped.dtype == np.int32
    assert minilm.count_tokens(words) == (402, 256)
    assert minilm.run(words, mean_pool=False).shape == (256, 384)


def test_what_lies_beyond_the_limit_does_not_count(minilm: Session) -> None:
    beginning = "wing " * 254
    assert np.array_equal(minilm.run(beginning), minilm.run(beginning + "and something else"))
    assert not np.array_equal(minilm.run(beginning), minilm.run("tail " + beginning))


def test_the_tokens_between_128_and_the_limit_do_count(minilm: Session) -> None:
    beginning = "wing " * 130
    assert np.abs(minilm.run(beginning) - minilm.run(beginning + "vegetable soup recipe")).max() > 1e-3


@pytest.mark.parametrize(
    "text",
    ["", " ", "\0", "\x07\x1b[31m", "\ud800", "\udfff\ud800", "😀👩\u200d🚀", "\u202etfel", "a" * 300, "\ufeff"],
    ids=ascii,
)
def test_odd_texts_have_vectors(minilm: Session, text: str) -> None:
    assert np.linalg.norm(minilm.run(text)) == pytest.approx(1, abs=1e-6)


def test_a_pair_of_surrogates_is_its_character(minilm: Session) -> None:
    assert np.array_equal(minilm.run("a \ud83d\ude00 b"), minilm.run("a 😀 b"))


def test_ten_megabytes(minilm: Session) -> None:
    sentence = "The wing of a supersonic aircraft is heated by friction. "
    result = minilm.embed([sentence * 180_000])
    assert np.array_equal(result.vectors[0], minilm.run(sentence * 100))
    assert result.dropped[0] == pytest.approx(12 * 180_000, rel=0.01)


def test_dropped_is_exact_up_to_its_documented_size(minilm: Session) -> None:
    text = "the wing is hot, and " * 3000
    assert 60_000 < len(text) < 65_536
    total, kept = minilm.count_tokens(text)
    assert (total, kept) == (6 * 3000 + 2, 256)
    assert minilm.embed([text]).dropped.tolist() == [total - kept]


def test_nothing_is_nothing(minilm: Session) -> None:
    result = minilm.embed([])
    assert result.vectors.shape == (0, 384)
    assert result.dropped.shape == (0,)

"""The reranker: the scores of its file computed directly, the same in any company, at any length."""

from __future__ import annotations

from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer as Library

from pgembedd.cli.demo_documents import Document
from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model import Reranker, Session, verify
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import READY_MADE, TOKENIZER
from pgembedd.model.specs import MS_MARCO_MINILM_L12
from pgembedd.model.tokenizer import Tokenizer
from tests.model.test_ready_made import write_onnx

QUERY = "how do I read a file line by line"
LIMIT = 512


def file_of(name: str) -> Path:
    """One of the files of the real model."""
    return ModelFiles(MS_MARCO_MINILM_L12).obtain(name)


@pytest.fixture(scope="module")
def library_tokenizer(reranker: Reranker) -> Library:
    """The tokenizer's file with the library's own truncation, which cuts the longer text first."""
    tokenizer = Library.from_file(str(file_of(TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT, strategy="longest_first")
    return tokenizer


@pytest.fixture(scope="module")
def texts(library: list[Document]) -> list[str]:
    """Short, long and very long texts, most of them about something else."""
    some = [document.text for document in library if len(document.text) > 40]
    return ["", "Use readline() to read a line.", *some[:12], "files and lines " * 400, "x " * 200_000]


@pytest.mark.slow
def test_scores_are_those_of_the_file_itself(reranker: Reranker, library_tokenizer: Library, texts: list[str]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several threads wait for each other with all cores busy
    direct = onnxruntime.InferenceSession(str(file_of(READY_MADE)), options, providers=["CPUExecutionProvider"])
    for text, score in zip(texts, reranker.score(QUERY, texts), strict=True):
        encoding = library_tokenizer.encode(QUERY, text)
        feed: dict[str, Any] = {
            "input_ids": np.array([encoding.ids]),
            "attention_mask": np.array([encoding.attention_mask]),
            "token_type_ids": np.array([encoding.type_ids]),
        }
        expected = direct.run(["logits"], feed)[0][0, 0]
        assert abs(score - expected) < 1e-4


def test_scores_are_near_those_published_in_single_precision(reranker: Reranker) -> None:
    checks = verify(reranker)
    assert len(checks) == 2
    assert [check for check in checks if not check.ok] == []


@pytest.mark.slow
def test_a_text_has_one_score_in_any_company(reranker: Reranker, texts: list[str]) -> None:
    together = reranker.score(QUERY, [*texts, *reversed(texts)])
    assert together.dtype == np.float32
    assert np.array_equal(together[: len(texts)], together[len(texts) :][::-1])
    for place in (0, 1, 5, len(texts) - 1):
        assert reranker.score(QUERY, [texts[place]])[0] == together[place]
    with Reranker(threads=1) as alone:
        assert np.array_equal(alone.score(QUERY, texts[:6]), together[:6])


def test_what_answers_the_query_comes_first(reranker: Reranker) -> None:
    texts = ["Bake the bread for an hour.", "for line in open(path): reads a file line by line", "A file is a tool."]
    assert int(np.argmax(reranker.score(QUERY, texts))) == 1


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (3, 700), (254, 255), (255, 254), (300, 300), (700, 3), (600, 601), (200, 400)]
)
def test_the_longer_text_is_cut_as_by_the_library(library_tokenizer: Library, first: int, second: int) -> None:
    ours = Tokenizer(file_of(TOKENIZER), LIMIT)
    one, other = "wing " * first, "friction of air " * (second // 3) + "heat " * (second % 3)
    pair, encoding = ours.join(ours.first_ids(one), ours.first_ids(other)), library_tokenizer.encode(one, other)
    assert pair.ids == encoding.ids
    assert pair.types == encoding.type_ids
    assert len(pair.ids) <= LIMIT


def test_tokens_are_those_read_of_both_texts(reranker: Reranker) -> None:
    scores = reranker.start("a wing", ["a wing", "wing " * 1000, "a wing"]).result()
    assert scores.tokens.tolist() == [7, LIMIT, 7]


def test_no_texts_have_no_scores(reranker: Reranker) -> None:
    assert reranker.score(QUERY, []).shape == (0,)


@pytest.mark.slow
def test_what_is_cancelled_does_not_run() -> None:
    ran: list[int] = []
    with Reranker(threads=1, on_run=lambda _kind, texts, *_: ran.append(texts)) as reranker:
        started = reranker.start(QUERY, [f"{'a long text ' * 200}{n}" for n in range(50)], lane="fresh")
        started.cancel()
        with pytest.raises(CancelledError):
            started.result()
    assert len(ran) < 50


def test_a_reranker_has_no_vectors() -> None:
    assert (MS_MARCO_MINILM_L12.dims, MS_MARCO_MINILM_L12.max_tokens) == (0, LIMIT)
    with pytest.raises(ConfigurationError, match=r"reranks texts and has no vectors; choose one of gte-small"):
        Session(MS_MARCO_MINILM_L12.name)


@pytest.mark.parametrize("name", ["gte-small", "nope"])
def test_another_model_is_no_reranker(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"no reranker named '{name}'; choose ms-marco-minilm-l12"):
        Reranker(name)


def test_a_file_with_vectors_is_no_reranker(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    with pytest.raises(ModelError, match=r"outputs last_hidden_state, none of which"):
        Reranker(str(tmp_path))
    write_onnx(tmp_path, outputs=("logits",))
    with pytest.raises(ModelError, match=r"has 8 scores for a text"):
        Reranker(str(tmp_path))


def test_a_checkpoint_is_no_reranker(tiny_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny model is no reranker: .* a folder with an ONNX file"):
        Reranker(str(tiny_folder))

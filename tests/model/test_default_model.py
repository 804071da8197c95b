"""The check of the default model's own weights, played with models that can be had everywhere, and that it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bench.known_items import load_collection
from pgembedd.model import Session
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import READY_MADE, TOKENIZER
from pgembedd.model.specs import E5_SMALL_V2_INT8, GTE_SMALL
from tests.model.default_model import Array, cut, onnx_reference, published, retrieval, same_as
from tests.support.owners import REPOSITORY
from tests.support.reference_bert import ReferenceBert


@pytest.fixture
def tokenizer(minilm_folder: Path) -> Tokenizer:
    """That of all-MiniLM-L6-v2."""
    return Tokenizer.from_file(str(minilm_folder / TOKENIZER))


@pytest.mark.release
def test_a_model_that_computes_what_the_reference_does_passes(
    minilm: Session, reference: ReferenceBert, tokenizer: Tokenizer
) -> None:
    checks = [*same_as(reference.embed, minilm, tokenizer), *cut(minilm)]

    assert [check for check in checks if not check.ok] == []
    assert any(f"{minilm.spec.max_tokens} tokens" in check.name for check in checks)


@pytest.mark.release
def test_vectors_that_are_a_little_off_fail(minilm: Session, reference: ReferenceBert, tokenizer: Tokenizer) -> None:
    def moved(ids: list[int]) -> Array:
        return np.asarray(reference.embed(ids) + 2e-5)

    assert [check.ok for check in same_as(moved, minilm, tokenizer)] == [False] * 7


@pytest.mark.release
def test_a_model_that_reads_further_than_its_limit_fails(minilm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_if_all_were_read(text: str) -> Array:
        return np.array([float(text.find("mortgage")), 1.0])

    monkeypatch.setattr(minilm, "run", as_if_all_were_read)
    assert [check.ok for check in cut(minilm)] == [True, True, False]


def test_the_publishers_file_is_computed_by_other_code() -> None:
    files = ModelFiles(E5_SMALL_V2_INT8)
    reference = onnx_reference(files.obtain(READY_MADE))
    ids = Tokenizer.from_file(str(files.obtain(TOKENIZER)))
    ids.no_padding()
    with Session(E5_SMALL_V2_INT8.name) as session:
        vector = session.run("a happy person", kind="query")
    assert np.abs(vector - reference(ids.encode("query: a happy person").ids)).max() <= 1e-5


@pytest.mark.release
def test_retrieval_and_the_gate_of_int8_are_judged(minilm: Session, int8: Session) -> None:
    collection = load_collection().sample(60)
    assert len([*retrieval(minilm, int8, minilm, collection)]) == 4
    same = [*retrieval(minilm, minilm, minilm, collection)]
    assert [check for check in same if not check.ok] == []


def test_without_the_publishers_file_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no onnx/model\.onnx"):
        published(GTE_SMALL, tmp_path)


@pytest.mark.slow
def test_without_the_weights_it_ends_with_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "PGEMBEDD_MODEL_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.model.default_model"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gte-small was not checked: ")
    assert done.stderr.count("\n") == 1

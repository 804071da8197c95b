"""Int8: close to fp32, and the same in any company and on any machine. Its integers are in test_int8_products.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pgembedd.model import Session
from pgembedd.model.onnx import calibration
from pgembedd.model.onnx.calibration import ActivationRange, activation_ranges, calibration_texts
from pgembedd.model.onnx.checkpoint import open_checkpoint, read_config
from pgembedd.model.onnx.quantization import quantise, smoothing_factors, static_parameters
from tests.model.test_vectors import text_of
from tests.support.library import whole_collection
from tests.support.reference_bert import ReferenceBert
from tests.support.tiny_models import write_tiny_model


def cosines(one: Session, other: Session, texts: list[str]) -> np.ndarray:
    product: np.ndarray = (one.embed(texts).vectors * other.embed(texts).vectors).sum(axis=1)
    return product


@pytest.mark.slow
def test_documents_keep_their_place(minilm: Session, int8: Session) -> None:
    """The gate of `bench/quality.py` on a sample; the slow suite has the whole collection."""
    got = cosines(minilm, int8, list(whole_collection().sample(40).documents))
    assert got.mean() >= 0.999
    assert got.min() >= 0.99


@pytest.mark.parametrize("text", ["", "!", "a", "the " * 300, "9" * 500, "日本語の文章です", "🙂" * 40, "x\ny\tz"])
def test_odd_texts_come_out_close_too(minilm: Session, int8: Session, text: str) -> None:
    assert cosines(minilm, int8, [text])[0] > 0.985


def test_it_is_not_fp32_under_another_name(minilm: Session, int8: Session) -> None:
    assert np.abs(minilm.run("hello world") - int8.run("hello world")).max() > 1e-4
    assert minilm.fingerprint != int8.fingerprint
    assert int8.spec.precision == "int8"


def test_the_fingerprint_is_that_of_every_processor(int8: Session) -> None:
    """Recorded where products of signed weights overflow; a processor that computes them exactly has to agree."""
    assert int8.fingerprint == "all-MiniLM-L6-v2@36d10e2f3108901e"


def test_a_text_has_the_same_vector_alone_and_in_company(int8: Session) -> None:
    lengths = [5] * 70 + [9, 9, 9, 31, 31, 130]
    texts = [f"{i} {text_of(length, int8)}" for i, length in enumerate(lengths)]
    together = int8.embed(texts).vectors
    for position in (0, 1, 35, 69, 70, 72, 73, 75):
        assert np.abs(together[position] - int8.run(texts[position])).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
    ],
    ids=["another BLAS kernel", "no vector instructions in numpy"],
)
def test_another_machine_gets_the_same_numbers(
    tmp_path: Path, int8: Session, minilm_folder: Path, environment: dict[str, str]
) -> None:
    """Workers on different machines serve one pipeline only if they quantise alike, to the last bit.

    Other machines are had by other code paths of the libraries on this one; where it lacks a path that is to be
    switched off the library ignores the wish, and the test says less.
    """
    program = (
        "import sys; from pathlib import Path; from pgembedd.model import Session;"
        "folder, cache = map(Path, sys.argv[1:]);"
        "print(Session('all-MiniLM-L6-v2', precision='int8', model_dir=folder, cache_dir=cache).fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(minilm_folder), str(tmp_path / "cache")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == int8.fingerprint, done.stderr


def test_the_fingerprint_is_known_again_from_the_cache(tiny_folder: Path, tmp_path: Path) -> None:
    def fingerprint() -> str:
        with Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "cache", precision="int8") as session:
            return session.fingerprint

    assert fingerprint() == fingerprint()


def test_other_calibration_gives_another_fingerprint(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "a", precision="int8") as session:
        before = session.fingerprint
    monkeypatch.setattr(calibration, "calibration_texts", lambda: ["the quick brown fox"])
    with Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "b", precision="int8") as session:
        assert session.fingerprint != before


@pytest.mark.slow
def test_a_ready_made_file_keeps_its_precision() -> None:
    with Session("e5-small-v2-int8", precision="int8") as one, Session("e5-small-v2-int8") as other:
        assert one.fingerprint == other.fingerprint


def test_calibration_sees_what_a_plain_forward_pass_computes(tmp_path: Path) -> None:
    """The range of each layer's input, against the reference written from the papers."""
    folder = write_tiny_model(tmp_path / "tiny")
    reference = ReferenceBert(folder)
    texts = [[2, 5, 6, 3], [2, 3], [2, 9, 8, 7, 6, 5, 3]]
    with open_checkpoint(folder / "model.safetensors", read_config(folder / "config.json")) as checkpoint:
        seen = activation_ranges(checkpoint, texts)
    last = max(seen, key=lambda name: (len(name.split(".")) == 5, name))
    assert last.endswith("output.dense")
    assert len(seen) == 4 * reference.config["num_hidden_layers"]
    inputs = [reference.inputs_of(ids) for ids in texts]
    for name, found in seen.items():
        values = np.concatenate([each[name] for each in inputs])
        assert np.allclose(found.lowest, values.min(axis=0), atol=1e-6)
        assert np.allclose(found.highest, values.max(axis=0), atol=1e-6)


def test_calibration_texts_are_of_many_kinds() -> None:
    texts = calibration_texts()
    assert len(texts) > 30
    assert min(map(len, texts)) == 1
    assert max(map(len, texts)) > 700
    assert any(ord(character) > 0x3000 for text in texts for character in text)


def test_balancing_leaves_the_product_alone() -> None:
    """x W = (x / f) (f W), exactly for factors of four binary digits times single-precision weights."""
    generator = np.random.default_rng(5)
    matrix = generator.standard_normal((32, 8))
    seen = ActivationRange(-np.geomspace(0.01, 50, 32), np.geomspace(0.01, 30, 32))
    factors = smoothing_factors(seen, matrix)
    x = generator.standard_normal((3, 32))
    assert np.allclose((x / factors) @ (matrix * factors[:, None]), x @ matrix, rtol=1e-12)
    assert (np.ldexp(np.frexp(factors)[0], 4) % 1 == 0).all(), "four binary digits"
    evened = seen.largest / factors
    assert evened.max() / evened.min() < seen.largest.max() / seen.largest.min() / 50


def test_levels_hold_all_that_was_seen_and_zero() -> None:
    for low, high in ((-3.0, 5.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 0.0)):
        levels = static_parameters(ActivationRange(np.array([low]), np.array([high])), np.ones(1, np.float32))
        first = (0 - float(levels.zero_point)) * levels.scale
        last = (255 - float(levels.zero_point)) * levels.scale
        assert first <= min(low, 0.0) + levels.scale / 2
        assert last >= max(high, 0.0) - levels.scale / 2


def test_weights_are_off_by_half_a_level_at_most() -> None:
    matrix = np.random.default_rng(3).standard_normal((64, 5)) * np.array([1e-6, 0.1, 1, 10, 0])
    weights = quantise(matrix)
    error = np.abs(weights.levels * weights.scales.astype(np.float64) - matrix)
    assert (error <= weights.scales / 2 * 1.0001).all()
    assert np.abs(weights.levels[:, :4]).max(axis=0).tolist() == [127] * 4

"""The graph for a GPU, on one where onnxruntime has CUDA; else its CPU provider, which computes fp16 in fp32 between.

There it is the same graph, masks, pooling and buffers; what only a GPU shows are its kernels, and every start compares
them. In single precision it is for the CPU provider alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pgembedd.doctor.device import check_models_device
from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.loop.model_loader import loader
from pgembedd.model import Session, Text, device_check
from pgembedd.model.comparable import are_comparable
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.graph_cache import ensure_graph
from pgembedd.model.onnx.device import BUCKET_TOKENS, CUDA, DeviceEncoder, _told_by_cuda, check_device
from pgembedd.model.onnx.runtime import CPU
from pgembedd.model.pooling import normalize
from pgembedd.model.specs import ALL_MINILM_L6_V2, GTE_SMALL
from pgembedd.settings import Settings
from tests.model.test_vectors import WORDS, text_of
from tests.support.tiny_models import write_tiny_model


def provider() -> str:
    """CUDA where onnxruntime has it and a GPU, else the CPU."""
    try:
        check_device()
    except ConfigurationError:
        return CPU
    return CUDA


PROVIDER = provider()
without_a_gpu = pytest.mark.skipif(PROVIDER == CUDA, reason="there is a GPU")

SAME = 0.9999
"""Least cosine of a text's vectors in any company and on both graphs."""


def cosines(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((some * others).sum(axis=1))


@pytest.fixture(scope="module")
def fp32(minilm: Session) -> DeviceEncoder:
    """The masked graph of the real weights in single precision, which CUDA's attention would not mask."""
    files = ModelFiles(ALL_MINILM_L6_V2)
    return DeviceEncoder(ensure_graph(files, masked=True).path, "mean", minilm.max_tokens, CPU)


@pytest.fixture(scope="module")
def fp16(minilm: Session) -> Iterator[Session]:
    """A session on a GPU, or as on one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_check, "PROVIDER", PROVIDER)
        session = Session("all-MiniLM-L6-v2", device="cuda")
    with session:
        yield session


def ids_of(session: Session, texts: list[str]) -> list[list[int]]:
    return [session._encode(text, "document").ids for text in texts]


any_texts = st.lists(
    st.sampled_from(WORDS).flatmap(lambda word: st.integers(0, 40).map(lambda n: f"{word} " * n)),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(any_texts)
def test_in_any_company_a_text_has_the_vector_that_the_cpu_gives_it(
    minilm: Session, fp32: DeviceEncoder, texts: list[str]
) -> None:
    """All texts in one run, padded to the longest: `plan` would pad less."""
    got = normalize(fp32.run(ids_of(minilm, texts)))
    assert cosines(got, minilm.embed(texts).vectors).min() >= SAME
    assert np.abs(got - minilm.embed(texts).vectors).max() < 1e-5


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(any_texts)
def test_a_session_gives_the_same_at_half_precision(minilm: Session, fp16: Session, texts: list[str]) -> None:
    got = fp16.embed(texts)
    exact = minilm.embed(texts)
    assert cosines(got.vectors, exact.vectors).min() >= (ALL_MINILM_L6_V2.fp16_cosine or 1.0)
    assert np.array_equal(got.tokens, exact.tokens)
    assert np.array_equal(got.dropped, exact.dropped)


def test_a_session_at_half_precision(minilm: Session, fp16: Session) -> None:
    """Short and odd ones, one at the limit, one beyond, token ids; counted and cut as on the CPU."""
    texts: list[Text] = [
        "",
        "!",
        "日本語の文章です",
        "x\ny\tz",
        text_of(256, minilm),
        "the " * 6_000,
        (1996, 2417, 4419),
    ]
    got, exact = fp16.embed(texts), minilm.embed(texts)
    assert cosines(got.vectors, exact.vectors).min() >= (ALL_MINILM_L6_V2.fp16_cosine or 1.0)
    assert np.array_equal(got.dropped, exact.dropped)
    assert np.abs(np.linalg.norm(got.vectors, axis=1) - 1).max() < 1e-6
    with pytest.raises(ModelError, match="gives no token vectors"):
        fp16.run("a", mean_pool=False)


def test_a_text_has_the_same_vector_alone_and_in_company(minilm: Session, fp32: DeviceEncoder) -> None:
    texts = [text_of(length, minilm) for length in (3, 5, 5, 17, 40)]
    together = normalize(fp32.run(ids_of(minilm, texts)))
    assert np.abs(together - minilm.embed(texts).vectors).max() < 1e-6


@pytest.mark.parametrize("width", range(16, 257, 48))
def test_at_half_precision_a_text_has_the_same_vector_in_runs_of_any_shape(
    minilm: Session, fp16: Session, width: int
) -> None:
    """For each shape a device has kernels of its own, not all of which need to know what is padding."""
    lengths = [width, *range(3, width + 1, 7)]
    texts = [text_of(length, minilm) for length in lengths]
    exact, encoder = minilm.embed(texts).vectors, fp16._encoder
    assert isinstance(encoder, DeviceEncoder)
    for last in (1, 2, 3, len(texts)):
        got = normalize(encoder.run(ids_of(minilm, texts[:last])))
        assert cosines(got, exact[:last]).min() >= (ALL_MINILM_L6_V2.fp16_cosine or 1.0)


def test_it_is_not_fp32_under_another_name(minilm: Session, fp16: Session) -> None:
    assert fp16.fingerprint != minilm.fingerprint
    assert fp16.spec.precision == "fp16"
    assert np.abs(fp16.run("hello world") - minilm.run("hello world")).max() > 1e-7


def test_the_first_tokens_vector_is_pooled_where_the_model_wants_that(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    files = ModelFiles(describe_folder(folder), cache_dir=tmp_path)
    with Session("tiny", model_dir=folder, cache_dir=tmp_path) as session:
        encoder = DeviceEncoder(ensure_graph(files, masked=True).path, session.spec.pooling, session.max_tokens, CPU)
        texts = ["a", "the fox", "a longer text than both"]
        assert np.abs(normalize(encoder.run(ids_of(session, texts))) - session.embed(texts).vectors).max() < 1e-5
        # Of no multiple of BUCKET_TOKENS: there are no positions beyond the model's limit.
        assert session.max_tokens % BUCKET_TOKENS == 0
        assert encoder.computed_tokens([3, 17]) == 64


def test_padding_ends_at_the_models_limit(fp32: DeviceEncoder) -> None:
    assert [fp32._padded(tokens) for tokens in (2, 16, 17, 255, 256)] == [16, 16, 32, 256, 256]
    limited = object.__new__(DeviceEncoder)
    limited.max_tokens = 250
    assert limited._padded(249) == 250


@pytest.mark.parametrize("damage", ["overflow", "wrong"])
def test_a_device_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    files = ModelFiles(describe_folder(write_tiny_model(tmp_path / "tiny")), cache_dir=tmp_path).at("fp16")
    right = DeviceEncoder.run

    def run(encoder: DeviceEncoder, encoded: list[list[int]]) -> NDArray[np.float32]:
        vectors = right(encoder, encoded)
        return vectors * np.float32(np.nan) if damage == "overflow" else vectors[:, ::-1]

    monkeypatch.setattr(device_check, "PROVIDER", PROVIDER)
    device_check.load_on_device(files)
    monkeypatch.setattr(DeviceEncoder, "run", run)
    with pytest.raises(
        ModelError, match=r"^On this GPU tiny gives other vectors than on the CPU .* PGEMBEDD_DEVICE=cpu"
    ):
        device_check.load_on_device(files)


def test_of_an_error_of_cuda_its_own_words_remain() -> None:
    said = (
        "/src/cuda_call.cc:154 void CudaCall(const char*, int) [with ERRTYPE = cudaError; bool THRW = true] "
        "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=vm ; file=/src/provider.cc ; "
    )
    assert _told_by_cuda(said) == "CUDA failure 100: no CUDA-capable device is detected"
    assert _told_by_cuda("libcudnn.so.9: cannot open\nmore") == "libcudnn.so.9: cannot open"


@without_a_gpu
def test_without_a_gpu_it_is_one_sentence() -> None:
    """Of onnxruntime for CPUs, and of onnxruntime-gpu."""
    sentence = (
        r"^PGEMBEDD_DEVICE is cuda, but (this onnxruntime [\d.]+ runs on CPUs alone: install .*gpu"
        r"|onnxruntime [\d.]+ finds no GPU that it can use here \(.+\): )"
    )
    for ask in (lambda: Session("all-MiniLM-L6-v2", device="cuda"), lambda: loader(Settings(device="cuda"))):
        with pytest.raises(ConfigurationError, match=sentence):
            ask()


@without_a_gpu
def test_the_doctor_says_it_too() -> None:
    (found,) = check_models_device("cuda")
    assert (found.level, found.about) == ("bad", "device")
    assert found.text.startswith("PGEMBEDD_DEVICE is cuda, but ")
    assert list(check_models_device("cpu")) == []


@pytest.mark.parametrize("arguments", [{"device": "cuda", "precision": "int8"}, {"precision": "fp16"}], ids=str)
def test_a_precision_that_the_device_does_not_have_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^There is no (int8|fp16) on the device (cuda|cpu): "):
        Session("all-MiniLM-L6-v2", **arguments)  # type: ignore[arg-type]
    if "device" in arguments:
        with pytest.raises(ConfigurationError, match=r"^There is no int8 on the device cuda: "):
            loader(Settings(device="cuda", precision="all-MiniLM-L6-v2=int8"))


def test_another_device_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^There is no device 'gpu': a model runs on cpu or cuda\.$"):
        Session("all-MiniLM-L6-v2", device="gpu")  # type: ignore[arg-type]


def test_a_ready_made_file_remains_on_the_cpu() -> None:
    with Session("e5-small-v2-int8", device="cuda") as on_gpu, Session("e5-small-v2-int8") as on_cpu:
        assert on_gpu.fingerprint == on_cpu.fingerprint
        assert np.array_equal(on_gpu.run("a wing"), on_cpu.run("a wing"))


def test_fingerprints_are_comparable_where_that_was_measured(minilm: Session, fp16: Session, int8: Session) -> None:
    assert are_comparable(None, minilm.fingerprint)
    assert are_comparable(minilm.fingerprint, minilm.fingerprint)
    assert are_comparable(minilm.fingerprint, fp16.fingerprint)
    assert are_comparable(fp16.fingerprint, minilm.fingerprint)
    assert not are_comparable(minilm.fingerprint, int8.fingerprint)
    assert not are_comparable(int8.fingerprint, fp16.fingerprint)
    assert GTE_SMALL.fp16_cosine is None
    half = ModelFiles(GTE_SMALL).at("fp16").spec.fingerprint
    assert not are_comparable(GTE_SMALL.fingerprint, half), "nothing was measured of it"

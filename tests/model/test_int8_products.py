"""The integer products of int8 graphs: exact on every processor, in one of two forms that mean the same numbers.

Where a processor computes only one form exactly, the other form is compared number by number: it holds the same
integers, so a processor that multiplies it exactly gets the same products.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from pgembedd.errors import ModelError
from pgembedd.model import Session, graph_cache
from pgembedd.model.files.cache import cache_root
from pgembedd.model.graph_cache import GRAPH_FILE, graph_folder
from pgembedd.model.onnx import cpu_check
from pgembedd.model.onnx.cpu_check import LARGEST_SUM, PROBE, Signedness, exact_signedness
from pgembedd.model.onnx.runtime import load_session
from tests.model.test_vectors import text_of
from tests.support.probe import write_probe
from tests.support.tiny_models import write_tiny_model

Tensors = dict[str, NDArray[Any]]
Sums = dict[Signedness, set[int]]


class Int8Graph:
    """The graph that a session built: its nodes, and its tensors by name."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / GRAPH_FILE
        self.model = onnx.load(self.path)
        self.tensors: Tensors = {each.name: numpy_helper.to_array(each) for each in self.model.graph.initializer}
        self.products = [node for node in self.model.graph.node if node.op_type == "MatMulIntegerToFloat"]

    def levels(self, product: onnx.NodeProto) -> NDArray[np.int64]:
        """A product's weights as signed integers, (in, out), whatever they are stored as."""
        zero_point = self.tensors[product.input[5]].astype(np.int64) if product.input[5] else np.int64(0)
        return np.asarray(self.tensors[product.input[1]].astype(np.int64) - zero_point)

    def run(self, names: list[str], ids: list[int]) -> Tensors:
        """What the nodes of these names give out for a text, computed by onnxruntime."""
        self.model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        observed = self.path.with_name(f"observed-{os.getpid()}.onnx")  # next to the weights that it refers to
        onnx.save(self.model, observed)
        try:
            values = load_session(observed, optimize=False).run(names, {"input_ids": np.array([ids])})
        finally:
            observed.unlink()
        return dict(zip(names, values, strict=True))


def tiny_graph(
    signedness: Signedness, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Int8Graph]:
    """Fingerprint and graph of a tiny model as a processor builds it that computes this form exactly."""
    monkeypatch.setattr(graph_cache, "exact_signedness", lambda: signedness)
    with Session("tiny", model_dir=folder, cache_dir=cache, precision="int8") as session:
        return session.fingerprint, Int8Graph(graph_folder(session.spec, cache))


def test_both_forms_are_one_model(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one cache, as machines that share it would have them; the fingerprint is the same."""
    cache = tmp_path / "cache"
    fingerprint, signed = tiny_graph("signed", tiny_folder, cache, monkeypatch)
    other_fingerprint, unsigned = tiny_graph("unsigned", tiny_folder, cache, monkeypatch)
    assert signed.path != unsigned.path
    assert fingerprint == other_fingerprint
    assert len(signed.products) == len(unsigned.products) == 6 * len(layers(signed))
    weights = {product.input[1] for product in signed.products}
    for mine, other in zip(signed.products, unsigned.products, strict=True):
        assert signed.tensors[mine.input[1]].dtype == np.int8
        assert unsigned.tensors[other.input[1]].dtype == np.uint8
        assert mine.input[5] == ""
        assert (signed.levels(mine) == unsigned.levels(other)).all()
    for name in signed.tensors.keys() - weights:
        assert (signed.tensors[name] == unsigned.tensors[name]).all(), name
    extra = unsigned.tensors.keys() - signed.tensors.keys()
    assert extra == {product.input[5] for product in unsigned.products}


def layers(graph: Int8Graph) -> set[str]:
    """The names of a graph's layers."""
    return {".".join(product.input[1].split(".")[:3]) for product in graph.products}


@pytest.mark.slow
def test_every_product_is_exact(int8: Session) -> None:
    """Real weights on this processor, product by product, against integers that numpy multiplies in 64 bits."""
    graph = Int8Graph(graph_folder(int8.spec, cache_root()))
    ids = int8._tokenizer.encode(text_of(60, int8)).ids
    inputs, outputs = ([node.input[0] for node in graph.products], [node.output[0] for node in graph.products])
    seen = graph.run(sorted({*inputs, *outputs}), ids)
    for product in graph.products:
        activations, _, scale, scales, zero_point, _, bias = product.input
        levels = seen[activations].astype(np.int64) - graph.tensors[zero_point].astype(np.int64)
        integers = levels @ graph.levels(product)
        expected = integers * graph.tensors[scale].astype(np.float64) * graph.tensors[scales]
        expected = expected + (graph.tensors[bias] if bias else 0)
        assert np.allclose(seen[product.output[0]], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert max(seen[name].max() for name in inputs) == 255, "the largest activations there can be"


def test_every_form_that_is_exact_here_gives_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit. One form on a processor without VNNI, which test_every_product_is_exact has checked."""
    folder = write_tiny_model(tmp_path / "tiny")
    exact = [form for form, sums in cpu_check._sums(PROBE).items() if sums == {LARGEST_SUM}]
    vectors = []
    for form in exact:
        monkeypatch.setattr(graph_cache, "exact_signedness", lambda form=form: form)
        with Session("tiny", model_dir=folder, cache_dir=tmp_path / "cache", precision="int8") as session:
            vectors.append(session.embed(["the quick brown fox", "a", "the " * 30]).vectors)
    assert "unsigned" in exact, "onnxruntime widens these to 16 bits before it multiplies, on every processor"
    assert all((one == other).all() for one, other in itertools.pairwise(vectors))


@pytest.mark.parametrize(
    ("signed", "unsigned", "chosen"),
    [
        ({LARGEST_SUM}, {LARGEST_SUM}, "signed"),
        ({LARGEST_SUM // 2}, {LARGEST_SUM}, "unsigned"),
        ({LARGEST_SUM, LARGEST_SUM // 2}, {LARGEST_SUM}, "unsigned"),  # exact for one token, not for several
        ({LARGEST_SUM}, {LARGEST_SUM // 2}, "signed"),
    ],
)
def test_the_quicker_of_the_exact_forms_is_chosen(
    signed: set[int], unsigned: set[int], chosen: Signedness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: Sums = {"signed": signed, "unsigned": unsigned}
    monkeypatch.setattr(cpu_check, "_sums", lambda _: sums)
    assert exact_signedness.__wrapped__() == chosen


def test_a_processor_that_overflows_in_both_forms_is_refused(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such processor is known: the probe is changed, so that this one seems to lose a part of each sum."""
    other = tmp_path / "probe.onnx"
    write_probe(other)
    model = onnx.load(other)
    for tensor in model.graph.initializer[:2]:
        tensor.int32_data[0] -= 1
    onnx.save(model, other)
    monkeypatch.setattr(cpu_check, "PROBE", other)
    monkeypatch.setattr(graph_cache, "exact_signedness", exact_signedness.__wrapped__)
    with pytest.raises(ModelError, match=r"8-bit products overflow, .* use fp32 here\.$"):
        Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "cache", precision="int8")
    with Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "cache") as session:
        assert session.spec.precision == "fp32"


def test_the_probe_that_ships_is_the_one_described(tmp_path: Path) -> None:
    write_probe(tmp_path / "probe.onnx")
    assert onnx.load(PROBE) == onnx.load(tmp_path / "probe.onnx")

"""Writes a BERT checkpoint as an ONNX graph of stock onnxruntime operators, without torch.

A change of what this file, `float_layers.py` or `int8_layers.py` writes raises `graph_cache.LAYOUT_VERSION`.

The form is the one that measured best on CPUs (docs/reference/performance.md): three separate matrix products for Q,
K and V before `MultiHeadAttention`; `LayerNormalization` after a plain addition, because the operator that fuses the
two is several times slower. There is no attention mask: every run holds texts of equal length only.
Input `input_ids` int64 (texts, tokens); output `last_hidden_state` float32 (texts, tokens, hidden_size).

The masked form is for a GPU, whose runs hold texts of several lengths, padded: it has two inputs more and pools.
`lengths` int32 (3 texts + 2) is the key mask in the one form that onnxruntime's memory-efficient attention reads: the
texts' lengths, then where each text begins among the padded tokens and where the last one ends, twice. At half
precision CUDA takes that attention for every shape. At single precision it takes another one below 256 tokens, which
reads no mask (onnxruntime 1.31). `pooling` float32 (texts, tokens) has the weight of each token in its text's vector, 0
for padding. Output `sentence_embedding` float32 (texts, hidden_size), not normalised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto

from pgembedd.model.onnx.calibration import activation_ranges
from pgembedd.model.onnx.checkpoint import POSITION_EMBEDDINGS, TYPE_EMBEDDINGS, WORD_EMBEDDINGS, Checkpoint
from pgembedd.model.onnx.cpu_check import Signedness
from pgembedd.model.onnx.float_layers import FloatLayers
from pgembedd.model.onnx.int8_layers import Int8Layers
from pgembedd.model.onnx.runtime import IDS, LENGTHS, POOLING
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter

Number = type[np.float32] | type[np.float16]


@dataclass(frozen=True)
class _BertGraph:
    """Writes the nodes of one checkpoint, part by part; each method returns the name of its output.

    The word embeddings stay as they are on disk, half precision or single: a run gathers few of their rows.
    `masked` is the precision of a masked graph, None for the other form.
    """

    checkpoint: Checkpoint
    layers: FloatLayers | Int8Layers
    out: GraphWriter
    masked: Number | None

    def encoder(self, ids: str) -> str:
        """The whole network, from token ids to the last layer's hidden states."""
        hidden = self._embeddings(ids)
        for layer in range(self.checkpoint.config.num_hidden_layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        return hidden

    def pooled(self, hidden: str) -> None:
        """The weighted sum of each text's tokens, in single precision."""
        out, axis = self.out, self.out.constant("token axis", np.array([1]))
        tokens = out.node("Cast", hidden, to=TensorProto.FLOAT)
        out.node("Squeeze", out.node("MatMul", out.node("Unsqueeze", POOLING, axis), tokens), axis)

    def _embeddings(self, ids: str) -> str:
        """Word and position; every token is of type 0, so that row is added to the positions beforehand."""
        out = self.out
        words = out.weight("word_embeddings", self.checkpoint.stored(WORD_EMBEDDINGS))
        positions, types = self.checkpoint.fp32(POSITION_EMBEDDINGS), self.checkpoint.fp32(TYPE_EMBEDDINGS)
        table = out.weight("positions", positions + types[0])
        length = out.node("Shape", ids, start=1, end=2)
        first = out.node("Slice", table, out.constant("zero", np.array([0])), length)
        rows = out.node("Cast", out.node("Gather", words, ids), to=TensorProto.FLOAT)
        added = out.node("Add", rows, first)
        if self.masked is np.float16:
            added = out.node("Cast", added, to=TensorProto.FLOAT16)
        return self._layer_norm("embeddings.LayerNorm", added)

    def _layer(self, name: str, hidden: str) -> str:
        attended = self._attention(f"{name}.attention", hidden)
        hidden = self._layer_norm(f"{name}.attention.output.LayerNorm", self.out.node("Add", attended, hidden))
        fed = self.layers.feed_forward(name, hidden)
        return self._layer_norm(f"{name}.output.LayerNorm", self.out.node("Add", fed, hidden))

    def _attention(self, name: str, hidden: str) -> str:
        context = self.out.node(
            "MultiHeadAttention",
            *self.layers.projections(f"{name}.self", hidden),
            *([LENGTHS] if self.masked else []),
            domain=MICROSOFT,
            num_heads=self.checkpoint.config.num_attention_heads,
        )
        return self.layers.attention_output(f"{name}.output.dense", context)

    def _layer_norm(self, name: str, inputs: str) -> str:
        """Mean and variance are taken in single precision, whatever the inputs are (the operator's default)."""
        number = self.masked or np.float32
        gamma = self.out.weight(f"{name}.weight", self.checkpoint.fp32(f"{name}.weight").astype(number))
        beta = self.out.weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias").astype(number))
        epsilon = self.checkpoint.config.layer_norm_eps
        return self.out.node("LayerNormalization", inputs, gamma, beta, epsilon=epsilon)


def write_graph(
    checkpoint: Checkpoint,
    graph_path: Path,
    weights_path: Path,
    calibration: Sequence[Sequence[int]] = (),
    signedness: Signedness = "signed",
    masked: Number | None = None,
) -> str:
    """Writes the graph of a checkpoint, and its weights into a file that must stay in the same folder.

    It is exact, or on 8-bit integers that are calibrated on texts given as token ids; then a digest of all its numbers
    is returned. `signedness` decides how they are stored and nothing else: the digest is the same, and so are the
    products. `masked` gives the masked form in this precision instead.
    """
    with weights_path.open("wb") as file:
        out = GraphWriter(file)
        layers: FloatLayers | Int8Layers
        if calibration:
            layers = Int8Layers(checkpoint, activation_ranges(checkpoint, calibration), out, signedness)
        else:
            layers = FloatLayers(checkpoint, out, masked or np.float32)
        graph, axes = _BertGraph(checkpoint, layers, out, masked), ["texts", "tokens"]
        hidden, inputs = graph.encoder(IDS), {IDS: (TensorProto.INT64, axes)}
        if masked:
            graph.pooled(hidden)
            inputs |= {LENGTHS: (TensorProto.INT32, ["mask"]), POOLING: (TensorProto.FLOAT, axes)}
        name, shape = ("sentence_embedding", axes[:1]) if masked else ("last_hidden_state", axes)
        graph_path.write_bytes(out.model(inputs, name, [*shape, checkpoint.config.hidden_size]))
    return layers.quantised()

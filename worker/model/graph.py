"""From a BERT checkpoint to an fp32 ONNX graph of stock onnxruntime operators, without torch.

Whoever changes this file raises `built.LAYOUT`.

The form is the one that measured best on CPUs (docs/models.md): three separate matrix products for Q, K
and V before `MultiHeadAttention`, which takes their biases; LayerNorm spelt out, its means taken by a
matrix product with a column of 1/d, because the fused operator is slower; bias and GELU fused. There is
no attention mask: every run holds texts of equal length only.

Input `input_ids` int64 (texts, tokens); output `last_hidden_state` float32 (texts, tokens, hidden_size).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from worker.model.checkpoint import WORD_EMBEDDINGS, BertConfig, Checkpoint

_ALIGNMENT_BYTES = 4096  # a page, so that onnxruntime can map the weights instead of copying them
_OPSET, _IR_VERSION = 17, 8
_MICROSOFT = "com.microsoft"


@dataclass
class _Writer:
    """Collects nodes, and streams weights to the file that lies next to the graph."""

    weights: BinaryIO
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its only output."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """A small tensor that lies inside the graph itself (shapes must, for onnxruntime to read them)."""
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """A tensor whose bytes go to the weights file, little-endian as ONNX wants them."""
        self.weights.write(b"\0" * (-self.weights.tell() % _ALIGNMENT_BYTES))
        data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": Path(self.weights.name).name, "offset": self.weights.tell(), "length": len(data)}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        self.weights.write(data)
        self.initializers.append(tensor)
        return name


@dataclass(frozen=True)
class _BertGraph:
    """Writes the nodes of one checkpoint, part by part; each method returns the name of what it computed.

    The word embeddings stay as they are on disk, half precision or single: a run gathers few of their rows.
    """

    config: BertConfig
    checkpoint: Checkpoint
    out: _Writer

    def encoder(self, ids: str) -> str:
        """The whole network, from token ids to the last layer's hidden states."""
        width = self.config.hidden_size
        self.out.constant("mean_column", np.full((width, 1), 1 / width, np.float32))
        self.out.constant("epsilon", np.array(self.config.layer_norm_eps, np.float32))
        hidden = self._embeddings(ids)
        for layer in range(self.config.num_hidden_layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        return hidden

    def _embeddings(self, ids: str) -> str:
        """Word and position; every token is of type 0, so that row is added to the positions beforehand."""
        c, out = self.config, self.out
        words = out.weight("word_embeddings", self.checkpoint.stored(WORD_EMBEDDINGS, (c.vocab_size, c.hidden_size)))
        positions = self.checkpoint.fp32(
            "embeddings.position_embeddings.weight", (c.max_position_embeddings, c.hidden_size)
        )
        types = self.checkpoint.fp32("embeddings.token_type_embeddings.weight", (c.type_vocab_size, c.hidden_size))
        table = out.weight("positions", positions + types[0])
        length = out.node("Shape", ids, start=1, end=2)
        first = out.node("Slice", table, out.constant("zero", np.array([0])), length)
        rows = out.node("Cast", out.node("Gather", words, ids), to=TensorProto.FLOAT)
        return self._layer_norm("embeddings.LayerNorm", out.node("Add", rows, first))

    def _layer(self, name: str, hidden: str) -> str:
        attended = self._attention(f"{name}.attention", hidden)
        hidden = self._layer_norm(f"{name}.attention.output.LayerNorm", self.out.node("Add", attended, hidden))
        fed = self._feed_forward(name, hidden)
        return self._layer_norm(f"{name}.output.LayerNorm", self.out.node("Add", fed, hidden))

    def _attention(self, name: str, hidden: str) -> str:
        width = self.config.hidden_size
        parts = [f"{name}.self.{part}" for part in ("query", "key", "value")]
        projected = [self._product(part, hidden, width, width) for part in parts]
        bias = np.concatenate([self.checkpoint.fp32(f"{part}.bias", (width,)) for part in parts])
        attended = self.out.node(
            "MultiHeadAttention",
            *projected,
            self.out.weight(f"{name}.bias", bias),
            domain=_MICROSOFT,
            num_heads=self.config.num_attention_heads,
        )
        return self._linear(f"{name}.output.dense", attended, width, width)

    def _feed_forward(self, name: str, hidden: str) -> str:
        width, inner = self.config.hidden_size, self.config.intermediate_size
        grown = self._product(f"{name}.intermediate.dense", hidden, width, inner)
        bias = self.checkpoint.fp32(f"{name}.intermediate.dense.bias", (inner,))
        active = self.out.node(
            "BiasGelu", grown, self.out.weight(f"{name}.intermediate.dense.bias", bias), domain=_MICROSOFT
        )
        return self._linear(f"{name}.output.dense", active, inner, width)

    def _product(self, name: str, inputs: str, width_in: int, width_out: int) -> str:
        """x W; a checkpoint keeps W transposed."""
        matrix = self.checkpoint.fp32(f"{name}.weight", (width_out, width_in)).T
        return self.out.node("MatMul", inputs, self.out.weight(f"{name}.weight", matrix))

    def _linear(self, name: str, inputs: str, width_in: int, width_out: int) -> str:
        bias = self.out.weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias", (width_out,)))
        return self.out.node("Add", self._product(name, inputs, width_in, width_out), bias)

    def _layer_norm(self, name: str, inputs: str) -> str:
        """(x - mean) / sqrt(variance + epsilon) * gamma + beta, over the last axis (Ba et al. 2016)."""
        out, width = self.out, self.config.hidden_size
        centred = out.node("Sub", inputs, out.node("MatMul", inputs, "mean_column"))
        variance = out.node("MatMul", out.node("Mul", centred, centred), "mean_column")
        deviation = out.node("Sqrt", out.node("Add", variance, "epsilon"))
        scaled = out.node("Div", centred, deviation)
        gamma = out.weight(f"{name}.weight", self.checkpoint.fp32(f"{name}.weight", (width,)))
        beta = out.weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias", (width,)))
        return out.node("Add", out.node("Mul", scaled, gamma), beta)


def write_graph(config: BertConfig, checkpoint: Checkpoint, graph_path: Path, weights_path: Path) -> None:
    """Write the graph of this checkpoint, and its weights into a file that must stay in the same folder."""
    with weights_path.open("wb") as weights:
        out = _Writer(weights)
        _BertGraph(config, checkpoint, out).encoder("input_ids")
    out.nodes[-1].output[0] = "last_hidden_state"
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])
    hidden = helper.make_tensor_value_info(
        "last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", config.hidden_size]
    )
    graph = helper.make_graph(out.nodes, "encoder", [ids], [hidden], out.initializers)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pgembedd")
    graph_path.write_bytes(model.SerializeToString(deterministic=True))

"""A BERT checkpoint as the ONNX graph that onnxruntime's own optimiser makes of an exported one.

The fused operators `EmbedLayerNormalization`, `Attention`, `BiasGelu` and `SkipLayerNormalization`, with an attention
mask, as people run it: the form of the peers that sit on onnxruntime. Written here so that it needs no torch; a graph
exported by torch is not fused by onnxruntime at load as its form has changed (`bench.embed` has both).

Inputs `input_ids`, `attention_mask`, `token_type_ids` int64 (texts, tokens); output `last_hidden_state` float32
(texts, tokens, hidden_size).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pgembedd.model.onnx.checkpoint import Checkpoint, open_checkpoint, read_config

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_MICROSOFT = "com.microsoft"


@dataclass
class _Graph:
    checkpoint: Checkpoint
    width: int
    inner: int
    heads: int
    epsilon: float
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, *inputs: str, domain: str = _MICROSOFT, outputs: int = 1, **attributes: Any) -> str:
        names = [f"{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return names[0]

    def weight(self, name: str, *shape: int, transposed: bool = False) -> str:
        values = self.checkpoint.fp32(name, shape)
        return self.constant(name, values.T if transposed else values)

    def constant(self, name: str, values: NDArray[np.float32]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def norm(self, name: str) -> list[str]:
        return [self.weight(f"{name}.{part}", self.width) for part in ("weight", "bias")]

    def embeddings(self, rows: dict[str, int]) -> tuple[str, str]:
        """The embedded tokens, and the mask as `Attention` wants it."""
        ids, mask, types = (self.node("Cast", name, domain="", to=TensorProto.INT32) for name in INPUTS)
        tables = [self.weight(f"embeddings.{name}_embeddings.weight", n, self.width) for name, n in rows.items()]
        words, positions, kinds = tables
        hidden = self.node(
            "EmbedLayerNormalization", ids, types, words, positions, kinds, *self.norm("embeddings.LayerNorm"),
            outputs=2, epsilon=self.epsilon,
        )  # fmt: skip
        return hidden, mask

    def layer(self, name: str, hidden: str, mask: str) -> str:
        attended = self.dense(f"{name}.attention.output.dense", self.attention(name, hidden, mask), self.width)
        hidden = self.skip_norm(f"{name}.attention.output", attended, hidden)
        grown = self.dense(f"{name}.intermediate.dense", hidden, self.width, self.inner)
        bias = self.weight(f"{name}.intermediate.dense.bias", self.inner)
        shrunk = self.dense(f"{name}.output.dense", self.node("BiasGelu", grown, bias), self.inner)
        return self.skip_norm(f"{name}.output", shrunk, hidden)

    def attention(self, name: str, hidden: str, mask: str) -> str:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        matrix = np.hstack([self.checkpoint.fp32(f"{part}.weight", (self.width, self.width)).T for part in parts])
        bias = np.concatenate([self.checkpoint.fp32(f"{part}.bias", (self.width,)) for part in parts])
        packed = self.constant(f"{name}.qkv", matrix), self.constant(f"{name}.qkv.bias", bias)
        return self.node("Attention", hidden, *packed, mask, num_heads=self.heads)

    def dense(self, name: str, inputs: str, width_in: int, width_out: int = 0) -> str:
        matrix = self.weight(f"{name}.weight", width_out or self.width, width_in, transposed=True)
        return self.node("MatMul", inputs, matrix, domain="")

    def skip_norm(self, name: str, inputs: str, skip: str) -> str:
        bias = self.weight(f"{name}.dense.bias", self.width)
        norm = self.norm(f"{name}.LayerNorm")
        return self.node("SkipLayerNormalization", inputs, skip, *norm, bias, epsilon=self.epsilon)


def write_stock_graph(folder: Path, target: Path) -> None:
    """The checkpoint in `folder` as one ONNX file."""
    config = read_config(folder / "config.json")
    with open_checkpoint(folder / "model.safetensors") as checkpoint:
        graph = _Graph(
            checkpoint,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.layer_norm_eps,
        )
        rows = {
            "word": config.vocab_size,
            "position": config.max_position_embeddings,
            "token_type": config.type_vocab_size,
        }
        hidden, mask = graph.embeddings(rows)
        for layer in range(config.num_hidden_layers):
            hidden = graph.layer(f"encoder.layer.{layer}", hidden, mask)
    graph.nodes[-1].output[0] = "last_hidden_state"
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in INPUTS]
    shape: list[str | int | None] = ["texts", "tokens", config.hidden_size]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
    proto = helper.make_graph(graph.nodes, "stock", inputs, [output], graph.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_bytes(helper.make_model(proto, opset_imports=opsets, ir_version=8).SerializeToString())
    unfinished.replace(target)

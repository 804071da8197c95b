"""The matrix products of a transformer layer in single precision, biases fused into what reads them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pgembedd.model.onnx.checkpoint import PROJECTIONS, Checkpoint
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter


class LinearLayers(Protocol):
    """The linear layers of one precision. Names are those of the checkpoint; values are node outputs."""

    def projections(self, name: str, hidden: str) -> list[str]:
        """The inputs of MultiHeadAttention: query, key, value, and their joined bias unless it is in them."""

    def attention_output(self, name: str, context: str) -> str:
        """The linear layer over the heads' joined output."""

    def feed_forward(self, name: str, hidden: str) -> str:
        """A layer to intermediate_size, GELU, and a layer back."""

    def quantised(self) -> str:
        """A digest of all numbers that decide a vector, where they are not those of the checkpoint; else nothing."""


@dataclass(frozen=True)
class Fp32Layers:
    """The checkpoint's weights in single precision, unchanged."""

    checkpoint: Checkpoint
    out: GraphWriter

    def projections(self, name: str, hidden: str) -> list[str]:
        """Four names; the attention adds the biases itself."""
        names = [f"{name}.{part}" for part in PROJECTIONS]
        products = [self._product(each, hidden) for each in names]
        bias = np.concatenate([self.checkpoint.fp32(f"{each}.bias") for each in names])
        return [*products, self.out.weight(f"{name}.bias", bias)]

    def attention_output(self, name: str, context: str) -> str:
        """x W + b."""
        return self._linear(name, context)

    def feed_forward(self, name: str, hidden: str) -> str:
        """GELU takes the first bias with it."""
        first = f"{name}.intermediate.dense"
        grown = self._product(first, hidden)
        active = self.out.node("BiasGelu", grown, self._bias(first), domain=MICROSOFT)
        return self._linear(f"{name}.output.dense", active)

    def quantised(self) -> str:
        """Nothing."""
        return ""

    def _product(self, name: str, inputs: str) -> str:
        return self.out.node("MatMul", inputs, self.out.weight(f"{name}.weight", self.checkpoint.matrix(name)))

    def _bias(self, name: str) -> str:
        return self.out.weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias"))

    def _linear(self, name: str, inputs: str) -> str:
        return self.out.node("Add", self._product(name, inputs), self._bias(name))

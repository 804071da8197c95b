"""The matrix products of a transformer layer in single precision, biases fused into what reads them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.checkpoint import BertConfig, Checkpoint
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter

PROJECTIONS = ("query", "key", "value")


class LinearLayers(Protocol):
    """The linear layers of one precision. Names are those of the checkpoint; values are node outputs."""

    def projections(self, name: str, hidden: str) -> list[str]:
        """The inputs of MultiHeadAttention: query, key, value, and their joined bias unless it is in them."""

    def attention_output(self, name: str, context: str) -> str:
        """The linear layer over the heads' joined output."""

    def feed_forward(self, name: str, hidden: str) -> str:
        """A layer to intermediate_size, GELU, and a layer back."""


@dataclass(frozen=True)
class LayerWeights:
    """A checkpoint's matrices, transposed to be multiplied from the right: (in, out)."""

    config: BertConfig
    checkpoint: Checkpoint

    def weight(self, name: str) -> NDArray[np.float32]:
        """(in, out)."""
        width_in, width_out = self._widths(name)
        return self.checkpoint.fp32(f"{name}.weight", (width_out, width_in)).T

    def bias(self, name: str) -> NDArray[np.float32]:
        """(out,)."""
        return self.checkpoint.fp32(f"{name}.bias", self._widths(name)[1:])

    def _widths(self, name: str) -> tuple[int, int]:
        width, inner = self.config.hidden_size, self.config.intermediate_size
        if name.endswith("intermediate.dense"):
            return width, inner
        return (width, width) if ".attention." in name else (inner, width)


@dataclass(frozen=True)
class Fp32Layers:
    """The checkpoint's weights in single precision, unchanged."""

    matrices: LayerWeights
    out: GraphWriter

    def projections(self, name: str, hidden: str) -> list[str]:
        """Four names; the attention adds the biases itself."""
        names = [f"{name}.{part}" for part in PROJECTIONS]
        products = [self._product(each, hidden) for each in names]
        bias = np.concatenate([self.matrices.bias(each) for each in names])
        return [*products, self.out.weight(f"{name}.bias", bias)]

    def attention_output(self, name: str, context: str) -> str:
        """x W + b."""
        return self._linear(name, context)

    def feed_forward(self, name: str, hidden: str) -> str:
        """GELU takes the first bias with it."""
        first = f"{name}.intermediate.dense"
        grown = self._product(first, hidden)
        bias = self.out.weight(f"{first}.bias", self.matrices.bias(first))
        active = self.out.node("BiasGelu", grown, bias, domain=MICROSOFT)
        return self._linear(f"{name}.output.dense", active)

    def _product(self, name: str, inputs: str) -> str:
        return self.out.node("MatMul", inputs, self.out.weight(f"{name}.weight", self.matrices.weight(name)))

    def _linear(self, name: str, inputs: str) -> str:
        product = self._product(name, inputs)
        return self.out.node("Add", product, self.out.weight(f"{name}.bias", self.matrices.bias(name)))

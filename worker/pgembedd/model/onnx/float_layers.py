"""The matrix products of a transformer layer in single or half precision, biases fused into what reads them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.checkpoint import PROJECTIONS, Checkpoint
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter


@dataclass(frozen=True)
class FloatLayers:
    """The linear layers, with the checkpoint's weights at `number`'s precision. `Int8Layers` has the same methods.

    Names are those of the checkpoint; values are node outputs.
    """

    checkpoint: Checkpoint
    out: GraphWriter
    number: type[np.float32] | type[np.float16] = np.float32

    def projections(self, name: str, hidden: str) -> list[str]:
        """The inputs of MultiHeadAttention: query, key, value, and their joined bias, which it adds itself."""
        names = [f"{name}.{part}" for part in PROJECTIONS]
        products = [self._product(each, hidden) for each in names]
        bias = np.concatenate([self.checkpoint.fp32(f"{each}.bias") for each in names])
        return [*products, self._weight(f"{name}.bias", bias)]

    def attention_output(self, name: str, context: str) -> str:
        """The layer over the heads' joined output: x W + b."""
        return self._linear(name, context)

    def feed_forward(self, name: str, hidden: str) -> str:
        """A layer to intermediate_size, GELU, which takes the bias with it, and a layer back."""
        first = f"{name}.intermediate.dense"
        grown = self._product(first, hidden)
        active = self.out.node("BiasGelu", grown, self._bias(first), domain=MICROSOFT)
        return self._linear(f"{name}.output.dense", active)

    def quantised(self) -> str:
        """Nothing: the numbers are those of the checkpoint."""
        return ""

    def _product(self, name: str, inputs: str) -> str:
        return self.out.node("MatMul", inputs, self._weight(f"{name}.weight", self.checkpoint.matrix(name)))

    def _bias(self, name: str) -> str:
        return self._weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias"))

    def _weight(self, name: str, values: NDArray[np.float32]) -> str:
        return self.out.weight(name, values.astype(self.number))

    def _linear(self, name: str, inputs: str) -> str:
        return self.out.node("Add", self._product(name, inputs), self._bias(name))

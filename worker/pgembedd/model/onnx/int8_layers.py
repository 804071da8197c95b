"""The matrix products of a transformer layer on 8-bit integers.

What LayerNorm gives out has a known size, and what attention gives out is a mean of such values: there one fixed
scale per layer, found by calibration, is as good as one per token, and costs a single pass. What GELU gives out
differs from token to token a hundredfold, so there each token has its own scale. No scale depends on another text,
hence a text's vector does not depend on its company. docs/reference/models.md has what this costs and what it gains.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.calibration import Spread
from pgembedd.model.onnx.cpu_check import Signedness
from pgembedd.model.onnx.fp32_layers import PROJECTIONS, Matrices
from pgembedd.model.onnx.quantization import Levels, Weights, balance, fixed_levels, quantise
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter

GELU_FLOOR = 0.17
"""GELU is never below -0.16998; with this added its output starts at 0, and all 256 levels are of use."""

CONTEXT_MARGIN = 1.2
"""A token that attends to itself alone gets values that the mean over a calibration text never shows."""


@dataclass(frozen=True)
class _Integers:
    """Quantised activations: the node that gives them out, and their scale and zero point."""

    name: str
    scale: str
    zero_point: str


@dataclass(frozen=True)
class Int8Products:
    """u8 activations times 8-bit weights, summed in 32 bits, scaled back to single precision.

    `spreads` are what `calibrate.spreads` found. `signedness` is how the weights' levels are stored, for processors
    that compute one form exactly and not the other. `digest` has seen every number that decides a vector, and the
    levels as signed ones whatever they are stored as: the fingerprint and the vectors are those of all processors.
    """

    matrices: Matrices
    spreads: Mapping[str, Spread]
    out: GraphWriter
    signedness: Signedness
    digest: Any = field(default_factory=hashlib.sha256)

    def projections(self, name: str, hidden: str) -> list[str]:
        """Three names, biases included. The three matrices share one quantisation of their input."""
        return self._balanced(name, hidden, [f"{name}.{part}" for part in PROJECTIONS])

    def mixed(self, name: str, context: str) -> str:
        """x W + b, unbalanced: no channel of a context is much larger than the others."""
        spread = self.spreads[name]
        ones = np.ones(spread.lowest.shape, np.float32)
        return self._linear(name, self._fixed(name, context, fixed_levels(spread, ones, CONTEXT_MARGIN)), ones)

    def feed_forward(self, name: str, hidden: str) -> str:
        """The first product's bias goes with its scales; GELU and the second product follow."""
        grow = f"{name}.intermediate.dense"
        (grown,) = self._balanced(grow, hidden, [grow])
        active = self.out.node("Gelu", grown, domain=MICROSOFT)
        return self.out.node("Reshape", self._per_token(f"{name}.output.dense", active), self.out.node("Shape", hidden))

    def _balanced(self, name: str, inputs: str, layers: Sequence[str]) -> list[str]:
        """Products of one input with several matrices, its large channels handed over to them."""
        spread = self.spreads[name]
        joined = np.concatenate([self.matrices.weight(layer) for layer in layers], axis=1).astype(np.float64)
        factors = balance(spread, joined)
        divided = self.out.node("Mul", inputs, self._weight(f"{name}.balance", 1 / factors))
        integers = self._fixed(name, divided, fixed_levels(spread, factors))
        return [self._linear(layer, integers, factors) for layer in layers]

    def _linear(self, name: str, integers: _Integers, factors: NDArray[np.float32]) -> str:
        matrix = self.matrices.weight(name).astype(np.float64) * factors[:, None]
        weights = quantise(matrix)
        bias = self._weight(f"{name}.bias", self.matrices.bias(name))
        return self._product(name, integers, weights, bias)

    def _per_token(self, name: str, active: str) -> str:
        """x W + b as rows, with x = s q - GELU_FLOOR: each token's own scale s, and one bias that undoes the shift."""
        matrix, out = self.matrices.weight(name), self.out
        weights = quantise(matrix.astype(np.float64))
        shifted = out.node("Add", active, self._scalar(f"{name}.floor", np.float32(GELU_FLOOR)))
        rows = out.node("Reshape", shifted, out.constant(f"{name}.rows", np.array([-1, len(matrix)])))
        largest = out.node("ReduceMax", rows, out.constant(f"{name}.axis", np.array([1])), keepdims=0)
        scales = out.node("Mul", largest, self._scalar(f"{name}.level", np.float32(1 / 255)))
        one = self._scalar(f"{name}.input_scale", np.float32(1))
        zero = self._scalar(f"{name}.input_zero_point", np.uint8(0))
        integers = _Integers(out.node("QuantizeLinear", rows, scales, axis=0), one, zero)
        column = out.node("Unsqueeze", scales, out.constant(f"{name}.column", np.array([1])))
        scaled = out.node("Mul", self._product(name, integers, weights), column)
        sums = weights.levels.sum(axis=0, dtype=np.int64) * weights.scales.astype(np.float64)
        return out.node("Add", scaled, self._weight(f"{name}.bias", self.matrices.bias(name) - GELU_FLOOR * sums))

    def _fixed(self, name: str, inputs: str, levels: Levels) -> _Integers:
        scale = self._scalar(f"{name}.input_scale", levels.scale)
        zero_point = self._scalar(f"{name}.input_zero_point", levels.zero_point)
        return _Integers(self.out.node("QuantizeLinear", inputs, scale, zero_point), scale, zero_point)

    def _product(self, name: str, integers: _Integers, weights: Weights, bias: str = "") -> str:
        levels, zero_point = self._levels(f"{name}.weight", weights.levels)
        scales = self._weight(f"{name}.scales", weights.scales)
        inputs = (integers.name, levels, integers.scale, scales, integers.zero_point, zero_point, bias)
        return self.out.node("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)

    def _levels(self, name: str, levels: NDArray[np.int8]) -> tuple[str, str]:
        """The weights' levels and their zero point, which is left out where it is 0."""
        self._see(name, levels)
        if self.signedness == "signed":
            return self.out.weight(name, levels), ""
        raised = (levels.astype(np.int16) + 128).astype(np.uint8)
        return self.out.weight(name, raised), self.out.constant(f"{name}.zero_point", np.array(128, np.uint8))

    def _scalar(self, name: str, value: np.generic) -> str:
        self._see(name, np.asarray(value))
        return self.out.constant(name, np.asarray(value))

    def _weight(self, name: str, values: NDArray[Any]) -> str:
        stored = values.astype(np.float32)
        self._see(name, stored)
        return self.out.weight(name, stored)

    def _see(self, name: str, values: NDArray[Any]) -> None:
        self.digest.update(f"{name} {values.dtype.name} {values.shape}\n".encode())
        self.digest.update(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())

"""The matrix products of a transformer layer on 8-bit integers.

The output of LayerNorm has a known size, and the output of attention is a mean of such values: there one static scale
per layer, found by calibration, is as good as one per token, and costs a single pass. The output of GELU differs from
token to token a hundredfold, so there each token has its own scale. No scale depends on another text, hence a text's
vector does not depend on the other texts of its batch. docs/reference/models.md has the costs and gains.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.calibration import ActivationRange
from pgembedd.model.onnx.checkpoint import PROJECTIONS, Checkpoint
from pgembedd.model.onnx.cpu_check import Signedness
from pgembedd.model.onnx.quantization import (
    QuantizedWeights,
    QuantParameters,
    quantise,
    smoothing_factors,
    static_parameters,
)
from pgembedd.model.onnx.writer import MICROSOFT, GraphWriter

GELU_FLOOR = 0.17
"""GELU is never below -0.16998; with this added its output starts at 0, and all 256 levels are of use."""

CONTEXT_MARGIN = 1.2
"""A token that attends to itself alone gets values that the mean over a calibration text never shows."""


@dataclass(frozen=True)
class _Integers:
    """Quantised activations: the node that computes them, their scale and zero point."""

    name: str
    scale: str
    zero_point: str


@dataclass(frozen=True)
class Int8Layers:
    """u8 activations times 8-bit weights, summed in 32 bits, scaled back to single precision.

    `activation_ranges` come from `calibration`. `signedness` is how the weights' levels are stored, for
    processors that compute one form exactly and not the other. `digest` covers every number that decides a vector, with
    the levels always as signed ones: fingerprint and vectors are the same on all processors.
    """

    checkpoint: Checkpoint
    activation_ranges: Mapping[str, ActivationRange]
    out: GraphWriter
    signedness: Signedness
    digest: Any = field(default_factory=hashlib.sha256)

    def projections(self, name: str, hidden: str) -> list[str]:
        """Three names, biases included. The three matrices share one quantisation of their input."""
        return self._smoothed(name, hidden, [f"{name}.{part}" for part in PROJECTIONS])

    def attention_output(self, name: str, context: str) -> str:
        """x W + b, not smoothed: no channel of a context is much larger than the others."""
        seen = self.activation_ranges[name]
        ones = np.ones(seen.lowest.shape, np.float32)
        return self._linear(name, self._fixed(name, context, static_parameters(seen, ones, CONTEXT_MARGIN)), ones)

    def feed_forward(self, name: str, hidden: str) -> str:
        """The first product's bias goes with its scales; GELU and the second product follow."""
        grow = f"{name}.intermediate.dense"
        (grown,) = self._smoothed(grow, hidden, [grow])
        active = self.out.node("Gelu", grown, domain=MICROSOFT)
        return self.out.node("Reshape", self._per_token(f"{name}.output.dense", active), self.out.node("Shape", hidden))

    def quantised(self) -> str:
        """The digest in hex."""
        return str(self.digest.hexdigest())

    def _smoothed(self, name: str, inputs: str, layers: Sequence[str]) -> list[str]:
        """Products of one input with several matrices, which take over part of its large channels (SmoothQuant)."""
        seen = self.activation_ranges[name]
        joined = np.concatenate([self.checkpoint.matrix(layer) for layer in layers], axis=1).astype(np.float64)
        factors = smoothing_factors(seen, joined)
        divided = self.out.node("Mul", inputs, self._weight(f"{name}.balance", 1 / factors))
        integers = self._fixed(name, divided, static_parameters(seen, factors))
        return [self._linear(layer, integers, factors) for layer in layers]

    def _linear(self, name: str, integers: _Integers, factors: NDArray[np.float32]) -> str:
        matrix = self.checkpoint.matrix(name).astype(np.float64) * factors[:, None]
        weights = quantise(matrix)
        bias = self._weight(f"{name}.bias", self.checkpoint.fp32(f"{name}.bias"))
        return self._product(name, integers, weights, bias)

    def _per_token(self, name: str, active: str) -> str:
        """x W + b as rows, with x = s q - GELU_FLOOR: each token's own scale s, and one bias that undoes the shift."""
        matrix, out = self.checkpoint.matrix(name), self.out
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
        bias = self.checkpoint.fp32(f"{name}.bias") - GELU_FLOOR * sums
        return out.node("Add", scaled, self._weight(f"{name}.bias", bias))

    def _fixed(self, name: str, inputs: str, levels: QuantParameters) -> _Integers:
        scale = self._scalar(f"{name}.input_scale", levels.scale)
        zero_point = self._scalar(f"{name}.input_zero_point", levels.zero_point)
        return _Integers(self.out.node("QuantizeLinear", inputs, scale, zero_point), scale, zero_point)

    def _product(self, name: str, integers: _Integers, weights: QuantizedWeights, bias: str = "") -> str:
        levels, zero_point = self._levels(f"{name}.weight", weights.levels)
        scales = self._weight(f"{name}.scales", weights.scales)
        inputs = (integers.name, levels, integers.scale, scales, integers.zero_point, zero_point, bias)
        return self.out.node("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)

    def _levels(self, name: str, levels: NDArray[np.int8]) -> tuple[str, str]:
        """The weights' levels and their zero point, which is left out where it is 0."""
        self._update_digest(name, levels)
        if self.signedness == "signed":
            return self.out.weight(name, levels), ""
        raised = (levels.astype(np.int16) + 128).astype(np.uint8)
        return self.out.weight(name, raised), self.out.constant(f"{name}.zero_point", np.array(128, np.uint8))

    def _scalar(self, name: str, value: np.generic) -> str:
        self._update_digest(name, np.asarray(value))
        return self.out.constant(name, np.asarray(value))

    def _weight(self, name: str, values: NDArray[Any]) -> str:
        stored = values.astype(np.float32)
        self._update_digest(name, stored)
        return self.out.weight(name, stored)

    def _update_digest(self, name: str, values: NDArray[Any]) -> None:
        self.digest.update(f"{name} {values.dtype.name} {values.shape}\n".encode())
        self.digest.update(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())

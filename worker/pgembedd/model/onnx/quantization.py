"""The arithmetic of int8: scales and integers. Pure functions of numpy arrays.

Weights are signed with one scale per output channel, activations unsigned, the pair that processors multiply
fastest. Everything here comes out the same on every machine: factors that derive from sums keep four binary digits,
and what follows from them are single operations that IEEE 754 rounds in one way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.calibration import ActivationRange, Float64Array

MIGRATION_STRENGTH = 0.7
"""The share of large activation channels that moves over to the weights, from 0 to 1 (SmoothQuant's alpha)."""

_SMALLEST = 1e-4


@dataclass(frozen=True)
class QuantizedWeights:
    """A matrix as `levels` int8 (in, out), none of them -128, times `scales` float32 (out,)."""

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]


@dataclass(frozen=True)
class QuantParameters:
    """Activations x become the integers round(x / scale) + zero_point, cut to 0..255."""

    scale: np.float32
    zero_point: np.uint8


def smoothing_factors(seen: ActivationRange, matrix: Float64Array) -> NDArray[np.float32]:
    """Factors (in,) by which activations are divided and the weights' rows multiplied: the product stays the same.

    Channels with large activations would else set the scale for all (SmoothQuant, Xiao et al. 2023, eq. 4).
    """
    activations = np.maximum(seen.largest, _SMALLEST)
    weights = np.maximum(np.abs(matrix).max(axis=1), _SMALLEST)
    logarithms = MIGRATION_STRENGTH * np.log2(activations) - (1 - MIGRATION_STRENGTH) * np.log2(weights)
    return _short(np.exp2(logarithms - logarithms.mean()))


def _short(values: Float64Array) -> NDArray[np.float32]:
    """Rounded to four binary digits, so that a difference in the fifteenth decimal does not show."""
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.round(mantissas * 16) / 16, exponents).astype(np.float32)


def static_parameters(seen: ActivationRange, factors: NDArray[np.float32], margin: float = 1.0) -> QuantParameters:
    """The scale that covers all activations seen, divided by their factors; `margin` widens it for those not seen."""
    lowest = min(0.0, float((seen.lowest / factors).min())) * margin
    highest = max(0.0, float((seen.highest / factors).max())) * margin
    scale = np.float32(max(highest - lowest, _SMALLEST) / 255)
    return QuantParameters(scale, np.uint8(np.clip(round(-lowest / float(scale)), 0, 255)))


def quantise(matrix: Float64Array) -> QuantizedWeights:
    """The matrix (in, out) on 255 levels per output channel, so that the channel's largest weight is 127 or -127."""
    scales = (np.maximum(np.abs(matrix).max(axis=0), _SMALLEST**2) / 127).astype(np.float32)
    return QuantizedWeights(np.clip(np.rint(matrix / scales.astype(np.float64)), -127, 127).astype(np.int8), scales)

"""The ranges of a checkpoint's activations: one pass in double precision over texts that ship with pgembedd.

In numpy and in double precision, because the results derived from it must be the same on every machine: sums
taken in another order differ here by 1e-15, far below what any rounding in `quantization.py` can see.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.onnx.checkpoint import (
    POSITION_EMBEDDINGS,
    PROJECTIONS,
    TYPE_EMBEDDINGS,
    WORD_EMBEDDINGS,
    Checkpoint,
)

Float64Array = NDArray[np.float64]

_ROWS = 256  # tokens that go through the widest part at a time: a worker that builds its graph must stay small


@dataclass(frozen=True)
class ActivationRange:
    """The lowest and highest value seen in each channel of a matrix product's input, float64 (channels,) each."""

    lowest: Float64Array
    highest: Float64Array

    @property
    def largest(self) -> Float64Array:
        """The largest magnitude of each channel."""
        return np.maximum(np.abs(self.lowest), np.abs(self.highest))


def calibration_texts() -> list[str]:
    """Prose, code, questions, numbers, several languages, short and odd ones: about 1,400 tokens."""
    return Path(__file__).with_name("calibration.txt").read_text(encoding="utf-8").strip().split("\n\n")


def activation_ranges(checkpoint: Checkpoint, texts: Sequence[Sequence[int]]) -> dict[str, ActivationRange]:
    """The input of every matrix product, by the name of its layer, over texts given as token ids."""
    return dict(_Forward(checkpoint).activation_ranges(texts))


@dataclass(frozen=True)
class _Forward:
    """BERT (Devlin et al. 2019), layer by layer over all texts at once, so that each weight is read once.

    The feed-forward output of the last layer is not used: computing it keeps the loop plain.
    """

    checkpoint: Checkpoint

    def activation_ranges(self, texts: Sequence[Sequence[int]]) -> Iterator[tuple[str, ActivationRange]]:
        ends = np.cumsum([len(ids) for ids in texts])[:-1]
        hidden = self._embedded(texts)
        for layer in range(self.checkpoint.config.num_hidden_layers):
            name = f"encoder.layer.{layer}"
            yield f"{name}.attention.self", _range(hidden)
            context = self._attention(f"{name}.attention.self", hidden, ends)
            yield f"{name}.attention.output.dense", _range(context)
            mixed = self._linear(f"{name}.attention.output.dense", context)
            hidden = self._norm(f"{name}.attention.output.LayerNorm", hidden + mixed)
            yield f"{name}.intermediate.dense", _range(hidden)
            parts = [self._feed_forward(name, part) for part in np.array_split(hidden, -(-len(hidden) // _ROWS))]
            yield f"{name}.output.dense", _joined([seen for _, seen in parts])
            fed = np.concatenate([output for output, _ in parts])
            hidden = self._norm(f"{name}.output.LayerNorm", hidden + fed)

    def _embedded(self, texts: Sequence[Sequence[int]]) -> Float64Array:
        ids = np.concatenate([np.asarray(text) for text in texts])
        places = np.concatenate([np.arange(len(text)) for text in texts])
        words = self._tensor(WORD_EMBEDDINGS, rows=ids)
        positions, types = self._tensor(POSITION_EMBEDDINGS), self._tensor(TYPE_EMBEDDINGS)
        return self._norm("embeddings.LayerNorm", words + positions[places] + types[0])

    def _attention(self, name: str, hidden: Float64Array, ends: NDArray[np.intp]) -> Float64Array:
        parts = (self._linear(f"{name}.{part}", hidden) for part in PROJECTIONS)
        texts = zip(*(np.split(part, ends) for part in parts), strict=True)
        return np.concatenate([self._attend(*text) for text in texts])

    def _attend(self, query: Float64Array, key: Float64Array, value: Float64Array) -> Float64Array:
        """One text's attention (Vaswani et al. 2017, eq. 1), (tokens, hidden_size)."""
        heads = self.checkpoint.config.num_attention_heads
        q, k, v = (part.reshape(len(part), heads, -1).transpose(1, 0, 2) for part in (query, key, value))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        joined = (weights / weights.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2)
        return np.asarray(joined.reshape(len(query), -1), np.float64)

    def _feed_forward(self, name: str, hidden: Float64Array) -> tuple[Float64Array, ActivationRange]:
        """The output of both products, and the range of the second one's input."""
        active = _gelu(self._linear(f"{name}.intermediate.dense", hidden))
        return self._linear(f"{name}.output.dense", active), _range(active)

    def _linear(self, name: str, inputs: Float64Array) -> Float64Array:
        return np.asarray(inputs @ self._tensor(f"{name}.weight").T + self._tensor(f"{name}.bias"), np.float64)

    def _norm(self, name: str, inputs: Float64Array) -> Float64Array:
        """LayerNorm over the last axis (Ba et al. 2016)."""
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.checkpoint.config.layer_norm_eps)
        scaled = centred / deviation * self._tensor(f"{name}.weight")
        return np.asarray(scaled + self._tensor(f"{name}.bias"), np.float64)

    def _tensor(self, name: str, rows: NDArray[np.intp] | None = None) -> Float64Array:
        stored = self.checkpoint.stored(name)
        return (stored if rows is None else stored[rows]).astype(np.float64)


def _gelu(values: Float64Array) -> Float64Array:
    """x Phi(x), erf by Abramowitz and Stegun 7.1.26: within 1.5e-7, and numpy has none."""
    distance = np.abs(values) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * distance)
    series = np.polyval([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0], t)
    erf = np.copysign(1 - series * np.exp(-(distance**2)), values)
    return np.asarray(values * (1 + erf) / 2, np.float64)


def _range(values: Float64Array) -> ActivationRange:
    return ActivationRange(values.min(axis=0), values.max(axis=0))


def _joined(ranges: Sequence[ActivationRange]) -> ActivationRange:
    """The range over several parts."""
    lowest, highest = (np.stack([getattr(each, end) for each in ranges]) for end in ("lowest", "highest"))
    return ActivationRange(lowest.min(axis=0), highest.max(axis=0))

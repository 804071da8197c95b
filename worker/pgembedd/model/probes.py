"""Probe texts: their vectors show that a model on a server was changed there under the same name."""

from typing import Protocol, runtime_checkable

from pgembedd.model.pooling import Float32Array

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "Invoices are due within thirty days.",
    "Straße, naïve, 東京",
)
"""Texts whose vectors say how many dimensions a model has, and whether it is the same. They are no table's content."""
PROBE_TOKENS = 16
PROBE_EVERY_S = 3_600.0
PROBE_TOLERANCE = 0.01
"""As 1 - cosine. A provider's vectors of one text differ by a thousandth at most; those of two models by far more."""


@runtime_checkable
class Probed(Protocol):
    """A model on a server, which may be changed there under the same name."""

    @property
    def probes(self) -> Float32Array:
        """(n, dims): the vectors of a few fixed texts, as it gives them."""
        ...


def differs(before: Float32Array, now: Float32Array) -> bool:
    """Tells whether vectors of the same texts, (n, dims) of norm 1 each, are of two models."""
    return bool((1 - (before * now).sum(axis=1) > PROBE_TOLERANCE).any())

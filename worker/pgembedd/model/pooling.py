"""From token vectors to one vector per text."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["mean", "cls"]
Float32Array = NDArray[np.float32]


def pool(tokens: Float32Array, pooling: Pooling) -> Float32Array:
    """(texts, tokens, dims) to (texts, dims): the mean over the tokens, or the first token's vector.

    Every token counts, because texts of one run are equally long and none is padding. Output of two axes
    comes from a model that pools by itself and is returned as it is.
    """
    if tokens.ndim == 2:
        return tokens
    if pooling == "cls":
        return tokens[:, 0]
    means: NDArray[np.float64] = np.mean(tokens, axis=1, dtype=np.float64)
    return means.astype(np.float32)


def normalize(vectors: Float32Array) -> Float32Array:
    """Vectors of norm 1 along the last axis; a zero vector stays zero."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    units: NDArray[np.float64] = wide / np.maximum(norms, np.finfo(np.float64).tiny)
    return units.astype(np.float32)

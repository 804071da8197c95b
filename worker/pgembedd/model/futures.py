"""The inputs and results of a session: texts, embeddings, and the future of those under way."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.pooling import Float32Array

Kind = Literal["document", "query"]
Text = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary, without special ones."""


@dataclass(frozen=True)
class Embeddings:
    """`vectors` float32 (n, dims), each of norm 1; `dropped` int32 (n,), tokens cut at the model's limit.

    `tokens` int32 (n,), all tokens of each text, special ones included: those kept and those dropped.
    `dropped` is exact for texts of up to 65,536 characters, an estimate beyond (`tokenizer.Tokenizer.encode`).
    """

    vectors: Float32Array
    dropped: NDArray[np.int32]
    tokens: NDArray[np.int32]


Run = tuple[list[int], Future[Float32Array]]
"""Positions of texts, and the future of their vectors."""


class RunFutures:
    """The runs of one call of `Session.start`, as one future."""

    def __init__(
        self,
        runs: list[Run],
        dims: int,
        positions: list[int],
        dropped: list[int],
        tokens: list[int],
    ) -> None:
        """`runs` compute the distinct texts at these positions; `positions` has the one of each text asked for."""
        self._runs, self._dims, self._asked, self._dropped, self._tokens = runs, dims, positions, dropped, tokens

    def result(self) -> Embeddings:
        """Waits for the vectors, in the order of the texts; raises the model's error."""
        distinct = np.empty((len(self._dropped), self._dims), np.float32)
        try:
            for positions, future in self._runs:
                distinct[positions] = future.result()
        except BaseException:
            for _, future in self._runs:
                future.cancel()
            raise
        asked = np.asarray(self._asked, np.intp)
        return Embeddings(
            distinct[asked],
            np.asarray(self._dropped, np.int32)[asked],
            np.asarray(self._tokens, np.int32)[asked],
        )

"""What a session is asked for and what it answers: texts, and vectors to come."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.pooling import Float32Array

Kind = Literal["document", "query"]
Text = str | tuple[int, ...]
"""What can be embedded: a text, or its token ids in the model's own vocabulary, without special ones."""


@dataclass(frozen=True)
class Embeddings:
    """`vectors` float32 (n, dims), each of norm 1; `dropped` int32 (n,), tokens cut at the model's limit.

    `tokens` int32 (n,), all tokens of each text, special ones included: those kept and those dropped.
    `dropped` is exact for texts of up to 65,536 characters, an estimate beyond (`tokens.Tokenizer.encode`).
    """

    vectors: Float32Array
    dropped: NDArray[np.int32]
    tokens: NDArray[np.int32]


Run = tuple[list[int], Future[Float32Array]]
"""Positions of texts, and their vectors to come."""


class Pending:
    """Texts on their way through the model."""

    def __init__(
        self,
        runs: list[Run],
        dims: int,
        which: list[int],
        dropped: list[int],
        tokens: list[int],
    ) -> None:
        """`runs` compute the distinct texts at these positions; `which` says where each text's vector is."""
        self._runs, self._dims, self._which, self._dropped, self._tokens = runs, dims, which, dropped, tokens

    def result(self) -> Embeddings:
        """Wait for the vectors, in the order of the texts; raises what the model raised."""
        distinct = np.empty((len(self._dropped), self._dims), np.float32)
        try:
            for positions, future in self._runs:
                distinct[positions] = future.result()
        except BaseException:
            for _, future in self._runs:
                future.cancel()
            raise
        which = np.asarray(self._which, np.intp)
        return Embeddings(
            distinct[which],
            np.asarray(self._dropped, np.int32)[which],
            np.asarray(self._tokens, np.int32)[which],
        )

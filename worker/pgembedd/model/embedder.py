"""The seam between the rest of the program and a model: texts in, vectors out, no database."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pgembedd.text.chunker import Chunk


class Embedded(Protocol):
    """Vectors, float32 (n, dims) in the order of the texts; of each its tokens and how many were cut, int (n,)."""

    @property
    def vectors(self) -> npt.NDArray[np.float32]: ...
    @property
    def dropped(self) -> npt.NDArray[np.int32]: ...
    @property
    def tokens(self) -> npt.NDArray[np.int32]: ...


class Pending(Protocol):
    """Texts on their way through a model."""

    def result(self) -> Embedded: ...


class Embedder(Protocol):
    """The seam between queue and model: texts in, vectors out, no database."""

    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    def start(
        self,
        texts: Sequence[str | tuple[int, ...]],
        *,
        kind: Literal["document", "query"] = "document",
        urgent: bool | None = None,
    ) -> Pending: ...
    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]: ...
    def run(
        self,
        text_or_texts: Sequence[str],
        mean_pool: bool,
        normalize: bool,
        *,
        kind: Literal["document", "query"] = "document",
    ) -> Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32]: ...
    def close(self) -> None: ...


class Failed:
    """Texts that a model would not even take: its error comes where others wait for their vectors."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self) -> Embedded:
        """Raises what the model raised."""
        raise self._error


def start(embedder: Embedder, texts: Sequence[str]) -> Pending:
    """Hand texts to the model. Never raises; the result does."""
    try:
        return embedder.start(texts)
    except Exception as error:
        return Failed(error)

"""The interface of a model: texts in, vectors out, no database."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pgembedd.model.futures import Embeddings
from pgembedd.model.scheduler import Lane
from pgembedd.text.chunker import Chunk


class EmbeddingsFuture(Protocol):
    """The embeddings of texts that were handed to a model."""

    def result(self) -> Embeddings: ...


class Embedder(Protocol):
    """A model, as the rest of the program uses it; `Session` is one."""

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
        lane: Lane | None = None,
    ) -> EmbeddingsFuture: ...
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


class FailedFuture:
    """The future of texts that a model refused: its error is raised by `result()`, as any other."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self) -> Embeddings:
        """Raises the model's error."""
        raise self._error


def start(embedder: Embedder, texts: Sequence[str], lane: Lane) -> EmbeddingsFuture:
    """Hands texts of rows to the model. Never raises; the result does."""
    try:
        return embedder.start(texts, lane=lane)
    except Exception as error:
        return FailedFuture(error)

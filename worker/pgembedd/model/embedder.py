"""The interface of a model: texts in, vectors out, no database."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from pgembedd.model.futures import Embeddings, Kind, Text
from pgembedd.model.pooling import Float32Array
from pgembedd.scheduler import Lane
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
        self, texts: Sequence[Text], *, kind: Kind = "document", lane: Lane | None = None
    ) -> EmbeddingsFuture: ...
    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]: ...
    def run(
        self, text_or_texts: Sequence[str], mean_pool: bool, normalize: bool, *, kind: Kind = "document"
    ) -> Sequence[Float32Array] | Float32Array: ...
    def close(self) -> None: ...


def start(embedder: Embedder, texts: Sequence[Text], lane: Lane, kind: Kind = "document") -> EmbeddingsFuture:
    """Hands texts to the model. Never raises; the result does."""
    try:
        return embedder.start(texts, kind=kind, lane=lane)
    except BaseException as error:  # also a panic of Rust
        refused: Future[Embeddings] = Future()
        refused.set_exception(error)
        return refused

"""The real model, also with something done to it: the only wrappers around it that tests use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from pgembedd.errors import ModelUnavailableError
from pgembedd.model import Embeddings, Reranker, RunFutures, Session, Text
from pgembedd.model.embedder import Embedder
from pgembedd.scheduler import Lane
from pgembedd.text.chunker import Chunk

MODEL = "all-MiniLM-L6-v2"
Hook = Callable[[Sequence[Any]], None]
"""Sees texts: strings, or tuples of token ids."""


def nothing(texts: Sequence[Any]) -> None:
    """A hook that leaves the model as it is."""


@pytest.fixture(scope="session")
def model() -> Iterator[Session]:
    """all-MiniLM-L6-v2 with its real weights, loaded once."""
    with Session(MODEL, threads=2, notify=print) as session:
        yield session


@pytest.fixture(scope="session")
def reranker() -> Iterator[Reranker]:
    """ms-marco-minilm-l12 with its real weights; skipped where it cannot be fetched."""
    try:
        loaded = Reranker(threads=2, notify=print)
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    with loaded:
        yield loaded


class Wrapped:
    """The real model with hooks: `on_start` runs as texts are handed over, `on_result` before their vectors are.

    A hook may record, block, change the database, or raise; what passes it gets its real vectors. Closing does
    nothing, because the session is shared.
    """

    def __init__(self, session: Session, on_start: Hook = nothing, on_result: Hook = nothing) -> None:
        self._session, self._on_start, self._on_result = session, on_start, on_result
        self.name, self.dims, self.fingerprint = session.name, session.dims, session.fingerprint
        self.max_tokens = session.max_tokens

    def start(
        self,
        texts: Sequence[Text],
        *,
        kind: Literal["document", "query"] = "document",
        lane: Lane | None = None,
    ) -> WrappedPending:
        """Texts on their way through the real model."""
        self._on_start(texts)
        return WrappedPending(self._session.start(texts, kind=kind, lane=lane), texts, self._on_result)

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]:
        """The real chunks."""
        return self._session.split(text, tokens=tokens, overlap=overlap, markdown=markdown, before=before, after=after)

    def run(
        self,
        text_or_texts: Sequence[str],
        mean_pool: bool,
        normalize: bool,
        *,
        kind: Literal["document", "query"] = "document",
    ) -> Sequence[NDArray[np.float32]] | NDArray[np.float32]:
        """The real arrays."""
        self._on_start(text_or_texts)
        arrays = self._session.run(text_or_texts, mean_pool, normalize, kind=kind)
        self._on_result(text_or_texts)
        return arrays

    def close(self) -> None:
        """Leave the session open."""


class Counted:
    """The real model, and the texts that it was asked for."""

    def __init__(self, session: Session) -> None:
        self.asked: list[str] = []
        self.model = Wrapped(session, on_start=lambda texts: self.asked.extend(map(str, texts)))


class WrappedPending:
    """Their vectors, after the hook."""

    def __init__(self, pending: RunFutures[Embeddings], texts: Sequence[Text], on_result: Hook) -> None:
        self._pending, self._texts, self._on_result = pending, texts, on_result

    def result(self) -> Embeddings:
        """The real vectors."""
        self._on_result(self._texts)
        return self._pending.result()


def only(embedder: Embedder) -> Callable[[str], Embedder]:
    """A loader that has this one model and no other, like a machine without network. A session stays open after it."""
    kept = Wrapped(embedder) if isinstance(embedder, Session) else embedder

    def load(name: str) -> Embedder:
        if name != embedder.name:
            raise ModelUnavailableError(f"The model {name} cannot be fetched: there is no network in this test.")
        return kept

    return load


class Gate:
    """A hook that holds texts back until the gate is opened, and tells that they have come."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, _texts: Sequence[Any]) -> None:
        self.reached.set()
        assert self._open.wait(60), "the gate was not opened"

    def open(self) -> None:
        """Let everything pass from now on."""
        self._open.set()

"""`pgembedd` with a model that computes nothing: `python -m bench.null_worker run`.

Every text gets the same vector at once. The rest is the worker's own: what is left is what the plumbing carries.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pgembedd import cli
from pgembedd.loop import model_loader
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings
from pgembedd.model.providers.protocol import Ledger
from pgembedd.model.scheduler import Lane
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer
from pgembedd.text.chunker import Chunk

DIMS = 384
WORDS = 250  # of a chunk, where the pipeline leaves it to the model


@dataclass(frozen=True)
class Constant:
    """The future of `count` vectors float32 (count, DIMS), all the same, of norm 1; one token each, none dropped."""

    count: int

    def result(self) -> Embeddings:
        """At once."""
        vectors = np.full((self.count, DIMS), DIMS**-0.5, np.float32)
        return Embeddings(vectors, np.zeros(self.count, np.int32), np.ones(self.count, np.int32))


class NullModel:
    """An Embedder that looks at no text."""

    name, dims, fingerprint, max_tokens = "null", DIMS, "null", 512

    def start(
        self,
        texts: Sequence[str | tuple[int, ...]],
        *,
        kind: Literal["document", "query"] = "document",  # noqa: ARG002
        lane: Lane | None = None,  # noqa: ARG002
    ) -> Constant:
        """As many vectors as texts."""
        return Constant(len(texts))

    def split(
        self,
        text: str,
        *,
        tokens: int | None,
        overlap: int,
        markdown: bool,  # noqa: ARG002
        before: str = "",  # noqa: ARG002
        after: str = "",  # noqa: ARG002
    ) -> list[Chunk]:
        """`tokens` words a chunk, `overlap` of them again in the next, whatever stands around."""
        words, size = list(re.finditer(r"\S+", text)), tokens or WORDS
        step = max(1, size - overlap)
        parts = [words[at : at + size] for at in range(0, max(1, len(words) - overlap), step)]
        spans = [(part[0].start(), part[-1].end()) for part in parts if part]
        return [Chunk(start, end, text[start:end]) for start, end in spans or [(0, len(text))]]

    def run(
        self,
        text_or_texts: Sequence[str],
        mean_pool: bool,  # noqa: ARG002
        normalize: bool,  # noqa: ARG002
        *,
        kind: Literal["document", "query"] = "document",  # noqa: ARG002
    ) -> npt.NDArray[np.float32]:
        """As many vectors as texts, whatever is asked."""
        return self.start(text_or_texts).result().vectors

    def close(self) -> None:
        """Nothing to close."""


def load(
    settings: Settings,  # noqa: ARG001
    observer: Observer = SILENT,  # noqa: ARG001
    ledger: Ledger | None = None,  # noqa: ARG001
) -> Callable[[str], Embedder]:
    """In place of `pgembedd.loop.model_loader.loader`: whatever the pipeline asks for, it gets this."""
    return lambda _name: NullModel()


if __name__ == "__main__":
    model_loader.loader = load
    cli.main()

"""`pgembedd` with a model that computes nothing: `python -m bench.null_worker run`.

Every text gets the same vector at once. The rest is the worker's own: what is left is what the plumbing carries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembedd import cli
from pgembedd.cli import ray_workers
from pgembedd.loop import model_loader
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings
from pgembedd.text.chunker import Chunk

DIMS = 384


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

    def start(self, texts: Sequence[object], **_: object) -> Constant:
        """As many vectors as texts."""
        return Constant(len(texts))

    def split(self, text: str, **_: object) -> list[Chunk]:
        """The text as one chunk."""
        return [Chunk(0, len(text), text)]

    def run(self, text_or_texts: Sequence[object], *_: object, **__: object) -> npt.NDArray[np.float32]:
        """As many vectors as texts, whatever is asked."""
        return Constant(len(text_or_texts)).result().vectors

    def close(self) -> None:
        """Nothing to close."""


def load(*_: object, **__: object) -> Callable[[str], Embedder]:
    """In place of `pgembedd.loop.model_loader.loader`: whatever the pipeline asks for, it gets this."""
    return lambda _name: NullModel()


class NullRayWorker(ray_workers.RayWorker):
    """A worker in a process of Ray's, which gets this class, as it is the main program's, by value."""

    def run(self, work: ray_workers.Work) -> bool:
        """With the null model."""
        model_loader.loader = load
        return super().run(work)


if __name__ == "__main__":
    model_loader.loader, ray_workers.RayWorker = load, NullRayWorker  # type: ignore[misc]
    cli.main()

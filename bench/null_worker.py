"""`pgembedd` with a model that computes nothing: `python -m bench.null_worker run`.

Every text gets the same vector at once. The rest is the worker's own: what is left is what the plumbing carries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from worker import cli, loading
from worker.config import Settings
from worker.models import Embedder

DIMS = 384


@dataclass(frozen=True)
class Constant:
    """Vectors float32 (n, DIMS), all the same, of norm 1; nothing `dropped`. Its own Pending, too."""

    vectors: npt.NDArray[np.float32]
    dropped: npt.NDArray[np.int32]

    def result(self) -> "Constant":
        """What is here already."""
        return self


class NullModel:
    """An Embedder that looks at no text."""

    name, dims, fingerprint = "null", DIMS, "null"

    def start(self, texts: Sequence[str], *, kind: Literal["document", "query"] = "document") -> Constant:  # noqa: ARG002
        """As many vectors as texts."""
        return Constant(np.full((len(texts), DIMS), DIMS**-0.5, np.float32), np.zeros(len(texts), np.int32))

    def close(self) -> None:
        """Nothing to close."""


def load(settings: Settings) -> Callable[[str], Embedder]:  # noqa: ARG001
    """In place of `worker.loading.loader`: whatever the pipeline asks for, it gets this."""
    return lambda _name: NullModel()


if __name__ == "__main__":
    loading.loader = load
    cli.main()

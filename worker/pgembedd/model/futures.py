"""The inputs and results of models: texts, embeddings, and the future of what is under way."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Semaphore
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.pooling import Float32Array
from pgembedd.scheduler import Lane

Kind = Literal["document", "query"]
Text = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary, without special ones."""


def lane_of(kind: Kind) -> Lane:
    """Returns the lane of texts for which none is given: a query has its own, a document is fresh."""
    return "query" if kind == "query" else "fresh"


@dataclass(frozen=True)
class Embeddings:
    """`vectors` float32 (n, dims), each of norm 1; `dropped` int32 (n,), tokens cut at the model's limit.

    `tokens` int32 (n,), all tokens of each text, special ones included: those kept and those dropped.
    `dropped` is exact for texts of up to 65,536 characters, an estimate beyond (`tokenizer.Tokenizer.encode`).
    `recalled` bool (n,): which vectors were held from before; None where none was.
    """

    vectors: Float32Array
    dropped: NDArray[np.int32]
    tokens: NDArray[np.int32]
    recalled: NDArray[np.bool_] | None = None


Run = tuple[list[int], Future[Float32Array]]
"""Positions of texts, and the future of their vectors or scores."""

Result = TypeVar("Result")
AnyText = TypeVar("AnyText", bound=Text)


def distinct(texts: Iterable[AnyText]) -> tuple[list[AnyText], list[int]]:
    """Returns the texts, each of them once, and for each text asked for its position in them."""
    found: dict[AnyText, int] = {}
    positions = [found.setdefault(text, len(found)) for text in texts]
    return list(found), positions


class RunFutures(Generic[Result]):
    """The runs of one call of `start`, as one future."""

    def __init__(
        self,
        kind: Callable[..., Result],
        shape: tuple[int, ...],
        runs: list[Run],
        positions: list[int],
        *counts: list[int],
    ) -> None:
        """`runs` compute an array of this shape for each distinct text, `counts` are of these texts.

        `positions` has the distinct text of each text asked for, in whose order `kind` takes arrays and counts.
        """
        self._kind, self._shape, self._runs, self._asked, self._counts = kind, shape, runs, positions, counts

    def result(self) -> Result:
        """Waits for all runs; raises the model's error."""
        found = np.empty((len(self._counts[0]), *self._shape), np.float32)
        try:
            for positions, future in self._runs:
                found[positions] = future.result()
        except BaseException:
            self.cancel()
            raise
        asked = np.asarray(self._asked, np.intp)
        return self._kind(found[asked], *(np.asarray(each, np.int32)[asked] for each in self._counts))

    def as_future(self) -> Future[Result]:
        """Returns a future of the result; cancelling it drops the runs that have not begun."""
        whole: Future[Result] = Future()
        left = Semaphore(len(self._runs))

        def finish(_run: Future[Float32Array] | None = None) -> None:
            if left.acquire(blocking=False) or not whole.set_running_or_notify_cancel():
                return  # others are left, or no one waits
            try:
                whole.set_result(self.result())
            except BaseException as error:
                whole.set_exception(error)

        whole.add_done_callback(lambda future: self.cancel() if future.cancelled() else None)
        for _, run in self._runs:
            run.add_done_callback(finish)
        finish()  # there may be no run
        return whole

    def cancel(self) -> None:
        """Drops what has not begun."""
        for _, run in self._runs:
            run.cancel()

"""Where requests for vectors come together: plain for now, each request is a batch."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from worker.models import Embedded, Models


class Desk:
    """Takes texts from any thread, ahead of the worker's own."""

    def __init__(self, models: Models, *, max_waiting: int = 10_000) -> None:
        """`max_waiting` texts may wait for the model."""
        self._models, self._max_waiting = models, max_waiting
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="desk")

    def ask(self, model: str, texts: Sequence[str], kind: Literal["document", "query"] = "query") -> "Future[Embedded]":
        """Their vectors to come; the future raises what the model raised."""
        return self._threads.submit(lambda: self._models.named(model).start(texts, kind=kind).result())

    def close(self) -> None:
        """Answer what was asked, and no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

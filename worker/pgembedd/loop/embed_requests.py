"""Serves pgembedd.embed(): texts whose callers wait inside a query for their vectors."""

import threading
import time
from collections.abc import Callable, Collection

import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.embed_requests import EmbedRequestRepository, EmbedResult, VectorRequest
from pgembedd.database.listener import Waker
from pgembedd.errors import DatabaseUnavailableError, ModelError, ModelMismatchError
from pgembedd.log import get_logger
from pgembedd.model.comparable import are_comparable
from pgembedd.model.embedder import Embedder, EmbeddingsFuture
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.vector_cache import VectorCache

# Small, because a request that arrives meanwhile waits for the whole batch; the next batch follows at once.
BATCH_SIZE = 8
OWNER = "embed()"  # of the vectors: a request does not say which role asks
# A NOTIFY comes with each request, again from a caller whose worker is gone, and after the loss of the session.
POLL_EVERY_S = 20.0  # more often than sessions that are not used are closed
LOADING_POLL_S = 0.25  # while requests wait for their model
ERROR_PAUSE_S = 5.0
LONGEST_TIMEOUT_S = 600.0  # that embed() takes


class EmbedRequests:
    """Serves requests in its own thread."""

    def __init__(
        self,
        requests: EmbedRequestRepository,
        models: ModelRegistry,
        stopping: threading.Event,
        waker: Waker,
        served: Callable[[], Collection[str]] = tuple,
        cache: VectorCache | None = None,
    ) -> None:
        """`waker` is woken by the NOTIFY of a request. `cache` holds the vectors for all callers.

        `served` are models to load although no pipeline has them: any role with the grant may send any name.
        """
        self._requests, self._models, self._served, self._cache = requests, models, served, cache or VectorCache()
        self._stopping, self._waker = stopping, waker
        self._loading: list[tuple[VectorRequest, float]] = []  # they wait for their model, until then

    def run(self) -> None:
        """Serves until stopped. A database error is logged; the rest of the process continues."""
        while not self._stopping.is_set():
            try:
                while self.embed_waiting() and not self._stopping.is_set():
                    pass
            except (psycopg.Error, DatabaseUnavailableError) as error:
                if self._stopping.is_set() and is_connection_error(error):
                    return
                state = error.sqlstate if isinstance(error, psycopg.Error) else None
                get_logger().error("embed_requests_failed", error=type(error).__name__, sqlstate=state)
                self._stopping.wait(ERROR_PAUSE_S)
            else:
                self._waker.wait(LOADING_POLL_S if self._loading else POLL_EVERY_S)

    def embed_waiting(self) -> bool:
        """Embeds one batch of waiting requests; False when no others waited: a NOTIFY comes with each later one."""
        waiting = self._requests.take(BATCH_SIZE)
        now = time.monotonic()
        asked = [(request, now + LONGEST_TIMEOUT_S) for request in waiting]
        asked, self._loading = asked + [one for one in self._loading if now < one[1]], []
        started = [(request, self._start(request, until)) for request, until in asked]
        results = [_result(request, pending) for request, pending in started if pending is not None]
        if results:
            self._requests.finish(results)
        return len(waiting) == BATCH_SIZE

    def _start(self, request: VectorRequest, until: float) -> EmbeddingsFuture | None:
        """Passes the text to the model; None when the request was declined, or waits for its model."""
        try:
            embedder = self._embedder(request)
            if embedder is None:
                self._loading.append((request, until))
                return None
        except ModelError as error:
            self._requests.decline(request, str(error))
            return None
        keys = self._cache.keys(OWNER, embedder, [request.text], request.kind)
        return self._cache.start(embedder, [request.text], keys, "query", request.kind)  # an error is a result

    def _embedder(self, request: VectorRequest) -> Embedder | None:
        """Returns the model; None while it is being loaded. ModelError when this worker cannot serve it."""
        if not request.known and request.model not in self._served():
            raise ModelError(f"No pipeline has the model {request.model}, and no worker was told to serve it.")
        embedder = self._models.poll(request.model)
        if embedder is not None and not are_comparable(request.fingerprint, embedder.fingerprint):
            raise ModelMismatchError(
                f"The vectors to be searched are of {request.fingerprint}, but {request.model} of this worker is "
                f"{embedder.fingerprint}: start a worker of the version, the device and the precision that made them."
            )
        return embedder


def _result(request: VectorRequest, pending: EmbeddingsFuture) -> EmbedResult:
    """Never raises: an error becomes the refusal, without its message, which may hold the text."""
    try:
        return EmbedResult(request.id, pending.result().vectors[0])
    except BaseException as error:  # also a panic of Rust
        name = type(error).__name__
        get_logger().warning("embed_request_failed", model=request.model, error=name)
        return EmbedResult(request.id, None, f"The model {request.model} could not embed the text ({name}).")

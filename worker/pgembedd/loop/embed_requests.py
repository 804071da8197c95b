"""Answers pgembedd.embed(): texts whose callers wait inside a query for their vectors."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import psycopg

from pgembedd.database.connection import Connection, is_connection_error
from pgembedd.database.embed_requests import Answer, EmbedRequestRepository, VectorRequest
from pgembedd.errors import DatabaseUnavailableError, ModelError, ModelMismatchError
from pgembedd.log import get_logger
from pgembedd.model.embedder import Embedder, Failed, Pending
from pgembedd.model.registry import ModelRegistry

# Few at a time: a request that comes meanwhile waits for all of them. What is left is taken at once afterwards.
BATCH_SIZE = 8
POLL_EVERY_S = 1.0  # a NOTIFY comes with every request; this finds those that another worker left
STOP_CHECK_S = 0.25  # how often it looks whether it is to stop
ERROR_PAUSE_S = 5.0
END_WITHIN_S = 5.0  # for what is in the model; its caller asks another worker then


class EmbedRequests:
    """Runs in a thread of its own, beside a worker's or alone."""

    def __init__(
        self,
        connection: Connection,
        models: ModelRegistry,
        stopping: threading.Event,
        served: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`served` are models to load although no pipeline has them: any role with the grant may send any name."""
        self._requests = EmbedRequestRepository(connection)
        self._models, self._stopping, self._served = models, stopping, served

    def run(self) -> None:
        """Answer until stopping. An error of the database's is logged, and the rest of the process goes on."""
        try:
            while not self._stopping.is_set():
                self._answer_or_log()
        finally:
            self._requests.close()

    def _answer_or_log(self) -> None:
        try:
            self._wait_and_answer()
        except (psycopg.Error, DatabaseUnavailableError) as error:
            if self._stopping.is_set() and is_connection_error(error):
                return
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            get_logger().error("questions_failed", error=type(error).__name__, sqlstate=state)
            self._stopping.wait(ERROR_PAUSE_S)

    def _wait_and_answer(self) -> None:
        while self.answer_waiting() and not self._stopping.is_set():
            pass
        waited_s = 0.0
        while waited_s < POLL_EVERY_S and not self._stopping.is_set():
            if self._requests.wait_for_notification(STOP_CHECK_S):
                return
            waited_s += STOP_CHECK_S

    def answer_waiting(self) -> bool:
        """Take what waits and answer it; False when nothing did."""
        waiting = self._requests.take(BATCH_SIZE)
        started = [(request, self._start(request)) for request in waiting]
        answers = [_answer(request, pending) for request, pending in started if pending is not None]
        if answers:
            self._requests.answer(answers)
        return bool(waiting)

    def _start(self, request: VectorRequest) -> Pending | None:
        """The text in the model; None when it was declined."""
        try:
            embedder = self._embedder(request)
        except ModelError as error:
            self._requests.decline(request, str(error))
            return None
        try:
            return embedder.start([request.text], kind=request.kind, urgent=True)  # whatever it is, somebody waits
        except Exception as error:
            return Failed(error)

    def _embedder(self, request: VectorRequest) -> Embedder:
        if not request.known and request.model not in self._served():
            raise ModelError(f"No pipeline has the model {request.model}, and no worker was told to serve it.")
        embedder = self._models.get(request.model)
        if request.fingerprint not in (None, embedder.fingerprint):
            raise ModelMismatchError(
                f"The vectors to be searched are of {request.fingerprint}, but {request.model} of this worker is "
                f"{embedder.fingerprint}: start a worker of the version and the precision that made them."
            )
        return embedder


def _answer(request: VectorRequest, pending: Pending) -> Answer:
    """Never raises: the error is the caller's to hear of, and without its message, which may hold the text."""
    try:
        return Answer(request.id, pending.result().vectors[0])
    except Exception as error:
        name = type(error).__name__
        get_logger().warning("question_failed", model=request.model, error=name)
        return Answer(request.id, None, f"The model {request.model} could not embed the text ({name}).")


@contextmanager
def answer_embed_requests(
    conninfo: str, models: ModelRegistry, served: Callable[[], Collection[str]], on_death: Callable[[], None]
) -> Iterator[None]:
    """Answer questions while the block runs, without a worker; `on_death` is called if that ends by itself."""
    stopping = threading.Event()
    requests = EmbedRequests(Connection(conninfo, stopping, "questions"), models, stopping, served)

    def run() -> None:
        try:
            requests.run()
        finally:
            if not stopping.is_set():
                on_death()

    thread = threading.Thread(target=run, name="questions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(END_WITHIN_S)

"""Where requests for vectors meet: those that come together go through the model together, in a fair order."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pgembedd.errors import ConfigurationError, OverloadedError
from pgembedd.model.cpu import usable_cores
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Kind, Text
from pgembedd.model.registry import ModelRegistry

MAX_BATCH_TOKENS = 8_192
MAX_WAITING = 4_096
URGENT_TOKENS = 2_048
"""A request of documents that is no larger goes ahead of the worker's own like a query: somebody waits for it."""

BULK_RUNNERS = 2  # one in the model, one being tokenised
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, eq=False)
class _Request:
    model: Embedder | str
    texts: tuple[Text, ...]
    kind: Kind
    tokens: int  # about
    future: Future[Embeddings]

    @property
    def company(self) -> tuple[Embedder | str, Kind]:
        """Requests that agree in this may go together."""
        return self.model, self.kind


class _Line:
    """Requests that wait, and the threads that take them to the model. Holds no order but that of arrival."""

    def __init__(self, runners: int, name: str) -> None:
        self.waiting: deque[_Request] = deque()
        self.runners = ThreadPoolExecutor(runners, thread_name_prefix=name)

    def take(self, max_tokens: int) -> list[_Request]:
        """The first one, with those behind it that may go together with it, up to that many tokens."""
        batch: list[_Request] = []
        left: deque[_Request] = deque()
        room = max_tokens
        while self.waiting and room > 0:
            request = self.waiting.popleft()
            if batch and (request.company != batch[0].company or request.tokens > room):
                left.append(request)
            else:
                batch.append(request)
                room -= request.tokens
        self.waiting.extendleft(reversed(left))
        return batch


class RequestBatcher:
    """Takes requests from any thread and answers each with a future.

    A request goes to the model at once while one of the runners is free, so an idle batcher adds no delay. While all
    are busy requests gather, and leave together as soon as one comes back: nobody waits for company. Queries and
    small requests go ahead of what else the model does; bulk requests take their turn with the worker's documents.
    """

    def __init__(
        self,
        models: ModelRegistry,
        *,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        max_waiting: int = MAX_WAITING,
        runners: int | None = None,
    ) -> None:
        """`max_waiting` is in texts. `runners` batches are in the model at once, by default one for each core."""
        if max_batch_tokens < 1 or max_waiting < 1:
            raise ConfigurationError("A batcher needs room for at least one token and one text.")
        self._models, self._max_batch_tokens, self._max_waiting = models, max_batch_tokens, max_waiting
        self._urgent = _Line(runners or usable_cores(), "batcher-urgent")
        self._bulk = _Line(BULK_RUNNERS, "batcher-bulk")
        self._lock = threading.Lock()
        self._waiting = 0  # texts
        self._closed = False

    def ask(self, model: Embedder | str, texts: Sequence[Text], kind: Kind = "query") -> Future[Embeddings]:
        """The texts' vectors to come, by a model or by the one of that name; cancel the future when nobody wants them.

        The future raises what the model raised for these texts (ModelError, UnknownTokenError), whoever else's
        went with them. OverloadedError at once where too many texts wait, and after close().
        """
        tokens = sum(map(_about_tokens, texts))
        request = _Request(model, tuple(texts), kind, tokens, Future())
        line = self._urgent if kind == "query" or tokens <= URGENT_TOKENS else self._bulk
        with self._lock:
            self._admit(len(request.texts))
            line.waiting.append(request)
            line.runners.submit(self._serve, line)
        return request.future

    @property
    def waiting(self) -> int:
        """How many texts wait for the model."""
        return self._waiting

    def close(self) -> None:
        """Finish the batches under way; what still waits gets an OverloadedError."""
        with self._lock:
            self._closed = True
            left = [*self._urgent.waiting, *self._bulk.waiting]
            self._urgent.waiting.clear()
            self._bulk.waiting.clear()
            self._waiting = 0
        for request in left:
            _fail(request, OverloadedError("The service is stopping; ask again in a moment."))
        for line in (self._urgent, self._bulk):
            line.runners.shutdown(wait=True)

    def _admit(self, texts: int) -> None:
        """Raises unless so many more may wait. One request alone may always, however large."""
        if self._closed:
            raise OverloadedError("The service is stopping; ask again in a moment.")
        if self._waiting and self._waiting + texts > self._max_waiting:
            raise OverloadedError(f"{self._waiting} texts wait for the model already; ask again a little later.")
        self._waiting += texts

    def _serve(self, line: _Line) -> None:
        """Take one batch to the model and hand out what it gives. Somebody else may have taken all there was."""
        with self._lock:
            batch = line.take(self._max_batch_tokens)
            self._waiting -= sum(len(request.texts) for request in batch)
        wanted = [request for request in batch if request.future.set_running_or_notify_cancel()]
        if wanted:
            self._embed(wanted, urgent=line is self._urgent)

    def _embed(self, batch: list[_Request], *, urgent: bool) -> None:
        """All together; where that fails each alone, so that a text fails its own request only."""
        texts = [text for request in batch for text in request.texts]
        try:
            model = batch[0].model
            embedder = self._models.get(model) if isinstance(model, str) else model
            found = embedder.start(texts, kind=batch[0].kind, urgent=urgent).result()
        except BaseException as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for request in batch:
                self._embed([request], urgent=urgent)
            return
        _hand_out(batch, found)


def _hand_out(batch: Sequence[_Request], found: Embeddings) -> None:
    """Each request its own rows."""
    start = 0
    for request in batch:
        part = slice(start, start + len(request.texts))
        request.future.set_result(Embeddings(found.vectors[part], found.dropped[part], found.tokens[part]))
        start = part.stop


def _fail(request: _Request, error: Exception) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_exception(error)


def _about_tokens(text: Text) -> int:
    return 1 + (len(text) // _CHARS_PER_TOKEN if isinstance(text, str) else len(text))

"""Batches requests for vectors: those that arrive together go through the model together, in a fair order."""

import threading
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pgembedd.errors import ConfigurationError, OverloadedError, ProviderRefusedError
from pgembedd.http.models.embedding import about_tokens
from pgembedd.model.cpu import usable_cores
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Kind, Text
from pgembedd.model.providers.configured import split_model
from pgembedd.model.vector_cache import Key, VectorCache
from pgembedd.scheduler import Lane
from pgembedd.text.quantities import counted

MAX_BATCH_TOKENS = 8_192
MAX_WAITING = 4_096
URGENT_TOKENS = 2_048
"""A request of documents that is no larger goes ahead of the worker's documents, like a query."""

BULK_RUNNERS = 2  # one in the model, one being tokenised


@dataclass(frozen=True, eq=False)
class _Request:
    model: Embedder
    texts: tuple[Text, ...]
    keys: list[Key]
    kind: Kind
    tokens: int  # about
    future: Future[Embeddings]

    @property
    def batch_key(self) -> tuple[Embedder, Kind]:
        """Requests with the same key may share a batch."""
        return self.model, self.kind


class _RequestQueue:
    """Requests in the order of arrival, and the threads that take them to the model."""

    def __init__(self, runners: int, name: str) -> None:
        self.waiting: deque[_Request] = deque()
        self.texts = 0  # of these
        self.runners = ThreadPoolExecutor(runners, thread_name_prefix=name)

    def append(self, request: _Request) -> None:
        """Adds a request at the end."""
        self.waiting.append(request)
        self.texts += len(request.texts)

    def clear(self) -> list[_Request]:
        """Takes all requests."""
        left = [*self.waiting]
        self.waiting.clear()
        self.texts = 0
        return left

    def take(self, max_tokens: int) -> list[_Request]:
        """Takes the first request and those behind it that may share its batch, up to that many tokens."""
        batch: list[_Request] = []
        left: deque[_Request] = deque()
        room = max_tokens
        while self.waiting and room > 0:
            request = self.waiting.popleft()
            if batch and (request.batch_key != batch[0].batch_key or request.tokens > room):
                left.append(request)
            else:
                batch.append(request)
                room -= request.tokens
        self.waiting.extendleft(reversed(left))
        self.texts -= sum(len(request.texts) for request in batch)
        return batch


class _Queues:
    """The requests for models that share runners: those of this process, or of one provider, which may be silent."""

    def __init__(self, runners: int) -> None:
        self.urgent = _RequestQueue(runners, "batcher-urgent")
        self.bulk = _RequestQueue(BULK_RUNNERS, "batcher-bulk")

    @property
    def texts(self) -> int:
        return self.urgent.texts + self.bulk.texts


class RequestBatcher:
    """Takes requests from any thread and answers each with a future.

    A request goes to the model at once while one of the runners is free, so an idle batcher adds no delay. While all
    are busy, requests are collected; the next free runner takes a batch of them. Queries and small requests go ahead
    of everything else in the model; bulk requests take their turn with changed rows.
    """

    def __init__(
        self,
        cache: VectorCache | None = None,
        *,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        max_waiting: int = MAX_WAITING,
        runners: int | None = None,
    ) -> None:
        """The limits are of this process's models, and of each provider's.

        `max_waiting` is in texts. `runners` batches are in the models at once, by default one for each core.
        """
        if max_batch_tokens < 1 or max_waiting < 1:
            raise ConfigurationError("A batcher needs room for at least one token and one text.")
        self._max_batch_tokens, self._max_waiting = max_batch_tokens, max_waiting
        # By provider, "" for this process.
        self._queues: defaultdict[str, _Queues] = defaultdict(partial(_Queues, runners or usable_cores()))
        self._cache, self._lock = cache or VectorCache(), threading.Lock()
        self._closed = False

    def ask(
        self, model: Embedder, texts: Sequence[Text], kind: Kind = "query", asker: Hashable = None
    ) -> Future[Embeddings]:
        """Returns a future of the texts' vectors by a model; cancel it to drop the texts.

        Texts that the asker sent lately wait for nothing.

        The future raises the model's error for these texts (ModelError, UnknownTokenError), not for others of the
        batch. OverloadedError at once where too many texts wait, and after close().
        """
        tokens = sum(map(about_tokens, texts))
        keys = self._cache.keys(asker, model, texts, kind)
        request = _Request(model, tuple(texts), keys, kind, tokens, Future())
        if (held := self._cache.find(model, keys)) is not None:
            request.future.set_result(held)
            return request.future
        is_urgent = kind == "query" or tokens <= URGENT_TOKENS
        provider, _ = split_model(model.name) or ("", "")
        with self._lock:
            queues = self._queues[provider]
            self._admit(queues, len(request.texts))
            queue = queues.urgent if is_urgent else queues.bulk
            queue.append(request)
            queue.runners.submit(self._serve, queue, "query" if is_urgent else "fresh")
        return request.future

    def close(self) -> None:
        """Finishes the batches in progress; waiting requests get an OverloadedError."""
        with self._lock:
            self._closed = True
            queues = [queue for each in self._queues.values() for queue in (each.urgent, each.bulk)]
            left = [request for queue in queues for request in queue.clear()]
        for request in left:
            _fail(request, OverloadedError("The service is stopping; ask again in a moment."))
        for queue in queues:
            queue.runners.shutdown(wait=True)

    def _admit(self, queues: _Queues, texts: int) -> None:
        """Raises OverloadedError unless so many more texts may wait. A single request may always, however large."""
        if self._closed:
            raise OverloadedError("The service is stopping; ask again in a moment.")
        if queues.texts and queues.texts + texts > self._max_waiting:
            waiting = counted(queues.texts, "text waits", "texts wait")
            raise OverloadedError(f"{waiting} for the model already; ask again a little later.")

    def _serve(self, queue: _RequestQueue, lane: Lane) -> None:
        """Takes one batch to the model and distributes its vectors; another thread may have emptied the queue."""
        with self._lock:
            batch = queue.take(self._max_batch_tokens)
        pending = [request for request in batch if request.future.set_running_or_notify_cancel()]
        if pending:
            self._embed(pending, lane)

    def _embed(self, batch: list[_Request], lane: Lane) -> None:
        """Embeds all requests together; after an error each alone, so that a text fails its own request only.

        An error that is of no text fails all: a provider that is silent would be waited for once for each.
        """
        texts = [text for request in batch for text in request.texts]
        try:
            keys = [key for request in batch for key in request.keys]
            found = self._cache.start(batch[0].model, texts, keys, lane, batch[0].kind).result()
        except BaseException as error:
            is_of_text = not isinstance(error, OverloadedError | ProviderRefusedError)
            if is_of_text and len(batch) > 1:
                for request in batch:
                    self._embed([request], lane)
                return
            for request in batch:
                request.future.set_exception(error)
            return
        _distribute(batch, found)


def _distribute(batch: Sequence[_Request], found: Embeddings) -> None:
    """Gives each request its own rows."""
    start = 0
    for request in batch:
        part = slice(start, start + len(request.texts))
        request.future.set_result(Embeddings(found.vectors[part], found.dropped[part], found.tokens[part]))
        start = part.stop


def _fail(request: _Request, error: Exception) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_exception(error)

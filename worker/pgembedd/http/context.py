"""State that the endpoints share: settings, models, the database, and whether the service is stopping."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from fastapi import Request

from pgembedd.answers.hub import AnswerHub
from pgembedd.database.listener import Listener
from pgembedd.http.answer_viewers import Answers, ViewerPlaces
from pgembedd.http.auth.authenticator import Authenticator
from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller, load_tokens
from pgembedd.http.auth.user_tokens import user_tokens
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.errors.refusals import Refusal, refusal_of, sentence_of
from pgembedd.http.generation.gateway import LanguageGateway
from pgembedd.http.models.request_batcher import RequestBatcher
from pgembedd.http.models.served import ServedModels
from pgembedd.http.models.served_reranker import ServedReranker
from pgembedd.http.queue_look import QueueLook
from pgembedd.http.searches import SearchModels, as_caller
from pgembedd.http.streams.sse import OpenStreams
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.loop.model_loader import reranker_loader
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.shutdown import close_with_timeout
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.vector_cache import VectorCache
from pgembedd.search.engine import Models, SearchEngine
from pgembedd.search.hits import Pipeline
from pgembedd.search.role import check_search_url
from pgembedd.search.run import AsCaller
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import SILENT, Observer

UNPOOLED_THREADS = 2
Result = TypeVar("Result")
READ_AGAIN = ("database_unavailable", "busy")


class ServiceContext:
    """The state of one service."""

    def __init__(
        self,
        settings: Settings,
        http: HttpSettings,
        models: ModelRegistry,
        conninfo: str | None,
        observer: Observer = SILENT,
    ) -> None:
        """`conninfo` is None for a service that only embeds.

        ConfigurationError where the settings would let other machines in without a token.
        """
        self.settings, self.http, self.models, self.conninfo = settings, http, models, conninfo
        self.observer = observer
        if http.search_url:
            check_search_url(http.search_url, "PGEMBEDD_SEARCH_URL")
        self.authenticator = Authenticator(load_tokens(http), http.http_host, user_tokens(http), http.search_url)
        self.language = LanguageGateway(http)
        self.vector_cache = VectorCache(settings.vector_cache_mb * 1_000_000, observer.recalled)
        self.batcher = RequestBatcher(self.vector_cache, max_waiting=http.http_max_waiting)
        self.reranker = ServedReranker(reranker_loader(settings, observer), http.http_reranker, http.http_max_waiting)
        pooled = settings.wait == "poll"
        self.database = None if conninfo is None else DatabasePool(conninfo)
        self.queues = None if self.database is None else QueueLook(self.database)
        self.stopping = threading.Event()
        self.served = ServedModels(models, http.http_models, settings.model_dir, self.database)
        self.search_roles = SearchRoles(timeout_s=http.http_timeout_s)
        self.search_models = SearchModels(models, self.batcher, self.reranker, http)
        self._known: dict[str, dict[str, Pipeline]] = {}  # by role
        self.listener = None if conninfo is None else Listener(conninfo, pooled=pooled, on_change=observer.connection)
        self._hub = AnswerHub(self.listener, self.stopping, sentence_of, _passes)
        self.answers = Answers(self.search_roles, self.searches, self._hub, ViewerPlaces(http.http_max_listeners))
        self.streams = OpenStreams(self.stopping, http.http_heartbeat_s)
        self.started = threading.Event()  # the worker has loaded a model, or tried them all
        self.unpooled = ThreadPoolExecutor(UNPOOLED_THREADS, "unpooled")  # requests that the batcher does not take
        self.finished = True  # False when a thread still hangs in the model after close()
        self.pushed: PushedJobs | None = None
        if conninfo is not None:
            timeout_s, at_once = http.http_push_timeout_s, http.http_push_at_once
            self.pushed = PushedJobs(conninfo, self.stopping, timeout_s=timeout_s, at_once=at_once, pooled=pooled)

    def job_parts(self) -> tuple[PushedJobs, DatabasePool]:
        """Returns what works jobs that are sent. Refusal 501 for a service without a database."""
        if self.pushed is None or self.database is None:
            raise Refusal(501, "This service runs with --no-database: it works no jobs.", "no_database")
        return self.pushed, self.database

    def searches(self, caller: Caller) -> SearchEngine:
        """Returns the searches of a caller. SearchError, Refusal, ModelMismatchError."""
        return SearchEngine(*self.search_ports(caller))

    def search_ports(self, caller: Caller) -> tuple[AsCaller, Models, dict[str, Pipeline]]:
        """Returns what a SearchEngine of a caller is made of: its role, the models, what is known of pipelines."""
        known = self._known.setdefault(caller.search_url, {})
        return as_caller(self.search_roles, caller), replace(self.search_models, asker=caller.user), known

    async def result_of(self, started: Future[Result], request: Request, awaited: str = "vectors") -> Result:
        """Returns the result of a future. Refusal 504 after the timeout, 499 when the client left; both cancel it."""
        return await while_connected(request, asyncio.wrap_future(started), self.http.http_timeout_s, awaited)

    def close(self) -> None:
        """Closes everything but the embedding models, which belong to the caller. Sets `finished`."""
        self.stopping.set()
        if self.database is not None:
            self.database.close()
        if self.listener is not None:
            self.listener.close()
        self.search_roles.close()
        self.finished = close_with_timeout(
            self.batcher.close,
            self.reranker.close,
            self._hub.close,
            partial(self.unpooled.shutdown, cancel_futures=True),
        )


def _passes(error: Exception) -> bool:
    """Tells that what could not be read can be read a moment later."""
    refusal = refusal_of(error)
    return refusal is not None and refusal.code in READ_AGAIN

"""State that the endpoints share: settings, models, the database, and whether the service is stopping."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg

from pgembedd.database.listener import Listener
from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.http.answer_hub import AnswerHub
from pgembedd.http.answer_viewer import Answers
from pgembedd.http.asking import Asker
from pgembedd.http.auth import Authenticator
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.error_responses import Refusal
from pgembedd.http.language_gateway import LanguageGateway
from pgembedd.http.queue_look import QueueLook
from pgembedd.http.request_batcher import RequestBatcher
from pgembedd.http.search_roles import SearchRoles
from pgembedd.http.served_reranker import ServedReranker
from pgembedd.http.tokens import load_tokens
from pgembedd.http.user_tokens import user_tokens
from pgembedd.loop.model_loader import reranker_loader
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.shutdown import close_with_timeout
from pgembedd.model.embedder import Embedder
from pgembedd.model.files.local_model import describe
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.specs import DEFAULT_MODEL
from pgembedd.search.role import check_search_url
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import SILENT, Observer

PIPELINES_EVERY_S = 5.0
PIPELINES_STALE_S = 60.0  # so long the old list is used while a thread reads the new one
NEVER = float("-inf")
PIPELINES_TIMEOUT_S = 1.0  # a request for a vector waits no longer for an unreachable database or a locked table
UNPOOLED_THREADS = 2


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
        self.batcher = RequestBatcher(models, max_waiting=http.http_max_waiting)
        self.reranker = ServedReranker(reranker_loader(settings, observer), http.http_reranker, http.http_max_waiting)
        pooled = settings.wait == "poll"
        self.database = None if conninfo is None else DatabasePool(conninfo)
        self.queues = None if self.database is None else QueueLook(self.database)
        self.stopping = threading.Event()
        self.search_roles = SearchRoles(timeout_s=http.http_timeout_s)
        asker = Asker(self.search_roles)
        self.listener = None if conninfo is None else Listener(conninfo, pooled=pooled, on_change=observer.connection)
        hub = AnswerHub(asker, self.listener, self.stopping, max_viewers=http.http_max_listeners)
        self.answers = Answers(asker, hub)
        self.started = threading.Event()  # the worker has loaded a model, or tried them all
        self.unpooled = ThreadPoolExecutor(UNPOOLED_THREADS, "unpooled")  # requests that the batcher does not take
        self.finished = True  # False when a thread still hangs in the model after close()
        self.pushed: PushedJobs | None = None
        if conninfo is not None:
            timeout_s, at_once = http.http_push_timeout_s, http.http_push_at_once
            self.pushed = PushedJobs(conninfo, self.stopping, timeout_s=timeout_s, at_once=at_once, pooled=pooled)
        self._pipelines: list[tuple[str, str, str | None]] = []
        self._pipelines_until = NEVER

    def job_parts(self) -> tuple[PushedJobs, DatabasePool]:
        """Returns what works jobs that are sent. Refusal 503 for a service without a database."""
        if self.pushed is None or self.database is None:
            raise Refusal(503, "This service runs with --no-database: it works no jobs.", "no_database")
        return self.pushed, self.database

    def pipelines(self) -> list[tuple[str, str, str | None]]:
        """Returns (name, model, fingerprint) of the running pipelines, seconds old; the last known in an outage."""
        if self.database is not None and time.monotonic() >= self._pipelines_until:
            self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
            self._read_pipelines(self.database)
        return self._pipelines

    def _read_pipelines(self, database: DatabasePool) -> None:
        try:
            with database.connection(PIPELINES_TIMEOUT_S) as connection, connection.transaction():
                connection.execute(query("statement_timeout"), {"milliseconds": str(round(PIPELINES_TIMEOUT_S * 1000))})
                rows = connection.execute(query("models")).fetchall()
        except (Refusal, psycopg.Error):
            return  # /readyz reports it; embedding needs no database
        self._pipelines = [(name, model, fingerprint) for _, name, model, fingerprint, *_ in rows]

    def served(self) -> list[str]:
        """Returns the names of the served models, the default one first."""
        names = list(dict.fromkeys([*self._named(), *(model for _, model, _ in self.pipelines())]))
        return names or [DEFAULT_MODEL]

    def _named(self) -> list[str]:
        return [name.strip() for name in self.http.http_models.split(",") if name.strip()]

    def model(self, name: str | None) -> Embedder:
        """Returns the model of that name, or the default; may load it. Refusal 404 for one that is not served."""
        return self.models.get(self.model_name(name))

    def get_if_loaded(self, name: str | None) -> Embedder | None:
        """Returns the model if that needs neither loading nor the database, else None; never waits."""
        if self.database is not None:
            overdue_s = time.monotonic() - self._pipelines_until
            if overdue_s >= PIPELINES_STALE_S:
                return None
            if overdue_s >= 0:
                self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
                # In a thread of its own, as all of FastAPI's threads may be waiting for the database.
                threading.Thread(
                    target=self._read_pipelines, args=[self.database], name="pipelines", daemon=True
                ).start()
        return self.models.get_if_loaded(self.model_name(name))

    def model_name(self, name: str | None) -> str:
        """Returns the name as it is served, for a name in any case; the default's for None. Refusal 404."""
        names = self.served()
        if name is None:
            return names[0]
        for served in names:
            if served.casefold() == name.casefold():
                return served
        raise Refusal(
            404,
            f"The model asked for is not served here; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}.",
            "model_not_found",
            param="model",
        )

    def model_of(self, pipeline: str) -> Embedder:
        """Returns the model of a pipeline. Refusal 404 without such a pipeline, 409 for vectors of another model."""
        found = self._pipeline(pipeline)
        if found is None:  # it may be newer than the list
            self._pipelines_until = NEVER
            found = self._pipeline(pipeline)
        if found is None:
            raise Refusal(404, "There is no running pipeline of this name.", "pipeline_not_found", param="pipeline")
        _, model, fingerprint = found
        embedder = self.models.get(model)
        if fingerprint not in (None, embedder.fingerprint):
            raise Refusal(
                409,
                f"The pipeline holds vectors of {fingerprint}, but {model} here is {embedder.fingerprint}: "
                "run the version and the precision that made them.",
                "model_mismatch",
                param="pipeline",
            )
        return embedder

    def _pipeline(self, name: str) -> tuple[str, str, str | None] | None:
        return next((one for one in self.pipelines() if one[0] == name), None)

    def preload(self) -> None:
        """Has the default model loaded; one that cannot be had is tried again by /readyz.

        ModelError for a name in the settings that no model has.
        """
        for name in self._named():
            try:
                describe(name, Path(self.settings.model_dir) if self.settings.model_dir else None)
            except ConfigurationError as error:
                raise ModelError(str(error)) from error
            except ModelError:
                pass  # its files may come
        self._try(self.served()[0])

    def missing(self) -> list[str]:
        """Returns the names of the served models that could not be loaded, and has them tried again when it is time."""
        return [name for name in self.served() if name in self.models.failed() and not self._try(name)]

    def _try(self, name: str) -> bool:
        with suppress(ModelError):
            return self.models.poll(name) is not None
        return False

    def close(self) -> None:
        """Closes everything but the embedding models, which belong to the caller. Sets `finished`."""
        self.stopping.set()
        if self.database is not None:
            self.database.close()
        if self.listener is not None:
            self.listener.close()
        self.search_roles.close()
        self.finished = close_with_timeout(
            self.batcher.close, self.reranker.close, partial(self.unpooled.shutdown, cancel_futures=True)
        )

"""What the endpoints share: settings, models, the database, and whether the service is on its way out."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from pgembedd.database.queries import query
from pgembedd.http.auth import Authenticator, load_tokens
from pgembedd.http.connection_pool import Database
from pgembedd.http.errors import Refusal
from pgembedd.http.request_batcher import RequestBatcher
from pgembedd.loop.pinning import Models
from pgembedd.loop.push import PushHandler
from pgembedd.loop.shutdown import close_with_timeout
from pgembedd.model.embedder import Embedder
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import SILENT, Observer

if TYPE_CHECKING:
    from pgembedd.loop.worker import Worker

FALLBACK_MODEL = "gte-small"
PIPELINES_EVERY_S = 5.0
PIPELINES_KEPT_S = 60.0  # so long it still answers while somebody looks again
NEVER = float("-inf")
LOOK_S = 1.0  # who asks for a vector does not wait longer for a database that is away, or whose table is locked
UNPOOLED_AT_ONCE = 2


class ServiceContext:
    """One process's worth of endpoints."""

    def __init__(
        self,
        settings: Settings,
        http: HttpSettings,
        models: Models,
        conninfo: str | None,
        worker: "Worker | None" = None,
        observer: Observer = SILENT,
    ) -> None:
        """`conninfo` is None for a service that only embeds; `worker` is the loop that runs in this process.

        ConfigurationError where the settings would let strangers in.
        """
        self.settings, self.http, self.models, self.conninfo, self.worker = settings, http, models, conninfo, worker
        self.observer = observer
        self.authenticator = Authenticator(load_tokens(http), http.http_host)
        self.batcher = RequestBatcher(models, max_waiting=http.http_max_waiting)
        prepare = settings.wait == "listen"
        self.database = None if conninfo is None else Database(conninfo, prepare=prepare)
        self.started = threading.Event()  # all that is to be loaded first is
        self.unpooled = ThreadPoolExecutor(UNPOOLED_AT_ONCE, "unpooled")  # what the batcher does not do
        self.stopping = threading.Event()
        self.finished = True  # False when something still hangs in the model after close()
        self.pushes: PushHandler | None = None
        if conninfo is not None:
            here = worker is not None
            self.pushes = PushHandler(
                conninfo, settings, http, models, self.stopping, loop_here=here, observer=observer
            )
        self._pipelines: list[tuple[str, str, str | None]] = []
        self._pipelines_until = NEVER

    def pipelines(self) -> list[tuple[str, str, str | None]]:
        """(name, model, fingerprint) of the running pipelines, seconds old; the last known while it is away."""
        if self.database is not None and time.monotonic() >= self._pipelines_until:
            self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
            self._look(self.database)
        return self._pipelines

    def _look(self, database: Database) -> None:
        try:
            with database.connection(LOOK_S) as connection, connection.transaction():
                connection.execute(query("statement_timeout"), {"milliseconds": str(round(LOOK_S * 1000))})
                rows = connection.execute(query("models")).fetchall()
        except (Refusal, psycopg.Error):
            return  # readyz says what is wrong; embedding needs no database
        self._pipelines = [(name, model, fingerprint) for _, name, model, fingerprint, _ in rows]

    def served(self) -> list[str]:
        """The models that may be asked for; the first one answers those who name none."""
        named = [name.strip() for name in self.http.http_models.split(",") if name.strip()]
        names = list(dict.fromkeys([*named, *(model for _, model, _ in self.pipelines())]))
        return names or [FALLBACK_MODEL]

    def model(self, name: str | None) -> Embedder:
        """The model of that name, or the default. Refusal 404 for one that is not served; may load it."""
        return self.models.named(self.model_name(name))

    def get_if_loaded(self, name: str | None) -> Embedder | None:
        """The same where that needs neither loading nor the database, else None: for a thread that must not wait."""
        if self.database is not None:
            overdue_s = time.monotonic() - self._pipelines_until
            if overdue_s >= PIPELINES_KEPT_S:
                return None
            if overdue_s >= 0:
                self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
                # In a thread of its own: all of FastAPI's may wait for the database.
                threading.Thread(target=self._look, args=[self.database], name="pipelines", daemon=True).start()
        return self.models.get_if_loaded(self.model_name(name))

    def model_name(self, name: str | None) -> str:
        """The name that a model is served by, whatever its case; the default's for None. Refusal 404."""
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
        """The model of a pipeline. Refusal 404 when there is none of the name, 409 when its vectors are another's."""
        found = self._pipeline(pipeline)
        if found is None:  # it may have been made a moment ago
            self._pipelines_until = NEVER
            found = self._pipeline(pipeline)
        if found is None:
            raise Refusal(404, "There is no running pipeline of this name.", "pipeline_not_found", param="pipeline")
        _, model, fingerprint = found
        embedder = self.models.named(model)
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
        """Load what will be asked for first. ModelError when it cannot be had."""
        self.models.named(self.served()[0])
        self.started.set()

    def close(self) -> None:
        """Give the connections back; the models belong to whoever made them. `finished` says whether all has ended."""
        self.stopping.set()
        if self.pushes is not None:
            self.pushes.close()
        if self.database is not None:
            self.database.close()
        self.finished = close_with_timeout(self.batcher.close, partial(self.unpooled.shutdown, cancel_futures=True))

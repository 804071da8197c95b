"""The embedding models of a service: those of the settings and of the running pipelines."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.errors.refusals import Refusal
from pgembedd.model.comparable import are_comparable
from pgembedd.model.embedder import Embedder
from pgembedd.model.files.local_model import describe
from pgembedd.model.providers.configured import split_model
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.specs import DEFAULT_MODEL

PIPELINES_EVERY_S = 5.0
PIPELINES_STALE_S = 60.0  # so long the old list is used while a thread reads the new one
NEVER = float("-inf")
PIPELINES_TIMEOUT_S = 1.0  # a request for a vector waits no longer for an unreachable database or a locked table


class ServedModels:
    """The models that a request may name, by themselves or by a pipeline."""

    def __init__(
        self, registry: ModelRegistry, named: str, model_dir: str | None, database: DatabasePool | None
    ) -> None:
        """`named` lists the models of the settings; without a `database` there are no others."""
        self._registry, self._model_dir, self._database = registry, Path(model_dir) if model_dir else None, database
        self._named = [name.strip() for name in named.split(",") if name.strip()]
        self._pipelines: list[tuple[str, str, str | None]] = []
        self._pipelines_until = NEVER

    def pipelines(self) -> list[tuple[str, str, str | None]]:
        """Returns (name, model, fingerprint) of the running pipelines, seconds old; the last known in an outage."""
        if self._database is not None and time.monotonic() >= self._pipelines_until:
            self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
            self._read_pipelines(self._database)
        return self._pipelines

    def _read_pipelines(self, database: DatabasePool) -> None:
        try:
            with database.connection(PIPELINES_TIMEOUT_S) as connection, connection.transaction():
                connection.execute(query("statement_timeout"), {"milliseconds": str(round(PIPELINES_TIMEOUT_S * 1000))})
                rows = connection.execute(query("models")).fetchall()
        except (Refusal, psycopg.Error):
            return  # /readyz reports it; embedding needs no database
        self._pipelines = [(name, model, fingerprint) for _, name, model, fingerprint, *_ in rows]

    def names(self) -> list[str]:
        """Returns the names of the served models, the default one first."""
        of_pipelines = (model for _, model, _ in self.pipelines())
        return list(dict.fromkeys([*self._named, *of_pipelines])) or [DEFAULT_MODEL]

    def get(self, name: str | None) -> Embedder:
        """Returns the model of that name, or the default; may load it. Refusal 404 for one that is not served."""
        return self._registry.get(self.name(name))

    def get_if_loaded(self, name: str | None) -> Embedder | None:
        """Returns the model if that needs neither loading nor the database, else None; never waits."""
        if self._database is not None:
            overdue_s = time.monotonic() - self._pipelines_until
            if overdue_s >= PIPELINES_STALE_S:
                return None
            if overdue_s >= 0:
                self._pipelines_until = time.monotonic() + PIPELINES_EVERY_S
                # In its own thread, as all of FastAPI's threads may be waiting for the database.
                threading.Thread(
                    target=self._read_pipelines, args=[self._database], name="pipelines", daemon=True
                ).start()
        return self._registry.get_if_loaded(self.name(name))

    def name(self, name: str | None) -> str:
        """Returns the name as it is served, for a name in any case; the default's for None. Refusal 404."""
        names = self.names()
        same = [one for one in names if name is None or one.casefold() == name.casefold()]
        if same:
            return same[0]
        raise Refusal(
            404,
            f"The model asked for is not served here; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}.",
            "model_not_found",
            param="model",
        )

    def of_pipeline(self, pipeline: str) -> Embedder:
        """Returns the model of a pipeline. Refusal 404 without such a pipeline, 409 for vectors of another model."""
        found = self._pipeline(pipeline)
        if found is None:  # it may be newer than the list
            self._pipelines_until = NEVER
            found = self._pipeline(pipeline)
        if found is None:
            raise Refusal(404, "There is no running pipeline of this name.", "pipeline_not_found", param="pipeline")
        _, model, fingerprint = found
        embedder = self._registry.get(model)
        if not are_comparable(fingerprint, embedder.fingerprint):
            raise Refusal(
                409,
                f"The pipeline holds vectors of {fingerprint}, but {model} here is {embedder.fingerprint}: "
                "run the version, the device and the precision that made them.",
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
        for name in self._named:
            if split_model(name) is not None:
                continue  # a provider says what it has when it is asked
            try:
                describe(name, self._model_dir)
            except ConfigurationError as error:
                raise ModelError(str(error)) from error
            except ModelError:
                pass  # its files may come
        self._try(self.names()[0])

    def missing(self) -> list[str]:
        """Returns the names of the served models that could not be loaded, and has them tried again when it is time."""
        return [name for name in self.names() if name in self._registry.failed() and not self._try(name)]

    def _try(self, name: str) -> bool:
        with suppress(ModelError):
            return self._registry.poll(name) is not None
        return False

"""The models a worker serves: loaded when a pipeline asks for one, checked against what it is pinned to."""

import threading
import time
from collections.abc import Callable, Sequence

from pgembedd.database.records import Pipeline
from pgembedd.errors import ConfigurationError, Deferred, ModelError, ModelMismatchError
from pgembedd.log import get_logger
from pgembedd.loop.gateway import Gateway
from pgembedd.model.embedder import Embedder

UNAVAILABLE_DELAY_S = 30.0


class Models:
    """Loaded models by name."""

    def __init__(self, load: Callable[[str], Embedder]) -> None:
        """`load` makes an Embedder or raises ModelError; called once per name, and a while after a failure again."""
        self._load = load
        self._loaded: dict[str, Embedder] = {}
        self._failed: dict[str, tuple[ModelError, float]] = {}
        self._said: dict[str, float] = {}  # when to say again that a pipeline is not served
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def serving(self, pipeline: Pipeline, gateway: Gateway) -> Embedder:
        """The model of this pipeline, pinned to it. Deferred, logged, when we cannot serve it."""
        try:
            embedder = self._get(pipeline.model)
            self._admit(pipeline, embedder, gateway)
        except ModelError as error:
            self._say(pipeline, error)
            raise Deferred(str(error), UNAVAILABLE_DELAY_S) from error
        return embedder

    def _say(self, pipeline: Pipeline, error: ModelError) -> None:
        """Once in a while: every claim of that pipeline meets the same error."""
        now = time.monotonic()
        if now >= self._said.get(pipeline.name, now):
            self._said[pipeline.name] = now + UNAVAILABLE_DELAY_S
            get_logger().error("model_refused", pipeline=pipeline.name, model=pipeline.model, error=str(error))

    def named(self, name: str) -> Embedder:
        """The model of that name, loaded now if it was not yet. ModelError when it cannot be had."""
        return self._get(name)

    def get_if_loaded(self, name: str) -> Embedder | None:
        """The model of that name if it is loaded; never waits."""
        return self._loaded.get(name)

    def loaded(self) -> list[str]:
        """The names of the models that are there; never waits for one that is being loaded."""
        return list(self._loaded)

    def preload(self, pipelines: Sequence[Pipeline], gateway: Gateway) -> None:
        """Load what the pipelines need before the first job. Raises the last ModelError if none can be served."""
        failure: ModelError | None = None
        served = 0
        for pipeline in pipelines:
            try:
                self._admit(pipeline, self._get(pipeline.model), gateway)
                served += 1
            except ModelError as error:
                get_logger().error("model_refused", pipeline=pipeline.name, model=pipeline.model, error=str(error))
                failure = error
            except Deferred as stopped:
                get_logger().error("pipeline_stopped", pipeline=pipeline.name, reason=stopped.why)
        if failure is not None and served == 0:
            raise failure

    def close(self) -> None:
        """Close every model."""
        for embedder in list(self._loaded.values()):
            embedder.close()

    def _get(self, name: str) -> Embedder:
        """Looking for a model takes long where there is no network: only those who want that one wait meanwhile."""
        if (found := self._loaded.get(name)) is not None:
            return found
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            if name not in self._loaded:
                self._loaded[name] = self._try(name)
            return self._loaded[name]

    def _try(self, name: str) -> Embedder:
        if name in self._failed and time.monotonic() < self._failed[name][1]:
            raise self._failed[name][0].with_traceback(None)
        try:
            return self._load(name)
        except (ModelError, ConfigurationError) as error:
            refused = error if isinstance(error, ModelError) else ModelError(str(error))
            self._failed[name] = (refused, time.monotonic() + UNAVAILABLE_DELAY_S)
            raise refused from error.__cause__

    def _admit(self, pipeline: Pipeline, embedder: Embedder, gateway: Gateway) -> None:
        """Searches compare like with like: the pipeline's fingerprint is ours, or becomes ours, or we stay off."""
        if embedder.dims != pipeline.dimensions:
            reason = (
                f"The model {pipeline.model} gives {embedder.dims} dimensions, but the pipeline was created with "
                f"{pipeline.dimensions}: drop it and create it again with dimensions => {embedder.dims}."
            )
            gateway.stop_pipeline(pipeline, reason)
            raise Deferred(reason, 0.0)
        pinned = pipeline.fingerprint or gateway.pin_model(pipeline, embedder.fingerprint)
        if pinned is not None and pinned != embedder.fingerprint:
            raise ModelMismatchError(
                f'The pipeline "{pipeline.name}" holds vectors of {pinned}, but {pipeline.model} here is '
                f"{embedder.fingerprint}: run the version and the precision (PGEMBEDD_PRECISION) that made them, "
                "or drop the pipeline, create it again and call pgembedd.backfill() with force."
            )

"""Checks the model of a pipeline against the fingerprint that the pipeline is pinned to."""

import time

from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Pipeline
from pgembedd.errors import Deferred, ModelError, ModelMismatchError
from pgembedd.log import get_logger
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import UNAVAILABLE_DELAY_S, ModelRegistry


class PinnedModels:
    """The models of pipelines; each is checked before it is used."""

    def __init__(self, models: ModelRegistry) -> None:
        """`models` loads them."""
        self._models = models
        self._log_again: dict[str, float] = {}  # when to log again that a pipeline is not served

    def serving(self, pipeline: Pipeline, pipelines: PipelineRepository) -> Embedder:
        """Returns the pinned model of the pipeline. Deferred, and logged, when this worker cannot serve it."""
        try:
            embedder = self._models.get(pipeline.model)
            _pin(pipeline, embedder, pipelines)
        except ModelError as error:
            self._log(pipeline, error)
            raise Deferred(str(error), UNAVAILABLE_DELAY_S) from error
        return embedder

    def _log(self, pipeline: Pipeline, error: ModelError) -> None:
        """Logs at intervals, because every claim of the pipeline raises the same error."""
        now = time.monotonic()
        if now >= self._log_again.get(pipeline.name, now):
            self._log_again[pipeline.name] = now + UNAVAILABLE_DELAY_S
            get_logger().error("model_refused", pipeline=pipeline.name, model=pipeline.model, error=str(error))

    def preload(self, pipelines: PipelineRepository) -> None:
        """Loads the models of the running pipelines. Raises the last ModelError if none of them can be served."""
        failure: ModelError | None = None
        served = 0
        for pipeline in pipelines.running():
            try:
                _pin(pipeline, self._models.get(pipeline.model), pipelines)
                served += 1
            except ModelError as error:
                get_logger().error("model_refused", pipeline=pipeline.name, model=pipeline.model, error=str(error))
                failure = error
            except Deferred as stopped:
                get_logger().error("pipeline_stopped", pipeline=pipeline.name, reason=stopped.why)
        if failure is not None and served == 0:
            raise failure


def _pin(pipeline: Pipeline, embedder: Embedder, pipelines: PipelineRepository) -> None:
    """Pins a pipeline that has no fingerprint yet; raises where its fingerprint is another model's."""
    if embedder.dims != pipeline.dimensions:
        reason = (
            f"The model {pipeline.model} gives {embedder.dims} dimensions, but the pipeline was created with "
            f"{pipeline.dimensions}: drop it and create it again with dimensions => {embedder.dims}."
        )
        pipelines.stop(pipeline, reason)
        raise Deferred(reason, 0.0)
    pinned = pipeline.fingerprint or pipelines.pin_model(pipeline, embedder.fingerprint)
    if pinned is not None and pinned != embedder.fingerprint:
        raise ModelMismatchError(
            f'The pipeline "{pipeline.name}" holds vectors of {pinned}, but {pipeline.model} here is '
            f"{embedder.fingerprint}: run the version and the precision (PGEMBEDD_PRECISION) that made them, "
            "or drop the pipeline, create it again and call pgembedd.backfill() with force."
        )

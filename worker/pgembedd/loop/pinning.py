"""The models of pipelines, each checked against the fingerprint that its pipeline is pinned to."""

from collections.abc import Collection

from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import ServedPipeline
from pgembedd.errors import Deferred, ModelError, ModelMismatchError
from pgembedd.loop.served_pipelines import LOOK_EVERY_S, ServedPipelines
from pgembedd.model.comparable import are_comparable
from pgembedd.model.embedder import Embedder
from pgembedd.model.pooling import Float32Array
from pgembedd.model.probes import Probed, differs
from pgembedd.model.registry import ModelRegistry


class PinnedModels(ServedPipelines):
    """Knows which pipelines this worker can embed, and with which models. Several threads call `serving`."""

    def __init__(
        self,
        models: ModelRegistry,
        names: Collection[str] = (),
        *,
        pulls: bool = True,
        settled_look_s: float = LOOK_EVERY_S,
        worker: int | None = None,
    ) -> None:
        """`models` loads them; the others are those of ServedPipelines."""
        super().__init__(names, pulls=pulls, settled_look_s=settled_look_s, worker=worker)
        self._models = models
        self._compared: dict[int, Float32Array] = {}  # the probe vectors that are the pipeline's

    def _running(self, pipelines: PipelineRepository) -> list[tuple[ServedPipeline, bool]]:
        return pipelines.running()

    def serving(self, pipeline: ServedPipeline, pipelines: PipelineRepository) -> Embedder:
        """Returns the pinned model of the pipeline. Deferred, logged and noted when this worker cannot serve it."""
        try:
            embedder = self._models.get(pipeline.model)
            self._accept_model(pipeline, embedder, pipelines)
        except ModelError as error:
            raise self._refuse(pipeline, error, pipelines) from error
        return embedder

    def refused(self, pipeline: ServedPipeline, error: ModelError, pipelines: PipelineRepository) -> Deferred:
        """Gives up a model whose provider refuses requests until it is loaded again; returns what its jobs are told."""
        self._models.refuse(pipeline.model, error)
        return self._refuse(pipeline, error, pipelines)

    def _accept_loaded(self, pipeline: ServedPipeline, pipelines: PipelineRepository) -> bool:
        embedder = self._models.poll(pipeline.model)
        if embedder is not None:
            self._accept_model(pipeline, embedder, pipelines)
        return embedder is not None

    def _accept_model(self, pipeline: ServedPipeline, embedder: Embedder, pipelines: PipelineRepository) -> None:
        """Serves the pipeline with the model, if it is the one that made its vectors; else ModelMismatchError."""
        _pin(pipeline, embedder, pipelines)
        self._compare(pipeline, embedder, pipelines)
        self._accept(pipeline)

    def _compare(self, pipeline: ServedPipeline, embedder: Embedder, pipelines: PipelineRepository) -> None:
        """Raises ModelMismatchError where a provider changed the model since it first served the pipeline."""
        if not isinstance(embedder, Probed) or self._compared.get(pipeline.id) is (now := embedder.probes):
            return
        first = pipelines.probe(pipeline, now)
        if first is not None and (first.shape != now.shape or differs(first, now)):
            raise ModelMismatchError(
                f"The provider of {pipeline.model} changed the model: its vectors are not what they were when the "
                f'pipeline "{pipeline.name}" was first served. Have every row embedded again with '
                f"pgembedd.backfill('{pipeline.name}', force => true), or choose another model with "
                "pgembedd.change_model()."
            )
        self._compared[pipeline.id] = now


def _pin(pipeline: ServedPipeline, embedder: Embedder, pipelines: PipelineRepository) -> None:
    """Pins a pipeline that has no fingerprint yet; raises where its fingerprint is another model's."""
    if embedder.dims != pipeline.dimensions:
        reason = (
            f"The model {pipeline.model} gives {embedder.dims} dimensions, but the pipeline was created with "
            f"{pipeline.dimensions}: drop it and create it again with dimensions => {embedder.dims}."
        )
        pipelines.stop(pipeline, reason)
        raise Deferred(reason, 0.0)
    pinned = pipeline.fingerprint or pipelines.pin_model(pipeline, embedder.fingerprint)
    if not are_comparable(pinned, embedder.fingerprint):
        raise ModelMismatchError(
            f'The pipeline "{pipeline.name}" holds vectors of {pinned}, but {pipeline.model} here is '
            f"{embedder.fingerprint}: run the version, the device and the precision that made them "
            "(PGEMBEDD_DEVICE, PGEMBEDD_PRECISION), "
            "or drop the pipeline, create it again and call pgembedd.backfill() with force."
        )

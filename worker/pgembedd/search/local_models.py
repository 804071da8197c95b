"""Embeds queries with the models whose files are on this machine, so that a search needs no worker."""

from collections.abc import Callable

import psycopg

from pgembedd.errors import ModelMismatchError, ModelNotConfiguredError, ModelUnavailableError
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from pgembedd.search.calls import pipelines_call
from pgembedd.search.hits import Pipeline
from pgembedd.search.run import run


class LocalModels:
    """The models of this machine, loaded when a query asks for them."""

    def __init__(self, load: Callable[[str], Embedder]) -> None:
        """`load` fetches nothing: it raises ModelUnavailableError for a model whose files are not here."""
        self._models = ModelRegistry(load)

    def vector(self, pipeline: Pipeline, text: str | None) -> list[float] | None:
        """Returns the query's vector; None where the model is not here, or the text is blank, which SQL refuses.

        ModelMismatchError for a model here that is not the one of the pipeline's vectors.
        """
        if text is None or not text.strip():
            return None
        try:
            embedder = self._models.get(pipeline.model)
        except (ModelNotConfiguredError, ModelUnavailableError):
            return None
        check_fingerprint(pipeline, embedder.fingerprint)
        vector: list[float] = embedder.start([text], kind="query").result().vectors[0].tolist()
        return vector

    def close(self) -> None:
        """Closes the models."""
        self._models.close()


def check_fingerprint(pipeline: Pipeline, fingerprint: str) -> None:
    """Raises ModelMismatchError unless the model of this fingerprint made the pipeline's vectors."""
    if pipeline.fingerprint not in (None, fingerprint):
        raise ModelMismatchError(
            f'The pipeline "{pipeline.name}" holds vectors of {pipeline.fingerprint}, but {pipeline.model} here is '
            f"{fingerprint}: distances between the two would mean nothing. "
            "Search with the worker's own precision and model files (--precision, --model-dir)."
        )


def check_unchanged(connection: psycopg.Connection, before: Pipeline) -> None:
    """Raises ModelMismatchError when the pipeline's model was changed since, within the transaction of a search.

    That transaction holds a lock on the table since the search, so no change can follow the check.
    """
    now = run(connection, pipelines_call(before.name))
    if [(one.model, one.fingerprint) for one in now] != [(before.model, before.fingerprint)]:
        raise ModelMismatchError(f'The model of "{before.name}" was changed at this moment: search again.')

"""Checks that a query's vector and a pipeline's are of the same model: distances between others would mean nothing."""

import psycopg

from pgembedd.database.records import ServedPipeline
from pgembedd.errors import ModelMismatchError
from pgembedd.model.comparable import are_comparable
from pgembedd.search.calls import pipelines_call
from pgembedd.search.hits import Pipeline
from pgembedd.search.run import run


def check_fingerprint(pipeline: Pipeline | ServedPipeline, fingerprint: str, act: str = "Search") -> None:
    """Raises ModelMismatchError unless the model of this fingerprint made the pipeline's vectors."""
    if not are_comparable(pipeline.fingerprint, fingerprint):
        raise ModelMismatchError(
            f'The pipeline "{pipeline.name}" holds vectors of {pipeline.fingerprint}, but {pipeline.model} here is '
            f"{fingerprint}: distances between the two would mean nothing. "
            f"{act} with the worker's own device, precision and model files (--device, --precision, --model-dir)."
        )


def check_unchanged(connection: psycopg.Connection, before: Pipeline) -> None:
    """Raises ModelMismatchError when the pipeline's model was changed since, within the transaction of a search.

    That transaction holds a lock on the table since the search, so no change can follow the check.
    """
    now = run(connection, pipelines_call(before.name))
    if [(one.model, one.fingerprint) for one in now] != [(before.model, before.fingerprint)]:
        raise ModelMismatchError(f'The model of "{before.name}" was changed at this moment: search again.')

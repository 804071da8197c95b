"""The page's search: what `pgembedd search` does, with the service's own model, connection and rights."""

from concurrent.futures import TimeoutError as NotInTime

import numpy as np
import numpy.typing as npt
import psycopg

from pgembedd.database.queries import query
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard.queries import looking
from pgembedd.http.embedding import check_inputs
from pgembedd.http.errors import Refusal
from pgembedd.search.semantic import Hit, Target, check_model, nearest, targets


def searchable(service: ServiceContext) -> list[Target]:
    """The pipelines that can be searched, by name."""
    with looking(service) as connection:
        return targets(connection)


def find(service: ServiceContext, where: Target, text: str, limit: int) -> list[Hit]:
    """The `limit` rows nearest to `text`, nearest first. No transaction is open while the model runs.

    Refusal for a text that is empty (422) or too long (413), for rows that the service's role may not read (403), and
    for a search that fails or takes too long in the database. ModelMismatchError when the vectors are another model's.
    """
    vector = _vector(service, where, text)
    timeout_ms = str(int(service.http.http_timeout_s * 1000))
    with looking(service) as connection:
        try:
            with connection.transaction():
                connection.execute(query("statement_timeout"), {"milliseconds": timeout_ms})
                return nearest(connection, where, vector, limit, as_owner=True)
        except psycopg.Error as error:
            if (refusal := _refusal(error, where, connection.info.user)) is None:
                raise
            raise refusal from error


def _vector(service: ServiceContext, where: Target, text: str) -> npt.NDArray[np.float32]:
    embedder = service.models.get(where.model)
    check_model(where, embedder.fingerprint)
    check_inputs(service, embedder, [text])
    asked = service.batcher.ask(embedder.name, [text], kind="query")
    try:
        vector: npt.NDArray[np.float32] = asked.result(service.http.http_timeout_s).vectors[0]
    except NotInTime:
        asked.cancel()
        raise Refusal(
            504, f"The text had no vector after {service.http.http_timeout_s:g} seconds: try again."
        ) from None
    return vector


def _refusal(error: psycopg.Error, where: Target, role: str) -> Refusal | None:
    """What the database has against a search, without its words, which may hold a row's text. None for weather."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refusal(
            403,
            f'The role "{role}", as which this service searches, may not read what "{where.name}" searches: '
            f"grant it SELECT on {_tables(where)}, and what its content function needs.",
            "rights_missing",
        )
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Refusal(504, "The search took too long in the database: has the pipeline an index?")
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return Refusal(409, f'The table or column that "{where.name}" searches is gone: see its state.', "gone")
    if error.sqlstate is None or error.sqlstate[:2] in ("08", "57"):
        return None
    return Refusal(
        500,
        f'The search of "{where.name}" failed in the database (SQLSTATE {error.sqlstate}): '
        f"`pgembedd search` with the same words says how.",
    )


def _tables(where: Target) -> str:
    return f'"{where.embedding_schema or where.schema}"."{where.embedding_table or where.table}"'

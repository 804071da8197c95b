"""The page's search: `pgembedd search` with the service's own model, connection and rights."""

from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np
import numpy.typing as npt
import psycopg

from pgembedd.database.queries import query
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard.queries import connection_for_page
from pgembedd.http.embedding import check_inputs
from pgembedd.http.errors import Refusal
from pgembedd.search.semantic import Hit, Target, check_model, nearest, targets


def search_targets(service: ServiceContext) -> list[Target]:
    """Returns the pipelines that can be searched, sorted by name."""
    with connection_for_page(service) as connection:
        return targets(connection)


def find(service: ServiceContext, target: Target, text: str, limit: int) -> list[Hit]:
    """Returns the `limit` rows nearest to `text`, nearest first. No transaction is open while the model runs.

    Refusal for a text that is empty (422) or too long (413), for rows that the service's role may not read (403), and
    for a search that fails or takes too long in the database. ModelMismatchError when the vectors are another model's.
    """
    vector = _vector(service, target, text)
    timeout_ms = str(int(service.http.http_timeout_s * 1000))
    with connection_for_page(service) as connection:
        try:
            with connection.transaction():
                connection.execute(query("statement_timeout"), {"milliseconds": timeout_ms})
                return nearest(connection, target, vector, limit, as_owner=True)
        except psycopg.Error as error:
            if (refusal := _refusal(error, target, connection.info.user)) is None:
                raise
            raise refusal from error


def _vector(service: ServiceContext, target: Target, text: str) -> npt.NDArray[np.float32]:
    embedder = service.models.get(target.model)
    check_model(target, embedder.fingerprint)
    check_inputs(service, embedder, [text])
    asked = service.batcher.ask(embedder.name, [text], kind="query")
    try:
        vector: npt.NDArray[np.float32] = asked.result(service.http.http_timeout_s).vectors[0]
    except FutureTimeoutError:
        asked.cancel()
        raise Refusal(
            504, f"The text had no vector after {service.http.http_timeout_s:g} seconds: try again."
        ) from None
    return vector


def _refusal(error: psycopg.Error, target: Target, role: str) -> Refusal | None:
    """Returns the refusal for a database error, without its message, which may hold a row's text.

    None for a lost connection.
    """
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refusal(
            403,
            f'The role "{role}", as which this service searches, may not read what "{target.name}" searches: '
            f"grant it SELECT on {_tables(target)}, and what its content function needs.",
            "rights_missing",
        )
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Refusal(504, "The search took too long in the database: has the pipeline an index?")
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return Refusal(409, f'The table or column that "{target.name}" searches is gone: see its state.', "gone")
    if error.sqlstate is None or error.sqlstate[:2] in ("08", "57"):
        return None
    return Refusal(
        500,
        f'The search of "{target.name}" failed in the database (SQLSTATE {error.sqlstate}): '
        f"`pgembedd search` with the same words says how.",
    )


def _tables(target: Target) -> str:
    return f'"{target.embedding_schema or target.schema}"."{target.embedding_table or target.table}"'

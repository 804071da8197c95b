"""The embedding daemon for Postgres.

`from pgembedd import Database` searches, `from pgembedd import Session` gives an embedding or a language model without
a database, and `from pgembedd import Reranker` one that scores texts against a query. Importing the package itself
loads nothing else.

The program `pgembedd` (`cli/`) is a worker, a service, or a command that ends:

    run    a worker (`loop/worker.py`). For each lane, fresh and backfill, a claimer leases jobs and has their rows
           read, the model (`model/`) embeds the texts, and a storer writes the vectors and acknowledges the jobs.
           Besides, threads extend leases, run the upkeep, build indexes, and serve embed() and questions (`answers/`).
    serve  the HTTP service (`http/app.py`): embeddings, search, answers, pushed jobs, metrics and the page.
    mcp    the same searches for assistants (`mcp/`).

A worker keeps nothing: what is to be done, and what became of it, is in the database (sql/00_model/model.sql), which it
reaches by named statements (`database/queries.sql`) alone. Its errors are types that say what is done about them
(`errors.py`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembedd.errors import SearchError
    from pgembedd.model import Reranker
    from pgembedd.search.database import AsyncDatabase, Database
    from pgembedd.search.hits import Hit
    from pgembedd.sessions import Session

__all__ = ["AsyncDatabase", "Database", "Hit", "Reranker", "SearchError", "Session"]

_MODULES = {
    "AsyncDatabase": "pgembedd.search.database",
    "Database": "pgembedd.search.database",
    "Hit": "pgembedd.search.hits",
    "Reranker": "pgembedd.model",
    "SearchError": "pgembedd.errors",
    "Session": "pgembedd.sessions",
}


def __getattr__(name: str) -> Any:
    """Imports the models, and with them onnxruntime, or psycopg when one is asked for."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The embedding daemon for Postgres.

`from pgembedd import Database` searches, `from pgembedd import Session` gives an embedding or a language model without
a database, and `from pgembedd import Reranker` one that scores texts against a query. `__all__` has these, their types
and errors: what a program may import (docs/reference/stability.md). Importing the package loads the errors alone.

The program `pgembedd` (`cli/`) is a worker, a service, or a command that ends:

    run    a worker (`loop/worker.py`). For each lane, fresh and backfill, a claimer leases jobs and has their rows
           read, the model (`model/`) embeds the texts, and a storer writes the vectors and acknowledges the jobs.
           Besides, threads extend leases, run the upkeep, build indexes, and serve embed() and questions (`answers/`).
    serve  the HTTP service (`http/app.py`): embeddings, search, answers, pushed jobs, metrics and the page.
    mcp    the same searches for assistants (`mcp/`).

A worker keeps nothing: what is to be done, and what became of it, is in the database (sql/00_model/model.sql), which it
reaches by named statements (`database/statements/`) alone. Its errors are types that say what is done about them
(`errors.py`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pgembedd.errors import (
    ConfigurationError,
    ContextTooLongError,
    GenerationCancelledError,
    GenerationError,
    GenerationTimeoutError,
    GenerationUnavailableError,
    ModelError,
    ModelUnavailableError,
    PgembeddError,
    SearchError,
    UnknownTokenError,
)

if TYPE_CHECKING:
    from pgembedd.language import Generation, GenerationPart, LanguageSession, RunOptions, Stream
    from pgembedd.model import Embeddings, FileOptions, Reranker, Scores
    from pgembedd.model import Session as EmbeddingSession
    from pgembedd.search.client import AsyncDatabase, Database
    from pgembedd.search.hits import Hit, Hits, Pipeline, PipelineHit, PipelineHits
    from pgembedd.search.options import SearchManyOptions, SearchOptions, SimilarOptions
    from pgembedd.sessions import Session
    from pgembedd.text.chunker import Chunk

__all__ = [
    "AsyncDatabase",
    "Chunk",
    "ConfigurationError",
    "ContextTooLongError",
    "Database",
    "EmbeddingSession",
    "Embeddings",
    "FileOptions",
    "Generation",
    "GenerationCancelledError",
    "GenerationError",
    "GenerationPart",
    "GenerationTimeoutError",
    "GenerationUnavailableError",
    "Hit",
    "Hits",
    "LanguageSession",
    "ModelError",
    "ModelUnavailableError",
    "PgembeddError",
    "Pipeline",
    "PipelineHit",
    "PipelineHits",
    "Reranker",
    "RunOptions",
    "Scores",
    "SearchError",
    "SearchManyOptions",
    "SearchOptions",
    "Session",
    "SimilarOptions",
    "Stream",
    "UnknownTokenError",
]

_LAZY = {
    "pgembedd.language": ("Generation", "GenerationPart", "LanguageSession", "RunOptions", "Stream"),
    "pgembedd.model": ("Embeddings", "FileOptions", "Reranker", "Scores"),
    "pgembedd.search.client": ("AsyncDatabase", "Database"),
    "pgembedd.search.hits": ("Hit", "Hits", "Pipeline", "PipelineHit", "PipelineHits"),
    "pgembedd.search.options": ("SearchManyOptions", "SearchOptions", "SimilarOptions"),
    "pgembedd.sessions": ("EmbeddingSession", "Session"),
    "pgembedd.text.chunker": ("Chunk",),
}
"""What is imported when it is asked for, by its module: models bring onnxruntime, searches psycopg."""

_MODULES = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports what `_LAZY` names."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

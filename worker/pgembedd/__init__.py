"""The embedding daemon for Postgres.

`from pgembedd import Session` gives a model without a database, `from pgembedd import Reranker` one that scores texts
against a query. Importing the package itself loads nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembedd.model import Reranker, Session

__all__ = ["Reranker", "Session"]


def __getattr__(name: str) -> Any:
    """Imports the models, and with them onnxruntime, when one is asked for."""
    if name in __all__:
        from pgembedd import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

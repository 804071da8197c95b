"""The embedding daemon for Postgres.

`from pgembedd import Session` gives a model without a database. Importing the package itself loads nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembedd.model import Session

__all__ = ["Session"]


def __getattr__(name: str) -> Any:
    """Imports the model, and with it onnxruntime, when it is asked for."""
    if name == "Session":
        from pgembedd.model import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

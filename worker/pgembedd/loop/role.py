"""The tasks of a worker, and what it shares with the rest of its process."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import psycopg

from pgembedd.database.listener import Listener
from pgembedd.database.schema_check import check_schema
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.model.vector_cache import VectorCache
from pgembedd.settings import LanguageSettings


@dataclass(frozen=True)
class Role:
    """The tasks of a worker, and what it shares with the rest of its process."""

    pipelines: Sequence[str] = ()
    """Names of the pipelines that it serves; all of them if empty."""
    pulls: bool = True
    """False for a worker that processes only what is pushed to it, and leaves upkeep and indexes to others."""
    pushed: PushedJobs | None = None
    """The requests that push jobs to this process."""
    served: Callable[[], Collection[str]] = tuple
    """Returns models to load for embed() besides the pipelines'."""
    started: threading.Event = field(default_factory=threading.Event)
    """Set once a model is loaded, or all have been tried."""
    draining: threading.Event = field(default_factory=threading.Event)
    """Set when the worker claims no more."""
    listener: Listener | None = None
    """What listens for this process; the worker makes one where there is none."""
    language: LanguageSettings | None = None
    """With a server of language models, questions are answered, too."""
    cache: VectorCache | None = None
    """Vectors of texts that the process embedded lately; the worker makes one where there is none."""
    check: Callable[[psycopg.Connection], object] = check_schema
    """Raises what keeps it from working; its connections wait until it raises nothing."""

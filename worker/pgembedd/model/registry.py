"""The models of a process: loaded when one is asked for, and kept."""

import threading
import time
from collections.abc import Callable

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.embedder import Embedder

UNAVAILABLE_DELAY_S = 30.0


class ModelRegistry:
    """Loaded models by name."""

    def __init__(self, load: Callable[[str], Embedder]) -> None:
        """`load` makes an Embedder or raises ModelError; called once per name, and a while after a failure again."""
        self._load = load
        self._loaded: dict[str, Embedder] = {}
        self._failed: dict[str, tuple[ModelError, float]] = {}
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def get(self, name: str) -> Embedder:
        """The model of that name, loaded now if it was not yet. ModelError when it cannot be had.

        Loading can take long where there is no network: only callers that want this model wait meanwhile.
        """
        if (found := self._loaded.get(name)) is not None:
            return found
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            if name not in self._loaded:
                self._loaded[name] = self._try(name)
            return self._loaded[name]

    def _try(self, name: str) -> Embedder:
        if name in self._failed and time.monotonic() < self._failed[name][1]:
            raise self._failed[name][0].with_traceback(None)
        try:
            return self._load(name)
        except (ModelError, ConfigurationError) as error:
            refused = error if isinstance(error, ModelError) else ModelError(str(error))
            self._failed[name] = (refused, time.monotonic() + UNAVAILABLE_DELAY_S)
            raise refused from error.__cause__

    def get_if_loaded(self, name: str) -> Embedder | None:
        """The model of that name if it is loaded; never waits."""
        return self._loaded.get(name)

    def loaded(self) -> list[str]:
        """The names of the models that are loaded; never waits for one that is being loaded."""
        return list(self._loaded)

    def close(self) -> None:
        """Closes every model."""
        for embedder in list(self._loaded.values()):
            embedder.close()

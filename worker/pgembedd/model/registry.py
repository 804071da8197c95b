"""The models of a process: each is loaded in its own thread when it is first asked for, and kept."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pgembedd.errors import ConfigurationError, ModelError, ModelNotConfiguredError
from pgembedd.model.embedder import Embedder
from pgembedd.retry_policy import Failures, RetryPolicy

LOAD_AGAIN = RetryPolicy(2.0, 60.0)


class Closeable(Protocol):
    """A loaded model of any kind."""

    def close(self) -> None: ...


Model = TypeVar("Model", bound=Closeable)


class LoadedModels(Generic[Model]):
    """Loaded models by name. One that cannot be loaded, or takes long, keeps nothing else waiting."""

    def __init__(self, load: Callable[[str], Model]) -> None:
        """`load` makes a model; it is called until it succeeds, after an error with delays that grow."""
        self._load = load
        self._loaded: dict[str, Model] = {}
        self._failed: dict[str, tuple[ModelError, Failures]] = {}  # the last error
        self._loading: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Model:
        """Returns the model, after its first attempt to load. ModelError, also while a later attempt is being made."""
        while (found := self.poll(name)) is None:
            if (attempt := self._loading.get(name)) is not None:
                attempt.join()
        return found

    def poll(self, name: str) -> Model | None:
        """Returns the model; None while the first attempt to load it is being made. ModelError as in `get`.

        Never waits.
        """
        if (found := self._loaded.get(name)) is not None:
            return found
        with self._lock:
            if (found := self._loaded.get(name)) is not None:
                return found
            error, failures = self._failed.get(name, (None, Failures()))
            if name not in self._loading and failures.may_retry():
                attempt = threading.Thread(target=self._try, args=[name], name=f"load {name}", daemon=True)
                attempt.start()  # it ends with this lock, so not before it is noted
                self._loading[name] = attempt
        if error is not None:
            raise error.with_traceback(None)
        return None

    def _try(self, name: str) -> None:
        try:
            model, error = self._load(name), None
        except ModelError as refused:
            error = refused
        except ConfigurationError as unknown:
            error = ModelNotConfiguredError(str(unknown))
            error.__cause__ = unknown
        except BaseException as unexpected:  # also a panic of Rust; without an outcome `get` would wait for ever
            error = ModelError(str(unexpected) or type(unexpected).__name__)
            error.__cause__ = unexpected
        with self._lock:
            if error is None:
                self._loaded[name] = model
                self._failed.pop(name, None)
            else:
                _, failures = self._failed.get(name, (None, Failures()))
                self._failed[name] = error, LOAD_AGAIN.after(failures)
            del self._loading[name]

    def refuse(self, name: str, error: ModelError) -> None:
        """Gives up a loaded model that turned out to be of no use; it is loaded again as after a failure to load.

        It is not closed, as other threads may be using it.
        """
        with self._lock:
            if self._loaded.pop(name, None) is not None:
                self._failed[name] = error, LOAD_AGAIN.after(Failures())

    def get_if_loaded(self, name: str) -> Model | None:
        """The model of that name if it is loaded; never waits."""
        return self._loaded.get(name)

    def loaded(self) -> list[str]:
        """The names of the models that are loaded; never waits for one that is being loaded."""
        return list(self._loaded)

    def failed(self) -> list[str]:
        """The names of the models that could not be loaded so far."""
        return list(self._failed)

    def loading(self) -> bool:
        """Tells whether the first attempt to load a model is being made."""
        return any(name not in self._failed for name in list(self._loading))

    def close(self) -> None:
        """Closes every model; one that is asked for later is loaded again.

        Waits for one that is being loaded: a process must not end under libraries at work.
        """
        for attempt in list(self._loading.values()):
            attempt.join()
        with self._lock:
            closing, self._loaded = self._loaded, {}
        for model in closing.values():
            model.close()


ModelRegistry = LoadedModels[Embedder]
"""The embedding models of a process."""

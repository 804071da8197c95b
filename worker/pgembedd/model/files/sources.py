"""The sources of a model's files. Each knows where a file lies on this machine, and how to fetch it."""

from collections.abc import Callable
from pathlib import Path

from pgembedd.errors import ModelError, ModelUnavailableError
from pgembedd.model.files.cache import sha256_of
from pgembedd.model.model_spec import READY_MADE, FolderSource, ModelFile, ModelSpec

Notify = Callable[[str], None]


def silent(*_: object) -> None:
    """Does nothing with what it is told."""


class FolderFetcher:
    """Files the user brought: for machines without a network, and for models that are not registered."""

    def __init__(self, spec: ModelSpec, source: FolderSource) -> None:
        self._spec, self._source = spec, source

    def path(self, file: ModelFile) -> Path:
        """Returns the file's path in the folder."""
        return self._source.folder / (self._source.onnx if file.name == READY_MADE else file.name)

    def fetch(self, file: ModelFile) -> Path:
        """Raises ModelError: the folder lacks the file, or has another one."""
        path = self.path(file)
        if path.exists():
            raise ModelError(
                f"{path} is not the file that {self._spec.name} is pinned to (sha256 {file.sha256});"
                " bring that one, or give the model another name."
            )
        raise ModelError(f"{self._source.folder} has no {file.name}, which {self._spec.name} needs; copy it there.")


def is_pinned(path: Path, file: ModelFile) -> bool:
    """Tells that the file is there and exactly the pinned one; the cheap comparison of sizes comes first."""
    return path.is_file() and path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256


def unavailable(spec: ModelSpec, place: str, reason: str, remedy: str) -> ModelUnavailableError:
    """Returns the error for files that cannot be fetched from there now."""
    return ModelUnavailableError(
        f"{spec.name} could not be fetched from {place} ({reason.rstrip('.')});"
        f" {remedy}, or give the folder that holds its files."
    )

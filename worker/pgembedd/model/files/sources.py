"""Fetchers of a model's files, and `obtain`, which checks each against its pinned digest."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pgembedd.errors import ModelError, ModelUnavailableError
from pgembedd.model.files.cache import sha256_of
from pgembedd.model.model_spec import READY_MADE, FolderSource, ModelFile, ModelSpec

Notify = Callable[[str], None]


def silent(_line: str) -> None:
    """Does nothing with the line."""


class Fetcher(Protocol):
    """Locates or fetches the files of one model."""

    def locate(self, file: ModelFile) -> Path | None:
        """The file's path on this machine, unchecked; None where it is not here."""

    def fetch(self, file: ModelFile) -> Path:
        """Fetches the file anew; ModelUnavailableError where that is not possible."""


class FolderFetcher:
    """Files the user brought: for machines without a network, and for models of their own."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder

    def locate(self, file: ModelFile) -> Path | None:
        """The file in the folder, where it is there."""
        path = self._path(file)
        return path if path.is_file() else None

    def _path(self, file: ModelFile) -> Path:
        source = self._spec.source
        if isinstance(source, FolderSource) and file.name == READY_MADE:
            return self._folder / source.onnx
        return self._folder / file.name

    def fetch(self, file: ModelFile) -> Path:
        """Raises ModelError: the folder lacks the file, or has another one."""
        path = self._path(file)
        if path.exists():
            raise ModelError(
                f"{path} is not the file that {self._spec.name} is pinned to (sha256 {file.sha256});"
                " bring that one, or give the model another name."
            )
        raise ModelError(f"{self._folder} has no {file.name}, which {self._spec.name} needs; copy it there.")


class OfflineFetcher:
    """The files that another fetcher has already."""

    def __init__(self, spec: ModelSpec, inner: Fetcher) -> None:
        self._spec, self._inner = spec, inner

    def locate(self, file: ModelFile) -> Path | None:
        """As the other fetcher."""
        return self._inner.locate(file)

    def fetch(self, file: ModelFile) -> Path:
        """Always ModelUnavailableError."""
        raise ModelUnavailableError(
            f"{file.name} of {self._spec.name} is not in the cache, or damaged, and fetching is switched off;"
            " run `pgembedd model pull` online, or give the folder that holds the files."
        )


def obtain(spec: ModelSpec, fetcher: Fetcher, name: str) -> Path:
    """The path of a file whose digest is the pinned one.

    A damaged file is fetched again once. ModelError where it is still another one afterwards,
    ModelUnavailableError where it cannot be fetched.
    """
    file = spec.file(name)
    located = fetcher.locate(file)
    if located is not None and is_pinned(located, file):
        return located
    fetched = fetcher.fetch(file)
    if not is_pinned(fetched, file):
        raise ModelError(
            f"{fetched}, just fetched for {spec.name}, is not the file that is pinned (sha256 {file.sha256});"
            " nothing of it was loaded. It was changed at its source."
        )
    return fetched


def is_pinned(path: Path, file: ModelFile) -> bool:
    """True where the file is exactly the pinned one; the cheap comparison of sizes comes first."""
    return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256

"""Where a model's files come from, behind one question: give me this file, as it was pinned."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pgembedd.errors import ModelError, ModelUnavailableError
from pgembedd.model.files.cache import sha256_of
from pgembedd.model.specs import READY_MADE, FolderSource, ModelFile, ModelSpec

Notify = Callable[[str], None]


def silent(_line: str) -> None:
    """The notifier of callers who want none."""


class Supply(Protocol):
    """A place that has, or can get, the files of one model."""

    def locate(self, file: ModelFile) -> Path | None:
        """Where the file already lies on this machine, unchecked; None where it does not."""

    def fetch(self, file: ModelFile) -> Path:
        """Get the file afresh; ModelUnavailableError where that cannot be done from here."""


class FolderSupply:
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
        """Nothing is fetched: say what the folder lacks."""
        path = self._path(file)
        if path.exists():
            raise ModelError(
                f"{path} is not the file that {self._spec.name} is pinned to (sha256 {file.sha256});"
                " bring that one, or give the model another name."
            )
        raise ModelError(f"{self._folder} has no {file.name}, which {self._spec.name} needs; copy it there.")


class OfflineSupply:
    """What another supply already has, and nothing more."""

    def __init__(self, spec: ModelSpec, inner: Supply) -> None:
        self._spec, self._inner = spec, inner

    def locate(self, file: ModelFile) -> Path | None:
        """As the other supply."""
        return self._inner.locate(file)

    def fetch(self, file: ModelFile) -> Path:
        """Always ModelUnavailableError."""
        raise ModelUnavailableError(
            f"{file.name} of {self._spec.name} is not in the cache, or damaged, and fetching is switched off;"
            " run `pgembedd model pull` online, or give the folder that holds the files."
        )


def obtain(spec: ModelSpec, supply: Supply, name: str) -> Path:
    """The path of a file whose digest is the pinned one.

    A damaged file is fetched again once. ModelError where it is still another one afterwards,
    ModelUnavailableError where it cannot be fetched.
    """
    file = spec.file(name)
    located = supply.locate(file)
    if located is not None and is_pinned(located, file):
        return located
    fetched = supply.fetch(file)
    if not is_pinned(fetched, file):
        raise ModelError(
            f"{fetched}, just fetched for {spec.name}, is not the file that is pinned (sha256 {file.sha256});"
            " nothing of it was loaded. Whoever serves it has changed it."
        )
    return fetched


def is_pinned(path: Path, file: ModelFile) -> bool:
    """Whether the file is exactly the pinned one; the cheap look at its size comes first."""
    return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256

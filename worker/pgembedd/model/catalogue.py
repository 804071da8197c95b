"""What can be had: the list of models, fetching one ahead of time, and the default with its stand-in."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pgembedd.errors import ModelUnavailableError
from pgembedd.model.files.cache import cache_root
from pgembedd.model.files.select_source import open_supply
from pgembedd.model.files.sources import Notify, obtain, silent
from pgembedd.model.graph_cache import built_graph
from pgembedd.model.specs import REGISTRY, ModelSpec, resolve

STAND_IN = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class ModelInfo:
    """One line of `pgembedd model list`. `cached`: all files are on this machine (not yet checked)."""

    name: str
    cached: bool
    download_bytes: int
    dims: int
    max_tokens: int
    licence: str
    fingerprint: str


class DefaultModel(NamedTuple):
    """The model to use, and the line that must be printed where it is not the one wanted."""

    name: str
    notice: str | None


def describe_models(cache_dir: Path | None = None) -> list[ModelInfo]:
    """Every registered model; touches no network."""
    return [_describe(spec, cache_dir) for spec in REGISTRY.values()]


def _describe(spec: ModelSpec, cache_dir: Path | None) -> ModelInfo:
    supply = open_supply(spec, cache_dir=cache_dir)
    return ModelInfo(
        name=spec.name,
        cached=all(supply.locate(file) is not None for file in spec.files),
        download_bytes=spec.download_bytes,
        dims=spec.dims,
        max_tokens=spec.max_tokens,
        licence=spec.licence,
        fingerprint=spec.fingerprint,
    )


def pull(name: str, *, cache_dir: Path | None = None, offline: bool = False, notify: Notify = silent) -> ModelInfo:
    """Fetch and check all files of a registered model, and build its graph, so that a start needs no network.

    ConfigurationError for an unknown name, ModelUnavailableError where it cannot be fetched.
    """
    spec = resolve(name)
    supply = open_supply(spec, cache_dir=cache_dir, offline=offline, notify=notify)
    for file in spec.files:
        obtain(spec, supply, file.name)
    if not spec.ready_made:
        built_graph(spec, supply, cache_root(cache_dir), notify)
    return _describe(spec, cache_dir)


def default_model(
    prefer: str = "gte-small",
    *,
    stand_in: str = STAND_IN,
    cache_dir: Path | None = None,
    offline: bool = False,
    notify: Notify = silent,
) -> DefaultModel:
    """The preferred model where it can be had, else the stand-in with a notice; for the demo and the tests.

    The notice must be printed. Never use this for a pipeline, which names its model: there a stand-in
    would be another model's vectors. The model returned is fetched and ready.
    """
    try:
        return DefaultModel(pull(prefer, cache_dir=cache_dir, offline=offline, notify=notify).name, None)
    except ModelUnavailableError as error:
        name = pull(stand_in, cache_dir=cache_dir, offline=offline, notify=notify).name
        return DefaultModel(name, f"{name} stands in for {resolve(prefer).name} here: {error}")

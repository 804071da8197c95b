"""The registered models: whether one is here, fetching one ahead of time, the default model and its stand-in."""

from pathlib import Path
from typing import NamedTuple, Unpack

from pgembedd.errors import ModelUnavailableError
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.files.model_files import FileOptions, ModelFiles
from pgembedd.model.files.sources import is_pinned
from pgembedd.model.graph_cache import ensure_graph
from pgembedd.model.model_spec import ModelSpec
from pgembedd.model.session import Session
from pgembedd.model.specs import DEFAULT_MODEL, REGISTRY, resolve


class DefaultModel(NamedTuple):
    """The model to use, and the line that must be printed where it is a stand-in."""

    name: str
    notice: str | None


def is_cached(spec: ModelSpec, cache_dir: Path | None = None) -> bool:
    """Tells that all files of the model are on this machine; they are not checked. Touches no network."""
    return ModelFiles(spec, cache_dir=cache_dir).are_here()


def pull(name: str, **options: Unpack[FileOptions]) -> ModelSpec:
    """Fetch and check all files of a registered model, and build its graph, so that a start needs no network.

    ConfigurationError for an unknown name, ModelUnavailableError where it cannot be fetched.
    """
    files = ModelFiles(resolve(name), **options)
    for file in files.spec.files:
        files.obtain(file.name)
    if not files.spec.ready_made:
        ensure_graph(files)
    return files.spec


def default_model(prefer: str = DEFAULT_MODEL, **options: Unpack[FileOptions]) -> DefaultModel:
    """Returns the preferred model where it can be fetched, else its stand-in with a notice; for the demo and the tests.

    The notice must be printed. Never use this for a pipeline, which names its model: a stand-in
    would give it another model's vectors. The model returned is fetched and ready.
    """
    try:
        return DefaultModel(pull(prefer, **options).name, None)
    except ModelUnavailableError as error:
        preferred = resolve(prefer)
        if not preferred.stand_in:
            raise
        name = pull(preferred.stand_in, **options).name
        return DefaultModel(name, f"{name} stands in for {preferred.name} here: {error}")


def model_in_folder(folder: Path) -> tuple[str, int]:
    """Returns name and dimensions of the model that a worker with this `model_dir` has. ModelError without one."""
    for spec in REGISTRY.values():
        if all(is_pinned(folder / file.name, file) for file in spec.files):
            return spec.name, spec.dims
    spec = describe_folder(folder)
    with Session(spec.name, model_dir=folder, threads=1) as session:
        return spec.name, session.dims

"""Loads embedders and rerankers: the only module of the loop that imports pgembedd.model's Session."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pgembedd.errors import ConfigurationError
from pgembedd.log import get_logger
from pgembedd.model.embedder import Embedder
from pgembedd.model.providers.configured import Provider, enabled_providers, split_model
from pgembedd.model.providers.protocol import Ledger
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, InferenceStats, Observer

if TYPE_CHECKING:
    from pgembedd.model import Reranker
    from pgembedd.model.model_spec import Device, Precision


def loader(
    settings: Settings, observer: Observer = SILENT, ledger: Ledger | None = None, *, offline: bool = False
) -> Callable[[str], Embedder]:
    """Returns a function that loads the Embedder of a model. ConfigurationError for a precision or a device in vain.

    `ledger` counts what providers are asked for; without one, those with a budget are refused. `offline` fetches
    nothing: ModelUnavailableError for a model whose files are not on this machine.
    """
    precisions = {_own_name(name): precision for name, precision in parse_precision(settings.precision).items()}
    if not settings.model_dir:  # whose models have any name
        _check_names(precisions)
    device = _checked_device(settings, precisions.values())
    tell, providers = _log_once(), enabled_providers(settings)

    def load(name: str) -> Embedder:
        if split_model(name) is not None:
            return _load_provided(name, providers, observer, ledger)
        from pgembedd.model import Session

        session = Session(
            name,
            precision=precisions.get(_own_name(name), precisions[""]),
            device=device,
            model_dir=Path(settings.model_dir) if settings.model_dir else None,
            threads=settings.threads or None,
            offline=offline,
            notify=tell,
            on_run=lambda *run: observer.model_ran(InferenceStats(session.name, *run)),
        )
        observer.loaded(session.name, session.fingerprint)
        get_logger().info("model_loaded", model=session.name, fingerprint=session.fingerprint, threads=session.threads)
        return session

    return load


def _checked_device(settings: Settings, precisions: "Iterable[Precision]") -> "Device":
    """Returns where models run. ConfigurationError where that is a GPU and there is none, or for a precision."""
    if settings.device != "cuda":
        return "cpu"
    from pgembedd.model.model_spec import precision_on
    from pgembedd.model.onnx.device import check_device

    for precision in precisions:
        precision_on("cuda", precision)
    check_device()
    return "cuda"


def _load_provided(name: str, providers: dict[str, Provider], observer: Observer, ledger: Ledger | None) -> Embedder:
    from pgembedd.model.providers.embedder import load

    model = load(name, providers, lambda *run: observer.model_ran(InferenceStats(name, *run)), ledger)
    observer.loaded(name, model.fingerprint)
    get_logger().info("model_loaded", model=name, fingerprint=model.fingerprint)
    return model


def reranker_loader(
    settings: Settings, observer: Observer = SILENT, *, offline: bool = False
) -> "Callable[[str], Reranker]":
    """Returns a function that loads a reranker. PGEMBEDD_MODEL_DIR is not for it: its name may be its own folder.

    `offline` is for names that clients give: of registered rerankers, whose files are on this machine.
    """
    tell = _log_once()

    def load(name: str) -> "Reranker":
        from pgembedd.model import RERANKERS, Reranker

        if offline and name.casefold() not in RERANKERS:
            raise ConfigurationError(f"There is no reranker of this name; choose {', '.join(RERANKERS)}.")
        reranker = Reranker(
            name,
            threads=settings.threads or None,
            offline=offline,
            notify=tell,
            on_run=lambda *run: observer.model_ran(InferenceStats(reranker.name, *run)),
        )
        get_logger().info("model_loaded", model=reranker.name, fingerprint=reranker.fingerprint)
        return reranker

    return load


def _log_once() -> Callable[[str], None]:
    """Returns a function that logs each line once: a model that cannot be fetched is tried again and again."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            get_logger().info("model", doing=line)

    return tell


def precision_of(embedder: Embedder) -> str:
    """Returns the precision of an Embedder of `loader`; `as stored` where only its files define it."""
    from pgembedd.model import Session

    if split_model(embedder.name) is not None:
        return "as stored"  # a provider's vectors differ a little from request to request
    return embedder.spec.precision if isinstance(embedder, Session) else "fp32"


def _own_name(name: str) -> str:
    """Returns the lower-case name of a model, of one of pgembedd's also for an alias."""
    from pgembedd.model.specs import find

    spec = find(name)
    return (spec.name if spec else name).casefold()


def _check_names(precisions: "dict[str, Precision]") -> None:
    """Raises ConfigurationError for a precision of a model that is not pgembedd's: it would be ignored."""
    from pgembedd.model.specs import REGISTRY, find

    for name in precisions:
        spec = find(name) if name else None
        if name and (spec is None or spec.reranks):
            raise ConfigurationError(
                f"PGEMBEDD_PRECISION names the model {name!r}, which is none of those that it is for: "
                f"{', '.join(REGISTRY)}."
            )


def parse_precision(setting: str) -> "dict[str, Precision]":
    """Parses `int8` or `model=int8,other=fp32` into precision by lower-case model name; "" is the default."""
    chosen: dict[str, Precision] = {"": "fp32"}
    for part in setting.split(","):
        model, _, precision = (word.strip() for word in part.rpartition("="))
        if precision not in ("fp32", "int8"):
            raise ConfigurationError(
                f"PGEMBEDD_PRECISION is {setting!r}, but each part must be fp32, int8, or a model's name with one"
                " of them, as in gte-small=int8."
            )
        chosen[model.casefold()] = "fp32" if precision == "fp32" else "int8"
    return chosen

"""Which engines are compared, at their defaults and at the settings that may be their best."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

PEERS, OPTIMUM, OWN = ".venv-bench", ".venv-bench-optimum", ""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One engine with its settings.

    `form` is the form of the model's files that it reads (`files.CHIEF`); `venv` is where its libraries are
    installed, OWN for this Python's own.
    """

    name: str
    engine: str
    precision: str
    form: str = "stock"
    settings: Settings = field(default_factory=dict)
    venv: str = PEERS

    def shown(self) -> str:
        """The settings in words."""
        return ", ".join(f"{key} {value}" for key, value in self.settings.items()) or "as it comes"


@dataclass(frozen=True)
class Peer:
    """An engine as it comes, and settings to choose the best from.

    The first of `tuned` is the one that has most often been the best; it is taken where there is no time to try.
    """

    default: Case
    tuned: tuple[Case, ...]


def ours(model: str) -> tuple[Case, ...]:
    """pgembedd in both precisions; the first is what everybody is compared with."""
    return tuple(
        Case(f"pgembedd, {each}", "ours", each, settings={"model": model, "precision": each}, venv=OWN)
        for each in ("fp32", "int8")
    )


def _peer(case: Case, default: Settings, tuned: Sequence[Settings]) -> Peer:
    """The same engine in all its settings, which are added to those it cannot be without."""
    return Peer(
        replace(case, name=f"{case.name}, defaults", settings=case.settings | default),
        tuple(replace(case, name=f"{case.name}, best settings", settings=case.settings | each) for each in tuned),
    )


ARRIVAL: Settings = {"plan": "arrival", "size": 32}
"""Batches as they come: the default of those who leave batching to the caller."""


def _lengths(size: int, **more: Any) -> Settings:
    return {"plan": "length", "size": size} | more


_CALLERS = [_lengths(512, callers=2), _lengths(1, callers=2), _lengths(512), _lengths(2048)]
_SORTED: list[Settings] = [{"size": 1}, {"size": 8, "sort": True}, {"size": 32, "sort": True}]
_TORCH: list[Settings] = [{"size": 8, "callers": 2}, {"size": 4, "callers": 2}, {"size": 8}, {"size": 1}]
_SHARED: list[Settings] = [{"size": 1, "callers": 2}, {"size": 4, "callers": 2}, {"size": 8}, {"size": 1}]
_WORKERS = [_lengths(512, streams=2), _lengths(1, streams=2), _lengths(2048, streams=2), _lengths(512)]
_STREAMS = [
    _lengths(512, streams=2, multiple=16),
    _lengths(512, streams=2, multiple=8),
    _lengths(512, streams=2, multiple=32),
    _lengths(1, streams=2, multiple=16),
    _lengths(2048, streams=1, multiple=16),
]
_NO_MASK = [{"form": "nomask"} | _lengths(1, streams=2), {"form": "nomask"} | _lengths(512, streams=2)]


def _openvino(name: str, precision: str, form: str, tuned: Sequence[Settings], **always: Any) -> Peer:
    peer = _peer(Case(f"OpenVINO {name}", "openvino", precision, settings={"form": form} | always), ARRIVAL, tuned)
    # Its settings choose among several forms of files.
    return Peer(
        replace(peer.default, form=form), tuple(replace(each, form=each.settings["form"]) for each in peer.tuned)
    )


def peers() -> tuple[Peer, ...]:
    """Every peer."""
    onnx = Case("sentence-transformers onnx", "sentence", "fp32", settings={"backend": "onnx"}, venv=OPTIMUM)
    return (
        _peer(Case("bare loop", "bare", "fp32", settings={"graph": "stock"}, venv=OWN), ARRIVAL, _CALLERS),
        _peer(Case("bare loop unfused", "bare", "fp32", "exported", {"graph": "exported"}, OWN), ARRIVAL, _CALLERS),
        _peer(Case("fastembed", "fastembed", "fp32"), {}, _SORTED),
        _peer(Case("sentence-transformers", "sentence", "fp32"), {}, _TORCH),
        _peer(onnx, {}, _SHARED),
        _openvino("fp32", "fp32", "fp32", [*_STREAMS, *_NO_MASK]),
        _openvino("int8 static", "int8", "nncf", _STREAMS),
        _openvino("int8 dynamic", "int8", "weights", _STREAMS, group=32),
        # One group as wide as a row: faster, and less exact.
        _openvino("int8 per token", "int8", "weights", _STREAMS, group=384),
        *(
            _peer(Case(f"CTranslate2 {precision}", "ctranslate", precision, "ctranslate2", {"compute": compute}),
                  ARRIVAL, _WORKERS)
            for precision, compute in (("fp32", "float32"), ("int8", "int8"))
        ),
    )  # fmt: skip

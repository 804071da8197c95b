"""The engines that are compared, as data: each as it comes, and with the best settings that were found for it."""

from dataclasses import dataclass, field
from typing import Any

PEERS, OPTIMUM, OWN = ".venv-bench", ".venv-bench-optimum", ""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One engine with its settings.

    `form` is the form of the model's files that it reads (`common.FORMS`); `venv` is where its libraries are
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


def ours(model: str) -> list[Case]:
    """pgembedd in both precisions; the first is what everybody is compared with."""
    settings = {"model": model}
    return [Case(f"pgembedd, {each}", "ours", each, settings=settings, venv=OWN) for each in ("fp32", "int8")]


def _peer(
    name: str, engine: str, precision: str, default: Settings, best: Settings, *, form: str = "stock", venv: str = PEERS
) -> tuple[Case, Case]:
    return (
        Case(f"{name}, defaults", engine, precision, form, default, venv),
        Case(f"{name}, best settings", engine, precision, form, best, venv),
    )


ARRIVAL: Settings = {"plan": "arrival", "size": 32}
"""Batches as they come: the default of those who leave batching to the caller."""

LENGTH: Settings = {"plan": "length", "size": 512}
CALLERS, STREAMS, OPENVINO = LENGTH | {"callers": 2}, LENGTH | {"streams": 2}, LENGTH | {"streams": 2, "multiple": 16}
ONNX: Settings = {"backend": "onnx"}
GROUP: Settings = {"group": 32}
ROW: Settings = {"group": 384}
"""One group as wide as a row: faster than GROUP, and less exact."""

PEER_CASES = (
    *_peer("bare loop", "bare", "fp32", ARRIVAL, CALLERS),
    *_peer("bare loop unfused", "bare", "fp32", ARRIVAL, CALLERS, form="exported"),
    *_peer("fastembed", "fastembed", "fp32", {}, {"size": 1}),
    *_peer("sentence-transformers", "sentence", "fp32", {}, {"size": 8, "callers": 2}),
    *_peer("sentence-transformers onnx", "sentence", "fp32", ONNX, ONNX | {"size": 1, "callers": 2}, venv=OPTIMUM),
    *_peer("OpenVINO fp32", "openvino", "fp32", ARRIVAL, OPENVINO, form="fp32"),
    *_peer("OpenVINO int8 static", "openvino", "int8", ARRIVAL, OPENVINO, form="nncf"),
    *_peer("OpenVINO int8 dynamic", "openvino", "int8", GROUP | ARRIVAL, GROUP | OPENVINO, form="weights"),
    *_peer("OpenVINO int8 per token", "openvino", "int8", ROW | ARRIVAL, ROW | OPENVINO, form="weights"),
    *_peer("CTranslate2 fp32", "ctranslate", "fp32", ARRIVAL, STREAMS, form="ctranslate2"),
    *_peer("CTranslate2 int8", "ctranslate", "int8", ARRIVAL, STREAMS, form="ctranslate2"),
)

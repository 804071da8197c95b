"""Graphs we built, kept in the cache so that it happens once per machine and checkpoint."""

import hashlib
import json
from pathlib import Path

from worker.errors import ModelError
from worker.model.cache import exclusive, publish, sha256_of, sweep_unfinished, workspace
from worker.model.registry import CHECKPOINT, CONFIG, ModelSpec
from worker.model.supply import Notify, Supply, obtain, silent

LAYOUT = 1
"""How `graph.py` lays a graph out. Raise it with every change there, so that older graphs are not loaded."""

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
_DIGESTS_FILE = "digests.json"


def graph_folder(spec: ModelSpec, cache: Path) -> Path:
    """Where this checkpoint's graph lies, by layout and content; whether or not it has been built."""
    parts = [str(LAYOUT), spec.file(CONFIG).sha256, spec.file(CHECKPOINT).sha256]
    return cache / "graphs" / f"{spec.name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


def built_graph(spec: ModelSpec, supply: Supply, cache: Path, notify: Notify = silent) -> Path:
    """The path of the checkpoint's ONNX graph, built where it is missing or damaged.

    The checkpoint is asked for, and checked, only when the graph has to be built.
    """
    folder = graph_folder(spec, cache)
    if not is_intact(folder):
        with exclusive(folder):
            if not is_intact(folder):  # nobody built it while we waited
                sweep_unfinished(folder)
                notify(f"Building the graph of {spec.name} in {folder} (once).")
                _build(spec, supply, folder)
    return folder / GRAPH_FILE


def is_intact(folder: Path) -> bool:
    """Whether the files are those that were built there, by their digests."""
    try:
        digests = json.loads((folder / _DIGESTS_FILE).read_text(encoding="utf-8"))
        return all(sha256_of(folder / name) == digests[name] for name in (GRAPH_FILE, WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(spec: ModelSpec, supply: Supply, folder: Path) -> None:
    """Write all files aside, then move them to their place; the digests last, for they vouch for the rest."""
    from worker.model.checkpoint import open_checkpoint, read_config
    from worker.model.graph import write_graph

    config_path = obtain(spec, supply, CONFIG)
    config = read_config(config_path)
    if config.max_position_embeddings < spec.max_tokens:
        raise ModelError(
            f"{config_path} has positions for {config.max_position_embeddings} tokens, fewer than the"
            f" {spec.max_tokens} that {spec.name} is to read; the two do not belong together."
        )
    with workspace(folder) as unfinished:
        with open_checkpoint(obtain(spec, supply, CHECKPOINT)) as checkpoint:
            write_graph(config, checkpoint, unfinished / GRAPH_FILE, unfinished / WEIGHTS_FILE)
        names = (WEIGHTS_FILE, GRAPH_FILE)
        digests = json.dumps({name: sha256_of(unfinished / name) for name in names}, indent=1)
        (unfinished / _DIGESTS_FILE).write_text(digests + "\n", encoding="utf-8")
        for name in (*names, _DIGESTS_FILE):
            publish(unfinished / name, folder / name)

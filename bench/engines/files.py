"""One folder per model with everything that any engine reads, made from the files our own session uses."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from bench.engines.catalogue import PEERS, Case
from bench.engines.common import FORMS
from bench.engines.process import MissingEngineError, run_module
from pgembedd.model.files.cache import cache_root, sha256_of
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import CHECKPOINT, CONFIG, TOKENIZER
from pgembedd.model.specs import resolve
from tests.support.tiny_models import TINY_CONFIG, tiny_weights

GTE_SHAPE = "gte-shape"
GTE_CONFIG: dict[str, Any] = TINY_CONFIG | {
    "architectures": ["BertModel"],
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "vocab_size": 30522,
    "pad_token_id": 0,
}
"""gte-small's architecture, for random weights: as fast as the real ones, where these cannot be had."""

SPECIAL = {f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "SEP", "PAD", "UNK", "MASK")}


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--model` and `--tokenizer`, for `model_files`."""
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help=f"a registered model, or {GTE_SHAPE}")
    parser.add_argument("--tokenizer", type=Path, help=f"for {GTE_SHAPE}: gte-small's own tokenizer.json")


def model_files(name: str, tokenizer: Path | None = None) -> tuple[str, Path]:
    """What `Session` is to be given for a registered model or GTE_SHAPE, and the folder for everybody else.

    SystemExit for GTE_SHAPE without a tokenizer.
    """
    if name == GTE_SHAPE:
        if tokenizer is None:
            raise SystemExit(f"{GTE_SHAPE} needs the path of gte-small's own tokenizer.json with --tokenizer.")
        folder = _folder(name, tokenizer, tokenizer, 512)
        if not (folder / CHECKPOINT).exists():
            (folder / CONFIG).write_text(json.dumps(GTE_CONFIG), encoding="utf-8")
            save_file(tiny_weights(GTE_CONFIG, seed=12, deviation=0.05), folder / CHECKPOINT)
        return str(folder), folder
    spec = resolve(name)
    files = ModelFiles(spec)
    sources = {each: files.obtain(each) for each in (CONFIG, CHECKPOINT, TOKENIZER)}
    folder = _folder(name, sources[CHECKPOINT], sources[TOKENIZER], spec.max_tokens)
    for each in (CONFIG, CHECKPOINT):
        if not (folder / each).exists():
            shutil.copyfile(sources[each], folder / each)
    return name, folder


def write_forms(folder: Path, cases: Sequence[Case], calibration: Sequence[str]) -> dict[str, str]:
    """Write the files that these cases read, unless they are there; returns why some cannot be written, by case.

    `calibration` is texts for the forms that are quantised by them.
    """
    missing = {}
    for case in cases:
        chief = folder / FORMS[case.form]
        try:
            if not chief.exists():
                (folder / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
                run_module(PEERS, "bench.engines.export", str(folder), case.form)
        except MissingEngineError as reason:
            missing[case.name] = f"its files cannot be written: {reason}"
    return missing


def _folder(name: str, source: Path, tokenizer: Path, max_tokens: int) -> Path:
    """The folder of a model, with the small files by which other libraries learn limit and pooling.

    A `tokenizer.json` in the wild says "cut at 128, pad to 128", and some loaders believe it; so that all
    read the same tokens, this one says the model's real limit and leaves padding to the engine.
    """
    folder = cache_root() / "bench" / f"{name}-{sha256_of(source)[:12]}"
    definition: dict[str, Any] = json.loads(tokenizer.read_text(encoding="utf-8"))
    definition["padding"] = None
    definition["truncation"] = {"direction": "Right", "max_length": max_tokens, "strategy": "LongestFirst", "stride": 0}
    for path, content in ({TOKENIZER: definition} | _conventions(max_tokens)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (folder / "2_Normalize").mkdir(exist_ok=True)
    vocabulary = sorted(definition["model"]["vocab"].items(), key=lambda item: int(item[1]))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in vocabulary), encoding="utf-8")
    return folder


def _conventions(max_tokens: int) -> dict[str, Any]:
    parts = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "model_max_length": max_tokens,
            "do_lower_case": True,
            **SPECIAL,
        },
        "special_tokens_map.json": SPECIAL,
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(parts)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    }

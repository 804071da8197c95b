"""One folder per model with everything that any engine reads, made from the files our own session uses."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engines.catalogue import PEERS, Case
from bench.engines.common import CTRANSLATE2, EXPORTED_ONNX, OPENVINO, STOCK_ONNX
from bench.engines.process import OFFLINE, MissingEngineError, interpreter
from bench.random_bert import write_random_checkpoint
from bench.stock_graph import write_stock_graph
from pgembedd.model.files.cache import cache_root, sha256_of
from pgembedd.model.files.select_source import select_fetcher
from pgembedd.model.files.sources import obtain
from pgembedd.model.model_spec import CHECKPOINT, CONFIG, TOKENIZER
from pgembedd.model.specs import resolve

GTE_SHAPE = "gte-shape"
CALIBRATION_FILE = "calibration.json"
_SPECIAL = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
CHIEF = {
    "stock": STOCK_ONNX,
    "exported": EXPORTED_ONNX,
    "ctranslate2": f"{CTRANSLATE2}/model.bin",
    **{form: OPENVINO.format(form=form) for form in ("fp32", "nomask", "nncf", "weights")},
}
"""Each form's chief file; where it is, all of the form is."""


def real_model(name: str) -> Path:
    """The folder of a registered model with its real weights."""
    spec = resolve(name)
    fetcher = select_fetcher(spec)
    sources = {each: obtain(spec, fetcher, each) for each in (CONFIG, CHECKPOINT, TOKENIZER)}
    folder = _folder(name, sources[CHECKPOINT])
    for each in (CONFIG, CHECKPOINT):
        if not (folder / each).exists():
            shutil.copyfile(sources[each], folder / each)
    _write_conventions(folder, sources[TOKENIZER], spec.max_tokens)
    return folder


def gte_shape(tokenizer: Path) -> Path:
    """gte-small's architecture with random weights of a fixed seed, and the real tokenizer at this path."""
    folder = _folder(GTE_SHAPE, tokenizer)
    if not (folder / CHECKPOINT).exists():
        write_random_checkpoint(folder / CONFIG, folder / CHECKPOINT)
    _write_conventions(folder, tokenizer, 512)
    return folder


def ensure_form(folder: Path, case: Case, calibration: Sequence[str]) -> None:
    """Write the files this case reads, unless they are there; MissingEngineError where they cannot be written."""
    chief = folder / CHIEF[case.form]
    if chief.exists():
        return
    if case.form == "stock":
        write_stock_graph(folder, chief)
        return
    python = interpreter(PEERS)
    if not python.exists():
        raise MissingEngineError(f"{PEERS} is not there")
    (folder / CALIBRATION_FILE).write_text(json.dumps(calibration), encoding="utf-8")
    command = [str(python), "-W", "ignore", "-m", "bench.engines.export", str(folder), case.form]
    done = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingEngineError(f"its files cannot be written ({done.stderr.strip().splitlines()[-1]})")


def _folder(name: str, source: Path) -> Path:
    folder = cache_root() / "bench" / f"{name}-{sha256_of(source)[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_conventions(folder: Path, tokenizer: Path, max_tokens: int) -> None:
    """The small files by which other libraries learn limit and pooling.

    A `tokenizer.json` in the wild says "cut at 128, pad to 128", and some loaders believe it; so that all
    read the same tokens, this one says the model's real limit and leaves padding to the engine.
    """
    definition: dict[str, Any] = json.loads(tokenizer.read_text(encoding="utf-8"))
    definition["padding"] = None
    definition["truncation"] = {"direction": "Right", "max_length": max_tokens, "strategy": "LongestFirst", "stride": 0}
    vocabulary = sorted(definition["model"]["vocab"].items(), key=lambda item: int(item[1]))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in vocabulary), encoding="utf-8")
    (folder / "2_Normalize").mkdir(exist_ok=True)
    for name, content in ({TOKENIZER: definition} | _conventions(max_tokens)).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _conventions(max_tokens: int) -> dict[str, Any]:
    parts = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "model_max_length": max_tokens,
            "do_lower_case": True,
            **_SPECIAL,
        },
        "special_tokens_map.json": _SPECIAL,
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(parts)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    }

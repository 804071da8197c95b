"""gte-small's architecture with random weights: as fast as the real one, where that cannot be had."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

SEED = 12
CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "position_embedding_type": "absolute",
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "vocab_size": 30522,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def write_random_checkpoint(config_path: Path, checkpoint_path: Path) -> None:
    """`config.json`, and fp32 weights of that shape: normal, spread 0.05; gains about 1."""
    random = np.random.default_rng(SEED)
    tensors = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in _shapes().items()}
    for name in tensors:
        if name.endswith("LayerNorm.weight"):
            tensors[name] += 1
    config_path.write_text(json.dumps(CONFIG, indent=1), encoding="utf-8")
    unfinished = checkpoint_path.with_suffix(".unfinished")
    save_file(tensors, unfinished)
    unfinished.replace(checkpoint_path)


def _shapes() -> dict[str, tuple[int, ...]]:
    width, inner = int(CONFIG["hidden_size"]), int(CONFIG["intermediate_size"])
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (int(CONFIG[rows]), width)
        for name, rows in (
            ("word", "vocab_size"),
            ("position", "max_position_embeddings"),
            ("token_type", "type_vocab_size"),
        )
    }
    shapes |= _norm("embeddings", width) | _dense("pooler.dense", width, width)
    for layer in range(int(CONFIG["num_hidden_layers"])):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _dense(f"{name}.attention.{part}", width, width)
        shapes |= _dense(f"{name}.intermediate.dense", inner, width) | _dense(f"{name}.output.dense", width, inner)
        shapes |= _norm(f"{name}.attention.output", width) | _norm(f"{name}.output", width)
    return shapes


def _dense(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.LayerNorm.weight": (width,), f"{name}.LayerNorm.bias": (width,)}

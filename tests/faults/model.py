"""The model that workers and oracle share: tiny, quick, and unlike for unlike texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from pgembedd.model import Session
from tests.support.tiny_models import TINY_CONFIG, write_tiny_model

NAME = "tiny"
DIMENSIONS: int = TINY_CONFIG["hidden_size"]
MAX_LETTERS = 480
"""Of a text that is not cut: the tokenizer makes a token of each letter."""


def make_model(folder: Path) -> Path:
    """Writes a model whose vectors are far from each other, which random weights alone do not give."""
    write_tiny_model(folder, num_hidden_layers=1, max_position_embeddings=512)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if name.endswith("LayerNorm.weight"):
            tensors[name] = tensor + np.float32(1)
        elif "word_embeddings" in name:
            tensors[name] = tensor * np.float32(3)
    save_file(tensors, weights)
    return folder


def open_model(folder: Path, cache: Path) -> Session:
    """The model as a worker loads it, for the oracle."""
    return Session(NAME, model_dir=folder, cache_dir=cache, threads=1)

"""sentence-transformers, which sorts by length by itself.

Settings: `backend` torch or onnx; `size` texts of a batch (32 is its default); `callers` that share the model, each
with one torch thread; 0: one caller, torch's own number of threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.engines.common import STOCK_ONNX, Embed, Float32Array, Setup

PACKAGES = ("sentence-transformers", "transformers", "torch")


def load(setup: Setup) -> Embed:
    """The folder as a model of its own."""
    callers = int(setup.settings.get("callers", 0))
    if callers:  # before torch is imported, for the pools of all threads that call it
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    from sentence_transformers import SentenceTransformer

    options: dict[str, Any] = {"batch_size": int(setup.settings.get("size", 32)), "show_progress_bar": False}
    model = SentenceTransformer(str(setup.folder), device="cpu", **_backend(setup))

    def encode(texts: list[str]) -> Float32Array:
        vectors: Float32Array = model.encode(texts, normalize_embeddings=True, **options)
        return vectors

    def embed(texts: list[str]) -> Float32Array:
        if not callers:
            return encode(texts)
        order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
        shares = [order[number::callers] for number in range(callers)]
        with ThreadPoolExecutor(callers) as pool:
            parts = list(pool.map(lambda share: encode([texts[position] for position in share]), shares))
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        for share, part in zip(shares, parts, strict=True):
            vectors[share] = part
        return vectors

    return embed


def _backend(setup: Setup) -> dict[str, Any]:
    if setup.settings.get("backend", "torch") == "torch":
        return {}
    arguments: dict[str, Any] = {"file_name": STOCK_ONNX, "provider": "CPUExecutionProvider"}
    if setup.settings.get("callers"):
        import onnxruntime

        arguments["session_options"] = onnxruntime.SessionOptions()
        arguments["session_options"].intra_op_num_threads = 1
    return {"backend": "onnx", "model_kwargs": arguments}

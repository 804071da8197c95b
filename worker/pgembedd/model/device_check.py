"""The network of a checkpoint on a GPU, which must give texts the vectors that the CPU gives them, within a bound."""

import numpy as np

from pgembedd.errors import ModelError
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.graph_cache import calibration, ensure_graph
from pgembedd.model.onnx.device import CUDA, DeviceEncoder
from pgembedd.model.onnx.runtime import OnnxEncoder
from pgembedd.model.pooling import Float32Array, normalize, pool

PROVIDER = CUDA
"""Tests and benches set the CPU's, which runs the same graph."""

LEAST_COSINE = 0.9999
"""Half precision costs a thousandth of a thousandth; kernels that are wrong, or weights that overflow, far more."""


def load_on_device(files: ModelFiles) -> DeviceEncoder:
    """Loads the masked graph, and compares it with the CPU's at fp32 on the texts that ship with pgembedd.

    Takes a second or two. ConfigurationError without a GPU, ModelError where it computes something else.
    """
    spec = files.spec
    encoder = DeviceEncoder(ensure_graph(files, masked=True).path, spec.pooling, spec.max_tokens, PROVIDER)
    texts = calibration(files)
    runs = encoder.plan([len(text) for text in texts])
    vectors = np.concatenate([encoder.run([texts[position] for position in run]) for run in runs])
    exact = _on_cpu(files, [texts[position] for run in runs for position in run])
    cosines = (normalize(vectors) * exact).sum(axis=1)
    if not cosines.min() >= LEAST_COSINE:  # nor is NaN
        raise ModelError(
            f"On this GPU {spec.name} gives other vectors than on the CPU (cosine {cosines.min():.4f}): "
            "run it with PGEMBEDD_DEVICE=cpu."
        )
    return encoder


def _on_cpu(files: ModelFiles, texts: list[list[int]]) -> Float32Array:
    encoder = OnnxEncoder(ensure_graph(files.at("fp32")).path, built=True)
    return np.concatenate([normalize(pool(encoder.run([text]), files.spec.pooling)) for text in texts])

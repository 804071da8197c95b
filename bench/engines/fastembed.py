"""fastembed with the stock ONNX graph as a custom model.

Settings: `size` texts of a batch (256 is its default); `sort` whether the caller sorts the texts by length first;
`workers` processes (`parallel`), 0 for none.
"""

from typing import Any

import numpy as np

from bench.engines.common import STOCK_ONNX, Embed, Float32Array, Setup

PACKAGES = ("fastembed", "onnxruntime")
_NAME = "bench/local"


def load(setup: Setup) -> Embed:
    """Register the folder as a model of its own and load it."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        _NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/files"),
        dim=384,
        model_file=STOCK_ONNX,
    )
    model = TextEmbedding(_NAME, specific_model_path=str(setup.folder))
    options: dict[str, Any] = {}
    if size := int(setup.settings.get("size", 0)):
        options["batch_size"] = size

    def embed(texts: list[str]) -> Float32Array:
        order = list(range(len(texts)))
        if setup.settings.get("sort"):
            order.sort(key=lambda position: -len(texts[position]))
        found = np.asarray(list(model.embed([texts[position] for position in order], **options)), np.float32)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    return embed

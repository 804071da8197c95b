"""BERT's forward pass in plain numpy, in double precision: what every graph is compared with.

Written from the papers (Vaswani et al. 2017, Devlin et al. 2019), not from the graph.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float64]

_erf = np.frompyfunc(math.erf, 1, 1)


class ReferenceBert:
    """The checkpoint in a folder, computed slowly and exactly."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._tensors = {
            name.removeprefix("bert."): tensor.astype(np.float64)
            for name, tensor in load_file(folder / "model.safetensors").items()
            if tensor.dtype.kind == "f"
        }

    def embed(self, ids: list[int]) -> Array:
        """The text's vector, (dims,): mean of the last hidden states, norm 1."""
        mean: Array = self.hidden_states(ids).mean(axis=0)
        unit: Array = mean / np.linalg.norm(mean)
        return unit

    def hidden_states(self, ids: list[int]) -> Array:
        """(tokens, dims) after the last layer."""
        words = self._tensors["embeddings.word_embeddings.weight"][ids]
        positions = self._tensors["embeddings.position_embeddings.weight"][: len(ids)]
        hidden = self._norm(
            "embeddings.LayerNorm",
            words + positions + self._tensors["embeddings.token_type_embeddings.weight"][0],
        )
        for layer in range(self.config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}"
            attended = self._dense(f"{name}.attention.output.dense", self._attention(name, hidden))
            hidden = self._norm(f"{name}.attention.output.LayerNorm", hidden + attended)
            inner = self._dense(f"{name}.intermediate.dense", hidden)
            inner = inner * 0.5 * (1 + np.asarray(_erf(inner / math.sqrt(2)), np.float64))
            hidden = self._norm(f"{name}.output.LayerNorm", hidden + self._dense(f"{name}.output.dense", inner))
        return hidden

    def inputs_of(self, ids: list[int]) -> dict[str, Array]:
        """Returns the input of each matrix product, (tokens, width), by the name of its layer."""
        seen: dict[str, Array] = {}
        dense = self._dense

        def watched(name: str, inputs: Array) -> Array:
            seen[name.removesuffix(".query")] = inputs
            return dense(name, inputs)

        self._dense = watched  # type: ignore[method-assign]
        try:
            self.hidden_states(ids)
        finally:
            self._dense = dense  # type: ignore[method-assign]
        return {name: values for name, values in seen.items() if not name.endswith((".key", ".value"))}

    def _attention(self, name: str, hidden: Array) -> Array:
        heads = self.config["num_attention_heads"]
        query, key, value = (
            self._dense(f"{name}.attention.self.{part}", hidden).reshape(len(hidden), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        joined: Array = (weights @ value).transpose(1, 0, 2).reshape(len(hidden), -1)
        return joined

    def _dense(self, name: str, inputs: Array) -> Array:
        outputs: Array = inputs @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]
        return outputs

    def _norm(self, name: str, inputs: Array) -> Array:
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        outputs: Array = centred / deviation * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]
        return outputs

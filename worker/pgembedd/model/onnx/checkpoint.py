"""A BERT-family checkpoint on disk: `config.json` next to one safetensors file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ModelError

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
POSITION_EMBEDDINGS = "embeddings.position_embeddings.weight"
TYPE_EMBEDDINGS = "embeddings.token_type_embeddings.weight"
PROJECTIONS = ("query", "key", "value")

_SUPPORTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


@dataclass(frozen=True)
class BertConfig:
    """The sizes that make the graph, under the names `config.json` gives them."""

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


def read_config(path: Path) -> BertConfig:
    """The sizes in `config.json`; ModelError where it describes an encoder our graph does not compute."""
    raw = read_json(path)
    for key, wanted in _SUPPORTED.items():
        if (found := raw.get(key, wanted)) != wanted:
            raise ModelError(
                f"{path} says {key} = {found!r}, but only {wanted!r} can be built;"
                " bring a ready-made ONNX file of this model instead."
            )
    sizes = {each.name: raw.get(each.name) for each in fields(BertConfig) if each.type is int}
    for key, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"{path} gives {value!r} for {key}, which must be a positive whole number.")
    config = BertConfig(**sizes, layer_norm_eps=float(raw.get("layer_norm_eps", 1e-12)))  # type: ignore[arg-type]
    if config.hidden_size % config.num_attention_heads:
        raise ModelError(
            f"{path} divides a hidden_size of {config.hidden_size} among {config.num_attention_heads} heads,"
            " which leaves a remainder; the file is not this model's."
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from disk; ModelError where the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); bring the model's files again.") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON; bring the model's files again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object; bring the model's files again.")
    return content


class Checkpoint:
    """Tensors by their plain BERT names, whatever prefix the file puts before them, in the shapes of `config`."""

    def __init__(self, path: Path, handle: Any, config: BertConfig) -> None:
        self.config = config
        self._path = path
        self._handle = handle
        self._names = frozenset(handle.keys())
        self._prefix = self._find_prefix()

    def _find_prefix(self) -> str:
        """The prefix of every name: none, `bert.`, or another exporter's."""
        for name in sorted(self._names, key=len):
            if name.endswith(WORD_EMBEDDINGS):
                return str(name.removesuffix(WORD_EMBEDDINGS))
        raise ModelError(f"{self._path} has no tensor {WORD_EMBEDDINGS}, so it is no BERT checkpoint.")

    def stored(self, name: str) -> NDArray[Any]:
        """The tensor as it is on disk, half or single precision, of exactly the shape that it must have."""
        full_name = self._prefix + name
        if full_name not in self._names:
            raise ModelError(f"{self._path} lacks the tensor {full_name}, so this model cannot be built.")
        tensor = self._load(full_name)
        if tensor.shape != (shape := self._shape(name)):
            raise ModelError(
                f"{self._path} has {full_name} of shape {tensor.shape} where config.json asks for {shape};"
                " the two files do not belong together."
            )
        return tensor

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape that config.json gives a tensor: of a matrix (out, in)."""
        c = self.config
        rows = {
            WORD_EMBEDDINGS: c.vocab_size,
            POSITION_EMBEDDINGS: c.max_position_embeddings,
            TYPE_EMBEDDINGS: c.type_vocab_size,
        }
        if name in rows:
            return rows[name], c.hidden_size
        width_out = c.intermediate_size if "intermediate" in name else c.hidden_size
        if name.endswith("bias") or "LayerNorm" in name:
            return (width_out,)
        narrows = "output.dense" in name and ".attention." not in name
        return width_out, c.intermediate_size if narrows else c.hidden_size

    def _load(self, full_name: str) -> NDArray[Any]:
        try:
            tensor = self._handle.get_tensor(full_name)
        except Exception as error:  # safetensors raises TypeError or its own error for what numpy cannot hold
            raise ModelError(f"{self._path}: {full_name} cannot be read as numbers ({error}).") from error
        if tensor.dtype not in (np.float16, np.float32, np.float64):
            raise ModelError(
                f"{self._path} stores {full_name} as {tensor.dtype}; only float16 and float32 can be built."
            )
        return np.asarray(tensor)

    def fp32(self, name: str) -> NDArray[np.float32]:
        """The tensor in single precision."""
        return self.stored(name).astype(np.float32)

    def matrix(self, layer: str) -> NDArray[np.float32]:
        """The weights of a linear layer, transposed to be multiplied from the right: (in, out)."""
        return self.fp32(f"{layer}.weight").T


@contextmanager
def open_checkpoint(path: Path, config: BertConfig) -> Iterator[Checkpoint]:
    """Open a safetensors file; ModelError where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            yield Checkpoint(path, handle, config)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file; bring the model's files again.") from error

"""Token ids to hidden states on onnxruntime: a graph that pgembedd built, or a ready-made ONNX file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ModelError
from pgembedd.model.pooling import Float32Array

Int64Array = NDArray[np.int64]

_POOLED_OUTPUTS = ("sentence_embedding", "sentence_embeddings", "embedding", "embeddings")
_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")


class Encoder(Protocol):
    """A loaded network. Safe to call from several threads; the call releases the GIL."""

    @property
    def dims(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int | None:
        """The fixed number of tokens of a run, special ones included; None where any number will do."""

    @property
    def supports_batching(self) -> bool:
        """False where a text's vector would depend on the other texts of its run."""

    def computed_tokens(self, texts: int, tokens: int) -> int:
        """Returns the tokens that a run of this shape computes, padding included."""

    def run(self, ids: Int64Array) -> Float32Array:
        """(texts, tokens) to (texts, tokens, dims), or to (texts, dims) from a model that pools by itself."""


def load_session(path: Path, *, optimize: bool) -> Any:
    """An onnxruntime session of one thread per call; concurrency comes from calling it several times."""
    # By default onnxruntime reports its use to its maker; a worker talks to the database alone.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class of its own
        raise ModelError(f"{path} cannot be loaded by onnxruntime ({str(error).splitlines()[0]}).") from error


class BuiltEncoder:
    """The graph of `graph.py`: one input, no mask, in its best form already, so load optimises nothing."""

    supports_batching = True
    max_tokens = None

    def __init__(self, path: Path) -> None:
        self._session = load_session(path, optimize=False)
        self.dims: int = self._session.get_outputs()[0].shape[2]

    def computed_tokens(self, texts: int, tokens: int) -> int:
        """No padding."""
        return texts * tokens

    def run(self, ids: Int64Array) -> Float32Array:
        """(texts, tokens) to (texts, tokens, dims)."""
        hidden: Float32Array = self._session.run(None, {"input_ids": ids})[0]
        return hidden


class OnnxFileEncoder:
    """Any encoder's ONNX file: inputs by name in any order and letter case, output by name.

    Each text runs alone, because such a file may be quantised with ranges taken over the whole batch, and
    a text's vector must not depend on the other texts. Where the file has a fixed number of texts or tokens
    the run is padded to it and masked.
    """

    supports_batching = False

    def __init__(self, path: Path, output: str | None = None) -> None:
        self._session = load_session(path, optimize=True)
        self._path = path
        self._inputs = {self._meaning(each.name): each for each in self._session.get_inputs()}
        if "ids" not in self._inputs:
            raise ModelError(f"{path} has no input named input_ids, so it is no text encoder.")
        shape = self._inputs["ids"].shape
        self._texts, self.max_tokens = (size if isinstance(size, int) else None for size in shape)
        chosen = self._choose_output(output)
        self._output: str = chosen.name
        width = chosen.shape[-1] if chosen.shape else None
        self.dims = width if isinstance(width, int) else self._measure_dims()

    def _meaning(self, name: str) -> str:
        """Maps the input's name to one of the three that BERT-like encoders have."""
        folded = name.casefold().replace("-", "_")
        for word, meaning in (("mask", "mask"), ("type", "types"), ("segment", "types"), ("input", "ids")):
            if word in folded:
                return meaning
        raise ModelError(f"{self._path} wants an input {name!r}, which is none that a text encoder has.")

    def _choose_output(self, wanted: str | None) -> Any:
        """The output asked for, else the first known name, else the only output there is."""
        outputs = {each.name.casefold(): each for each in self._session.get_outputs()}
        for name in [wanted.casefold()] if wanted else [*_TOKEN_OUTPUTS, *_POOLED_OUTPUTS]:
            if name in outputs:
                return outputs[name]
        if wanted is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        raise ModelError(f"{self._path} has the outputs {', '.join(outputs)}, none of which is known to hold vectors.")

    def _measure_dims(self) -> int:
        return int(self.run(np.zeros((1, 1), np.int64)).shape[-1])

    def _shape(self, texts: int, tokens: int) -> tuple[int, int]:
        return self._texts or texts, self.max_tokens or tokens

    def computed_tokens(self, texts: int, tokens: int) -> int:
        """The size of the file's fixed shape, where it has one."""
        shape = self._shape(texts, tokens)
        return shape[0] * shape[1]

    def run(self, ids: Int64Array, types: Int64Array | None = None) -> Float32Array:
        """(texts, tokens) to (texts, tokens, dims), or (texts, dims) where the file pools by itself.

        `types` are the tokens' types, of the shape of `ids`; all 0 without them.
        """
        texts, tokens = ids.shape
        shape = self._shape(texts, tokens)
        values = {meaning: np.zeros(shape, np.int64) for meaning in ("ids", "mask", "types")}
        values["ids"][:texts, :tokens], values["mask"][:texts, :tokens] = ids, 1
        if types is not None:
            values["types"][:texts, :tokens] = types
        feed = {each.name: values[meaning].astype(_dtype(each.type)) for meaning, each in self._inputs.items()}
        out: NDArray[Any] = self._session.run([self._output], feed)[0]
        vectors = out.astype(np.float32, copy=False)
        return vectors[:texts, :tokens] if vectors.ndim == 3 else vectors[:texts]


def _dtype(kind: str) -> type[np.generic]:
    """numpy's type for onnxruntime's name of an input type."""
    kinds: dict[str, type[np.generic]] = {"tensor(int32)": np.int32, "tensor(float)": np.float32}
    return kinds.get(kind, np.int64)


def as_ids(encoded: Sequence[list[int]]) -> Int64Array:
    """Texts of equal length as one array, (texts, tokens)."""
    return np.asarray(encoded, np.int64)

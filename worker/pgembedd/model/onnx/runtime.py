"""Token ids to hidden states on onnxruntime: a graph that pgembedd built, or a ready-made ONNX file."""

import importlib
import os
from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ModelError
from pgembedd.model.batching import MAX_RUN_TOKENS, plan_portions, plan_runs
from pgembedd.model.pooling import Float32Array

Int64Array = NDArray[np.int64]

IDS, LENGTHS, POOLING = "input_ids", "lengths", "pooling"
"""The inputs of graphs that pgembedd builds (`graph.py`); the last two are those of the masked form."""

CPU = "CPUExecutionProvider"

_POOLED_OUTPUTS = ("sentence_embedding", "sentence_embeddings", "embedding", "embeddings")
_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")


def import_onnxruntime() -> Any:
    """Returns the module. By default it reports its use to its maker; a worker talks to the database alone."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")


def load_session(
    path: Path, *, optimize: bool, provider: str = CPU, provider_options: dict[str, str] | None = None
) -> Any:
    """An onnxruntime session of one thread per call; concurrency comes from calling it several times."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    try:
        providers = [(provider, provider_options or {})]
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(f"{path} cannot be loaded by onnxruntime ({str(error).splitlines()[0]}).") from error


class OnnxEncoder:
    """A loaded network: inputs by name in any order and letter case, output by name.

    Texts of equal length may share a run of a graph that pgembedd built, which has no mask. Of any other file each text
    runs alone, because such a file may be quantised with ranges taken over the whole batch, and a text's vector must
    not depend on the other texts. Where the file has a fixed number of texts or tokens the run is padded to it and
    masked. Safe to call from several threads; the call releases the GIL.
    """

    def __init__(self, path: Path, *, built: bool = False, output: str | None = None) -> None:
        """A `built` graph is in its best form already, so load optimises nothing."""
        self._session = load_session(path, optimize=not built)
        self._path, self._run_tokens = path, MAX_RUN_TOKENS if built else 1
        inputs = {self._meaning(each.name): each for each in self._session.get_inputs()}
        if "ids" not in inputs:
            raise ModelError(f"{path} has no input named input_ids, so it is no text encoder.")
        self._inputs = [(meaning, each.name, _dtype(each.type)) for meaning, each in inputs.items()]
        self._texts, self.max_tokens = (size if isinstance(size, int) else None for size in inputs["ids"].shape)
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
        return int(self.run([[0]]).shape[-1])

    def portions(self, texts: Sequence[Sized]) -> Iterator[list[int]]:
        """Groups the positions of `texts` into portions that are tokenised one after the other, longest texts first."""
        return plan_portions(texts)

    def plan(self, lengths: Sequence[int]) -> list[list[int]]:
        """Groups the positions of `lengths`, in tokens, into runs, longest texts first."""
        return plan_runs(lengths, self._run_tokens)

    def _shape(self, texts: int, tokens: int) -> tuple[int, int]:
        return self._texts or texts, self.max_tokens or tokens

    def computed_tokens(self, lengths: Sequence[int]) -> int:
        """Returns the tokens that a run of texts of one length computes: of the file's fixed shape, if it has one."""
        texts, tokens = self._shape(len(lengths), lengths[0])
        return texts * tokens

    def run(self, encoded: Sequence[list[int]], types: Sequence[list[int]] | None = None) -> Float32Array:
        """Texts of equal length to (texts, tokens, dims), or to (texts, dims) where the file pools by itself.

        `types` are the tokens' types; all 0 without them.
        """
        ids = as_ids(encoded)
        texts, tokens = ids.shape
        values = {"ids": ids, "mask": 1, "types": 0 if types is None else as_ids(types)}
        feed = {name: np.zeros(self._shape(texts, tokens), dtype) for _, name, dtype in self._inputs}
        for meaning, name, _ in self._inputs:
            feed[name][:texts, :tokens] = values[meaning]
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

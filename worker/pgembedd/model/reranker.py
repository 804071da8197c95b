"""A loaded cross-encoder: a query and texts in, a score for each text out, no database."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.files.local_model import describe
from pgembedd.model.files.model_files import FileOptions
from pgembedd.model.files.sources import silent
from pgembedd.model.futures import Run, RunFutures, distinct
from pgembedd.model.in_process import InProcessModel, OnRun, load_file
from pgembedd.model.model_spec import ModelSpec
from pgembedd.model.onnx.runtime import OnnxEncoder
from pgembedd.model.pooling import Float32Array
from pgembedd.model.specs import MS_MARCO_MINILM_L12, REGISTRY, RERANKERS
from pgembedd.model.tokenizer import Pair
from pgembedd.scheduler import Lane

OUTPUT = "logits"


@dataclass(frozen=True)
class Scores:
    """`scores` float32 (n,), higher is more relevant; `tokens` int32 (n,), those read of query and text together.

    A score is the model's logit; `1 / (1 + exp(-score))` is between 0 and 1, in the same order.
    """

    scores: Float32Array
    tokens: NDArray[np.int32]


class Reranker(InProcessModel[OnnxEncoder]):
    """One loaded cross-encoder, shared by all threads of the process.

    A run takes one core and holds one pair, because a quantised file may take its ranges over the whole run: so a
    score depends neither on the other texts nor on `threads`.
    """

    def __init__(
        self,
        name: str = MS_MARCO_MINILM_L12.name,
        *,
        model_dir: Path | None = None,
        threads: int | None = None,
        on_run: OnRun = silent,
        **files: Unpack[FileOptions],
    ) -> None:
        """Get the model's files, check them, and load the ONNX file.

        `name` is a registered reranker, or a folder or ONNX file of your own with the output `logits` (n, 1). The other
        parameters are those of Session. Raises ModelError, ModelUnavailableError or ConfigurationError.
        """
        super().__init__(_describe(name, model_dir), threads, on_run, partial(load_file, output=OUTPUT), **files)
        if self._encoder.dims != 1:
            raise ModelError(f"{self.name} has {self._encoder.dims} scores for a text; a reranker has one.")

    def start(self, query: str, texts: Sequence[str], *, lane: Lane = "query") -> RunFutures[Scores]:
        """Tokenise in the calling thread, hand the pairs to the reranker's threads, return when all are handed over.

        Equal texts are scored once. Where query and text are longer than the model reads together, the longer one is
        cut. `lane` is that of the reranker's threads: a search's hits go ahead of a bulk of texts (`fresh`).
        """
        unique, positions = distinct(texts)
        asked = self._tokenizer.first_ids(query)
        started: list[Run] = []
        tokens = [0] * len(unique)
        for position in sorted(range(len(unique)), key=lambda each: -len(unique[each])):
            pair = self._tokenizer.join(asked, self._tokenizer.first_ids(unique[position]))
            tokens[position] = len(pair.ids)
            started.append(([position], self._scheduler.submit(lane, partial(self._score, pair))))
        return RunFutures(Scores, (), started, positions, tokens)

    def score(self, query: str, texts: Sequence[str]) -> Float32Array:
        """The score of each text, float32 (n,), higher is more relevant; waits for them."""
        return self.start(query, texts).result().scores

    def _score(self, pair: Pair) -> Float32Array:
        """(1,)."""
        began = time.monotonic()
        score = self._finite(self._encoder.run([pair.ids], [pair.types])[0], "score")
        self._report("query", [pair.ids], began)
        return score


def _describe(name: str, model_dir: Path | None) -> ModelSpec:
    """The registered reranker of that name, else the ONNX file at the path given. ConfigurationError for others."""
    known = ", ".join(RERANKERS)
    if model_dir is None and not Path(name).exists() and name.casefold() not in RERANKERS:
        raise ConfigurationError(f"There is no reranker named {name!r}; choose {known}, or give the path of its files.")
    spec = describe(name, model_dir)
    if not spec.reranks and (spec.name in REGISTRY or not spec.ready_made):
        raise ConfigurationError(f"{spec.name} is no reranker: choose {known}, or a folder with an ONNX file.")
    return spec

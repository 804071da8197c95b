"""A loaded cross-encoder: a query and texts in, a score for each text out, no database."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Semaphore
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.local_model import describe
from pgembedd.model.files.select_source import select_fetcher
from pgembedd.model.files.sources import Notify, obtain, silent
from pgembedd.model.model_spec import READY_MADE, TOKENIZER, ModelSpec
from pgembedd.model.onnx.runtime import OnnxFileEncoder, as_ids
from pgembedd.model.pooling import Float32Array
from pgembedd.model.scheduler import Lane, Scheduler
from pgembedd.model.session import OnRun, ignore
from pgembedd.model.specs import MS_MARCO_MINILM_L12, REGISTRY, RERANKERS
from pgembedd.model.tokenizer import Pair, Tokenizer

OUTPUT = "logits"


@dataclass(frozen=True)
class Scores:
    """`scores` float32 (n,), higher is more relevant; `tokens` int32 (n,), those read of query and text together.

    A score is the model's logit; `1 / (1 + exp(-score))` is between 0 and 1, in the same order.
    """

    scores: Float32Array
    tokens: NDArray[np.int32]


class ScoreFutures:
    """The runs of one call of `Reranker.start`, as one future."""

    def __init__(self, runs: list[Future[float]], positions: list[int], tokens: list[int]) -> None:
        """`runs` score the distinct texts; `positions` has the one of each text asked for."""
        self._runs, self._asked, self._tokens = runs, positions, tokens

    def result(self) -> Scores:
        """Waits for the scores, in the order of the texts; raises the model's error."""
        try:
            distinct = np.array([run.result() for run in self._runs], np.float32)
        except BaseException:
            self.cancel()
            raise
        asked = np.asarray(self._asked, np.intp)
        return Scores(distinct[asked], np.asarray(self._tokens, np.int32)[asked])

    def as_future(self) -> Future[Scores]:
        """Returns a future of the result; cancelling it drops the pairs that have not begun."""
        whole: Future[Scores] = Future()
        left = Semaphore(max(0, len(self._runs) - 1))

        def finish(_run: Future[float]) -> None:
            if left.acquire(blocking=False) or not whole.set_running_or_notify_cancel():
                return  # others are left, or no one waits
            try:
                whole.set_result(self.result())
            except BaseException as error:
                whole.set_exception(error)

        whole.add_done_callback(lambda future: self.cancel() if future.cancelled() else None)
        for run in self._runs:
            run.add_done_callback(finish)
        return whole

    def cancel(self) -> None:
        """Drops what has not begun."""
        for run in self._runs:
            run.cancel()


class Reranker:
    """One loaded cross-encoder, shared by all threads of the process.

    A run takes one core and holds one pair, because a quantised file may take its ranges over the whole run: so a
    score depends neither on the other texts nor on `threads`.
    """

    def __init__(
        self,
        name: str = MS_MARCO_MINILM_L12.name,
        *,
        model_dir: Path | None = None,
        cache_dir: Path | None = None,
        threads: int | None = None,
        offline: bool = False,
        notify: Notify = silent,
        on_run: OnRun = ignore,
    ) -> None:
        """Get the model's files, check them, and load the ONNX file.

        `name` is a registered reranker, or a folder or ONNX file of your own with the output `logits` (n, 1). The other
        parameters are those of Session. Raises ModelError, ModelUnavailableError or ConfigurationError.
        """
        if threads is not None and threads < 1:
            raise ConfigurationError(f"A model cannot run on {threads} threads; give 1 or more.")
        spec = _describe(name, model_dir)
        fetcher = select_fetcher(spec, model_dir=model_dir, cache_dir=cache_dir, offline=offline, notify=notify)
        tokenizer_path = obtain(spec, fetcher, TOKENIZER)
        self._encoder = OnnxFileEncoder(obtain(spec, fetcher, READY_MADE), OUTPUT)
        if self._encoder.dims != 1:
            raise ModelError(f"{spec.name} has {self._encoder.dims} scores for a text; a reranker has one.")
        self.max_tokens: int = min(spec.max_tokens, self._encoder.max_tokens or spec.max_tokens)
        self.spec: ModelSpec = replace(spec, max_tokens=self.max_tokens)
        self._tokenizer = Tokenizer(tokenizer_path, self.max_tokens)
        self.name: str = spec.name
        self.fingerprint: str = self.spec.fingerprint
        self.threads: int = threads or usable_cores()
        self._on_run = on_run
        self._scheduler = Scheduler(self.threads)

    def start(self, query: str, texts: Sequence[str], *, lane: Lane = "query") -> ScoreFutures:
        """Tokenise in the calling thread, hand the pairs to the reranker's threads, return when all are handed over.

        Equal texts are scored once. Where query and text are longer than the model reads together, the longer one is
        cut. `lane` is that of the reranker's threads: a search's hits go ahead of a bulk of texts (`fresh`).
        """
        distinct: dict[str, int] = {}
        positions = [distinct.setdefault(text, len(distinct)) for text in texts]
        asked = self._tokenizer.first_ids(query)
        started: dict[int, Future[float]] = {}
        tokens = [0] * len(distinct)
        for text, position in sorted(distinct.items(), key=lambda each: -len(each[0])):
            pair = self._tokenizer.join(asked, self._tokenizer.first_ids(text))
            tokens[position] = len(pair.ids)
            started[position] = self._scheduler.submit(lane, partial(self._score, pair))
        return ScoreFutures([started[position] for position in range(len(distinct))], positions, tokens)

    def score(self, query: str, texts: Sequence[str]) -> Float32Array:
        """The score of each text, float32 (n,), higher is more relevant; waits for them."""
        return self.start(query, texts).result().scores

    def close(self) -> None:
        """Finish the runs under way, cancel the others, and end the threads."""
        self._scheduler.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _score(self, pair: Pair) -> float:
        ids, began = as_ids([pair.ids]), time.monotonic()
        score = float(self._encoder.run(ids, as_ids([pair.types]))[0, 0])
        if not np.isfinite(score):
            raise ModelError(f"{self.name} computed a score that is not finite; its weights are damaged.")
        padding = self._encoder.computed_tokens(*ids.shape) - ids.size
        self._on_run("query", 1, ids.size, padding, time.monotonic() - began)
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

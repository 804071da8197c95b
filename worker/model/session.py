"""Texts in, float32 matrix out. Knows no database."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from worker.chunks import Chunk
from worker.errors import ConfigurationError, ModelError
from worker.model.batching import plan_portions, plan_runs
from worker.model.built import PROBE_FILE, built_graph
from worker.model.cache import cache_root
from worker.model.encoder import Encoder, OwnGraph, ReadyMadeGraph, as_ids
from worker.model.fitting import Fitting
from worker.model.folder import describe
from worker.model.pooling import Float32Array, normalize, pool
from worker.model.probe import require_exact_integers
from worker.model.registry import READY_MADE, TOKENIZER, ModelSpec, Precision
from worker.model.supply import Notify, Supply, obtain, open_supply, silent
from worker.model.tokens import Tokenizer, Tokens
from worker.model.tuning import Tuning, default_tuning, remembered

Kind = Literal["document", "query"]


@dataclass(frozen=True)
class Embeddings:
    """`vectors` float32 (n, dims), each of norm 1; `dropped` int32 (n,), tokens cut at the model's limit.

    `tokens` int32 (n,), all tokens of each text, special ones included: those kept and those dropped.
    `dropped` is exact for texts of up to 65,536 characters, an estimate beyond (`tokens.Tokenizer.encode`).
    """

    vectors: Float32Array
    dropped: NDArray[np.int32]
    tokens: NDArray[np.int32]


Run = tuple[list[int], Future[Float32Array]]
"""Positions of texts, and their vectors to come."""

OnRun = Callable[[Kind, int, int, int, float], None]
"""Is told of a run: kind, texts, tokens in them, tokens of padding beside them, seconds. From the run's own thread."""


def unheard(kind: Kind, texts: int, tokens: int, padding: int, seconds: float) -> None:
    """Nobody asks."""


class Pending:
    """Texts on their way through the model."""

    def __init__(
        self,
        runs: list[Run],
        dims: int,
        which: list[int],
        dropped: list[int],
        tokens: list[int],
    ) -> None:
        """`runs` compute the distinct texts at these positions; `which` says where each text's vector is."""
        self._runs, self._dims, self._which, self._dropped, self._tokens = runs, dims, which, dropped, tokens

    def result(self) -> Embeddings:
        """Wait for the vectors, in the order of the texts; raises what the model raised."""
        distinct = np.empty((len(self._dropped), self._dims), np.float32)
        try:
            for positions, future in self._runs:
                distinct[positions] = future.result()
        except BaseException:
            for _, future in self._runs:
                future.cancel()
            raise
        which = np.asarray(self._which, np.intp)
        return Embeddings(
            distinct[which],
            np.asarray(self._dropped, np.int32)[which],
            np.asarray(self._tokens, np.int32)[which],
        )


class Session:
    """One loaded model, shared by all threads of the process.

    A run takes one core; `threads` runs go on at once. The vector of a text does not depend on the
    texts that come with it, nor on `threads`.
    """

    def __init__(
        self,
        name: str = "gte-small",
        *,
        precision: Precision = "fp32",
        model_dir: Path | None = None,
        cache_dir: Path | None = None,
        threads: int | None = None,
        tuning: Tuning | None = None,
        offline: bool = False,
        notify: Notify = silent,
        on_run: OnRun = unheard,
    ) -> None:
        """Get the model's files, check them, and load the graph (built once, then cached).

        `name` is a registered model, whose files must then have the pinned digests wherever they come from;
        or any other name together with `model_dir`, a folder or an ONNX file of your own; or such a path
        itself. `precision` is that of the graph we build of a checkpoint; an ONNX file keeps the one it has.
        `tuning` defaults to what `pgembedd tune` found best here, else to the cores this process may use;
        `threads` overrides it. `offline` fetches nothing.
        `notify` is called with one line before anything that takes a while. Raises ModelError,
        ModelUnavailableError or ConfigurationError.
        """
        if threads is not None and threads < 1:
            raise ConfigurationError(f"A model cannot run on {threads} threads; give 1 or more.")
        spec = describe(name, model_dir)
        if not spec.ready_made:
            spec = replace(spec, precision=precision)
        supply = open_supply(spec, model_dir=model_dir, cache_dir=cache_dir, offline=offline, notify=notify)
        tokenizer_path = obtain(spec, supply, TOKENIZER)
        self._encoder, quantised = _load(spec, supply, cache_dir, notify)
        limit = min(spec.max_tokens, self._encoder.max_tokens or spec.max_tokens)
        self.spec: ModelSpec = replace(spec, dims=self._encoder.dims, max_tokens=limit, quantised=quantised)
        self._tokenizer = Tokenizer(tokenizer_path, limit)
        self._fitting = Fitting(self._tokenizer, spec.document_prefix)
        self.name: str = spec.name
        self.dims: int = self.spec.dims
        self.max_tokens: int = limit
        self.fingerprint: str = self.spec.fingerprint
        tuning = tuning or remembered(self.fingerprint, cache_dir) or default_tuning()
        self.threads: int = threads or tuning.threads
        self._on_run = on_run
        self._run_tokens = 1 if self._encoder.alone else tuning.run_tokens
        self._documents = ThreadPoolExecutor(self.threads, thread_name_prefix="documents")
        self._queries = ThreadPoolExecutor(1, thread_name_prefix="queries")

    def start(self, texts: Sequence[str], *, kind: Kind = "document") -> Pending:
        """Tokenise in the calling thread, hand the runs to the session's threads, return when all are handed over.

        Equal texts are embedded once. `kind` chooses the prefix of models that were trained with one; queries
        have a thread to themselves, so that none waits behind documents.
        """
        distinct: dict[str, int] = {}
        which = [distinct.setdefault(text, len(distinct)) for text in texts]
        unique = list(distinct)
        dropped, total = [0] * len(unique), [0] * len(unique)
        threads = self._queries if kind == "query" else self._documents
        started: list[Run] = []
        for portion in plan_portions(unique):
            encoded = [self._encode(unique[position], kind) for position in portion]
            for position, tokens in zip(portion, encoded, strict=True):
                dropped[position], total[position] = tokens.dropped, len(tokens.ids) + tokens.dropped
            for run in plan_runs([len(tokens.ids) for tokens in encoded], self._run_tokens):
                ids = [encoded[i].ids for i in run]
                started.append(([portion[i] for i in run], threads.submit(self._vectors, ids, kind)))
        return Pending(started, self.dims, which, dropped, total)

    def embed(self, texts: Sequence[str], *, kind: Kind = "document") -> Embeddings:
        """The vectors of these texts; waits for them."""
        return self.start(texts, kind=kind).result()

    @overload
    def run(
        self, text_or_texts: str | Sequence[str], mean_pool: Literal[True] = True, normalize: bool = True
    ) -> Float32Array: ...
    @overload
    def run(self, text_or_texts: str, mean_pool: bool, normalize: bool = True) -> Float32Array: ...
    @overload
    def run(
        self, text_or_texts: str | Sequence[str], mean_pool: bool, normalize: bool = True
    ) -> Float32Array | list[Float32Array]: ...
    def run(
        self, text_or_texts: str | Sequence[str], mean_pool: bool = True, normalize: bool = True
    ) -> Float32Array | list[Float32Array]:
        """The call known from the Edge Functions API: float32 of shape (dims,) for a text, (n, dims) for n.

        With `mean_pool=False` a text gives its token vectors, (tokens, dims) with the special tokens, and
        n texts give a list of n such arrays, since their lengths differ. `normalize` makes the norm of
        every vector 1. Models trained with prefixes get the one for documents.
        """
        one = isinstance(text_or_texts, str)
        texts = [text_or_texts] if isinstance(text_or_texts, str) else list(text_or_texts)
        if mean_pool and normalize:
            vectors = self.embed(texts).vectors
            return vectors[0] if one else vectors
        parts = list(self._documents.map(lambda text: self._raw(text, mean_pool, normalize), texts))
        if one:
            return parts[0]
        return np.reshape(parts, (len(parts), self.dims)) if mean_pool else parts

    def count_tokens(self, text: str) -> tuple[int, int]:
        """(all tokens of the text, those the model reads), exact for any length; about 1 s per MB of text.

        Special tokens and the prefix for documents count as well, as they do at the model's limit.
        """
        total = self._tokenizer.count(self.spec.document_prefix + text)
        return total, min(total, self.max_tokens)

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]:
        """A document in chunks that the model reads whole between `before` and `after`; see Fitting.split."""
        return self._fitting.split(text, tokens=tokens, overlap=overlap, markdown=markdown, before=before, after=after)

    def close(self) -> None:
        """Finish the runs under way, cancel the others, and end the threads."""
        for threads in (self._queries, self._documents):
            threads.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _encode(self, text: str, kind: Kind) -> Tokens:
        prefix = self.spec.query_prefix if kind == "query" else self.spec.document_prefix
        return self._tokenizer.encode(prefix + text)

    def _vectors(self, encoded: list[list[int]], kind: Kind) -> Float32Array:
        """(n, dims) of norm 1, for n texts of equal length."""
        ids, began = as_ids(encoded), time.monotonic()
        vectors = _finite(normalize(pool(self._encoder.run(ids), self.spec.pooling)), self.name)
        padding = self._encoder.computed(*ids.shape) - ids.size
        self._on_run(kind, len(encoded), ids.size, padding, time.monotonic() - began)
        return vectors

    def _raw(self, text: str, mean_pool: bool, unit: bool) -> Float32Array:
        """One text's pooled vector (dims,), or its token vectors (tokens, dims)."""
        output = self._encoder.run(as_ids([self._encode(text, "document").ids]))
        if not mean_pool and output.ndim == 2:
            raise ModelError(f"{self.name} pools by itself and gives no token vectors; use mean_pool=True.")
        part = pool(output, self.spec.pooling)[0] if mean_pool else output[0]
        return _finite(normalize(part) if unit else part, self.name)


def _load(spec: ModelSpec, supply: Supply, cache_dir: Path | None, notify: Notify) -> tuple[Encoder, str]:
    """The network, and the digest of its numbers where we quantised them."""
    if spec.ready_made:
        return ReadyMadeGraph(obtain(spec, supply, READY_MADE)), ""
    built = built_graph(spec, supply, cache_root(cache_dir), notify)
    if spec.precision == "int8":
        require_exact_integers(built.path.with_name(PROBE_FILE))
    return OwnGraph(built.path), built.quantised


def _finite(vectors: Float32Array, name: str) -> Float32Array:
    """The vectors, unless the model computed something that is no number: never store that."""
    if not np.isfinite(vectors).all():
        raise ModelError(f"{name} computed a vector that is not finite; its weights are damaged.")
    return vectors

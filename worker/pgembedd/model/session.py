"""A loaded embedding model: texts in, float32 matrix out, no database."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Unpack, cast, overload

import numpy as np

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.chunk_fitting import ChunkFitter
from pgembedd.model.files.local_model import describe
from pgembedd.model.files.model_files import FileOptions
from pgembedd.model.files.sources import silent
from pgembedd.model.futures import Embeddings, Kind, Run, RunFutures, Text, distinct, lane_of
from pgembedd.model.in_process import InProcessModel, OnRun, load_network
from pgembedd.model.model_spec import Device, ModelSpec, Precision, precision_on
from pgembedd.model.onnx.device import DeviceEncoder
from pgembedd.model.onnx.runtime import OnnxEncoder
from pgembedd.model.pooling import Float32Array, normalize, pool
from pgembedd.model.specs import DEFAULT_MODEL, REGISTRY
from pgembedd.model.tokenizer import Tokens
from pgembedd.scheduler import Lane
from pgembedd.text.chunker import Chunk


class Session(InProcessModel[OnnxEncoder | DeviceEncoder]):
    """One loaded embedding model, shared by all threads of the process.

    On a CPU a run takes one core, `threads` runs go on at once, and the vector of a text does not depend on the
    texts that come with it, nor on `threads`. On a GPU it depends on them by rounding.
    """

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        *,
        precision: Precision = "fp32",
        device: Device = "cpu",
        model_dir: Path | None = None,
        threads: int | None = None,
        on_run: OnRun = silent,
        **files: Unpack[FileOptions],
    ) -> None:
        """Get the model's files, check them, and load the graph (built once, then cached).

        `name` is a registered model, whose files must then have the pinned digests wherever they come from;
        or any other name together with `model_dir`, a folder or an ONNX file of your own; or such a path
        itself. `precision` is that of the graph we build of a checkpoint; an ONNX file keeps the one it has.
        `threads` defaults to the cores this process may use. On the device `cuda` a checkpoint runs at fp16, and an
        ONNX file remains on the CPU. Raises ModelError, ModelUnavailableError or ConfigurationError.
        """
        spec = _describe(name, model_dir, precision_on(device, precision))
        super().__init__(spec, threads, on_run, load_network, **files)
        self.dims: int = self._encoder.dims
        self.spec = replace(self.spec, dims=self.dims)
        self._fitting = ChunkFitter(self._tokenizer, self.spec.document_prefix)

    def start(
        self, texts: Sequence[Text], *, kind: Kind = "document", lane: Lane | None = None
    ) -> RunFutures[Embeddings]:
        """Tokenise in the calling thread, hand the runs to the session's threads, return when all are handed over.

        Equal texts are embedded once. `kind` chooses the prefix of models that were trained with one. `lane`
        decides what goes ahead of what: by default a query has its own and a document is `fresh`. UnknownTokenError for
        token ids that are not this model's.
        """
        unique, positions = distinct(texts)
        dropped, total = [0] * len(unique), [0] * len(unique)
        lane = lane or lane_of(kind)
        started: list[Run] = []
        for portion in self._encoder.portions(unique):
            encoded = self._encode_all([unique[position] for position in portion], kind)
            for position, tokens in zip(portion, encoded, strict=True):
                dropped[position], total[position] = tokens.dropped, len(tokens.ids) + tokens.dropped
            for run in self._encoder.plan([len(tokens.ids) for tokens in encoded]):
                ids = [encoded[i].ids for i in run]
                work = partial(self._vectors, ids, kind)
                started.append(([portion[i] for i in run], self._scheduler.submit(lane, work)))
        return RunFutures(Embeddings, (self.dims,), started, positions, dropped, total)

    def embed(self, texts: Sequence[Text], *, kind: Kind = "document") -> Embeddings:
        """The vectors of these texts; waits for them."""
        return self.start(texts, kind=kind).result()

    @overload
    def run(
        self,
        text_or_texts: Text | Sequence[Text],
        mean_pool: Literal[True] = True,
        normalize: bool = True,
        *,
        kind: Kind = "document",
    ) -> Float32Array: ...
    @overload
    def run(
        self, text_or_texts: Text, mean_pool: bool, normalize: bool = True, *, kind: Kind = "document"
    ) -> Float32Array: ...
    @overload
    def run(
        self, text_or_texts: Text | Sequence[Text], mean_pool: bool, normalize: bool = True, *, kind: Kind = "document"
    ) -> Float32Array | list[Float32Array]: ...
    def run(
        self,
        text_or_texts: Text | Sequence[Text],
        mean_pool: bool = True,
        normalize: bool = True,
        *,
        kind: Kind = "document",
    ) -> Float32Array | list[Float32Array]:
        """The call known from the Edge Functions API: float32 of shape (dims,) for a text, (n, dims) for n.

        With `mean_pool=False` a text gives its token vectors, (tokens, dims) with the special tokens, and
        n texts give a list of n such arrays, since their lengths differ. `normalize` makes the norm of
        every vector 1. `kind` chooses prefix and priority, as in `start`; a tuple of token ids is one text.
        """
        one = isinstance(text_or_texts, str) or _is_ids(text_or_texts)
        texts = cast(list[Text], [text_or_texts] if one else list(text_or_texts))
        if mean_pool and normalize:
            vectors = self.embed(texts, kind=kind).vectors
            return vectors[0] if one else vectors
        work = [partial(self._raw, text, kind, mean_pool, normalize) for text in texts]
        parts = [future.result() for future in [self._scheduler.submit(lane_of(kind), each) for each in work]]
        if one:
            return parts[0]
        return np.reshape(parts, (len(parts), self.dims)) if mean_pool else parts

    def count_tokens(self, text: Text, *, kind: Kind = "document") -> tuple[int, int]:
        """(all tokens of the text, those the model reads), exact for any length; about 1 s per MB of text.

        Special tokens and the model's prefix for this kind count as well, as they do at the model's limit.
        """
        if isinstance(text, str):
            total = self._tokenizer.count(self._prefix(kind) + text)
        else:
            tokens = self._encode(text, kind)
            total = len(tokens.ids) + tokens.dropped
        return total, min(total, self.max_tokens)

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]:
        """A document in chunks that the model reads whole between `before` and `after`; see ChunkFitter.split."""
        return self._fitting.split(text, tokens=tokens, overlap=overlap, markdown=markdown, before=before, after=after)

    def _prefix(self, kind: Kind) -> str:
        return self.spec.query_prefix if kind == "query" else self.spec.document_prefix

    def _encode(self, text: Text, kind: Kind) -> Tokens:
        prefix = self._prefix(kind)
        if isinstance(text, str):
            return self._tokenizer.encode(prefix + text)
        return self._tokenizer.encode_ids(text, prefix)

    def _encode_all(self, texts: Sequence[Text], kind: Kind) -> list[Tokens]:
        prefix = self._prefix(kind)
        strings = iter(self._tokenizer.encode_all([prefix + text for text in texts if isinstance(text, str)]))
        return [next(strings) if isinstance(text, str) else self._encode(text, kind) for text in texts]

    def _vectors(self, encoded: list[list[int]], kind: Kind) -> Float32Array:
        """(n, dims) of norm 1, for the n texts of a run."""
        began = time.monotonic()
        vectors = self._finite(normalize(pool(self._encoder.run(encoded), self.spec.pooling)), "vector")
        self._report(kind, encoded, began)
        return vectors

    def _raw(self, text: Text, kind: Kind, mean_pool: bool, unit: bool) -> Float32Array:
        """One text's pooled vector (dims,), or its token vectors (tokens, dims)."""
        output = self._encoder.run([self._encode(text, kind).ids])
        if not mean_pool and output.ndim == 2:
            raise ModelError(f"{self.name} pools by itself and gives no token vectors; use mean_pool=True.")
        part = pool(output, self.spec.pooling)[0] if mean_pool else output[0]
        return self._finite(normalize(part) if unit else part, "vector")


def _describe(name: str, model_dir: Path | None, precision: Precision) -> ModelSpec:
    """Returns the description of a model at this precision. ConfigurationError for a reranker."""
    spec = describe(name, model_dir)
    if spec.reranks:
        others = ", ".join(REGISTRY)
        raise ConfigurationError(f"{spec.name} reranks texts and has no vectors; choose one of {others}.")
    return spec if spec.ready_made else replace(spec, precision=precision)


def _is_ids(given: object) -> bool:
    """True for one text's token ids: a tuple of numbers, where a tuple of texts is several."""
    return isinstance(given, tuple) and bool(given) and isinstance(given[0], int)

"""A model that runs in this process: its files, its tokenizer, its network, and the threads that run it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Self, Unpack

import numpy as np

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.model_files import FileOptions, ModelFiles
from pgembedd.model.futures import Kind
from pgembedd.model.graph_cache import ensure_graph
from pgembedd.model.model_spec import READY_MADE, TOKENIZER, ModelSpec
from pgembedd.model.onnx.runtime import Int64Array, OnnxEncoder
from pgembedd.model.pooling import Float32Array
from pgembedd.model.scheduler import Scheduler
from pgembedd.model.tokenizer import Tokenizer

OnRun = Callable[[Kind, int, int, int, float], None]
"""Called after each run, in its thread: kind, texts, tokens in them, tokens of padding, seconds."""


class InProcessModel:
    """One loaded model, shared by all threads of the process. A run takes one core; `threads` runs go on at once."""

    def __init__(
        self,
        spec: ModelSpec,
        threads: int | None,
        on_run: OnRun,
        output: str | None = None,
        **options: Unpack[FileOptions],
    ) -> None:
        """Gets the model's files, checks them, and loads the graph, of which `output` is the one that is wanted."""
        if threads is not None and threads < 1:
            raise ConfigurationError(f"A model cannot run on {threads} threads; give 1 or more.")
        files = ModelFiles(spec, **options)
        tokenizer_path = files.obtain(TOKENIZER)
        self._encoder, quantised = _load(files, output)
        self.max_tokens: int = min(spec.max_tokens, self._encoder.max_tokens or spec.max_tokens)
        self.spec: ModelSpec = replace(spec, max_tokens=self.max_tokens, quantised=quantised)
        self._tokenizer = Tokenizer(tokenizer_path, self.max_tokens)
        self.name: str = spec.name
        self.fingerprint: str = self.spec.fingerprint
        self.threads: int = threads or usable_cores()
        self._on_run = on_run
        self._scheduler = Scheduler(self.threads)

    def close(self) -> None:
        """Finish the runs under way, cancel the others, and end the threads."""
        self._scheduler.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self, kind: Kind, ids: Int64Array, began: float) -> None:
        """Tells `on_run` of a run on these ids, (texts, tokens)."""
        padding = self._encoder.computed_tokens(*ids.shape) - ids.size
        self._on_run(kind, len(ids), ids.size, padding, time.monotonic() - began)

    def _finite(self, numbers: Float32Array, noun: str) -> Float32Array:
        """Returns the numbers, unless the model computed something that is none: never store that."""
        if not np.isfinite(numbers).all():
            raise ModelError(f"{self.name} computed a {noun} that is not finite; its weights are damaged.")
        return numbers


def _load(files: ModelFiles, output: str | None) -> tuple[OnnxEncoder, str]:
    """Loads the network; with it the digest of its numbers where pgembedd quantised them."""
    if files.spec.ready_made:
        return OnnxEncoder(files.obtain(READY_MADE), output=output), ""
    built = ensure_graph(files)
    return OnnxEncoder(built.path, built=True), built.quantised

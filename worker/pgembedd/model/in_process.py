"""A model that runs in this process: its files, its tokenizer, its network, and the threads that run it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, Self, TypeVar, Unpack

import numpy as np

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.cpu import usable_cores
from pgembedd.model.device_check import load_on_device
from pgembedd.model.files.model_files import FileOptions, ModelFiles
from pgembedd.model.futures import Kind
from pgembedd.model.graph_cache import ensure_graph
from pgembedd.model.model_spec import READY_MADE, TOKENIZER, ModelSpec
from pgembedd.model.onnx.device import DeviceEncoder
from pgembedd.model.onnx.runtime import OnnxEncoder
from pgembedd.model.pooling import Float32Array
from pgembedd.model.tokenizer import Tokenizer
from pgembedd.scheduler import Scheduler

OnRun = Callable[[Kind, int, int, int, float], None]
"""Called after each run, in its thread: kind, texts, tokens in them, tokens of padding, seconds."""

DEVICE_THREADS = 2
"""One run is prepared while another one is on the device."""


Encoder = TypeVar("Encoder", OnnxEncoder, DeviceEncoder, OnnxEncoder | DeviceEncoder)


class InProcessModel(Generic[Encoder]):
    """One loaded model, shared by all threads of the process. `threads` runs go on at once, on a CPU one on a core."""

    def __init__(
        self,
        spec: ModelSpec,
        threads: int | None,
        on_run: OnRun,
        load: Callable[[ModelFiles], tuple[Encoder, str]],
        **options: Unpack[FileOptions],
    ) -> None:
        """Gets the model's files, checks them, and loads the graph by `load`, with what `ModelSpec.quantised` is."""
        if threads is not None and threads < 1:
            raise ConfigurationError(f"A model cannot run on {threads} threads; give 1 or more.")
        files = ModelFiles(spec, **options)
        tokenizer_path = files.obtain(TOKENIZER)
        self._encoder: Encoder
        self._encoder, quantised = load(files)
        self.max_tokens: int = min(spec.max_tokens, self._encoder.max_tokens or spec.max_tokens)
        self.spec: ModelSpec = replace(spec, max_tokens=self.max_tokens, quantised=quantised)
        on_cpu = isinstance(self._encoder, OnnxEncoder)
        self._tokenizer = Tokenizer(tokenizer_path, self.max_tokens, parallel=not on_cpu)
        self.name: str = spec.name
        self.fingerprint: str = self.spec.fingerprint
        self.threads: int = threads or (usable_cores() if on_cpu else DEVICE_THREADS)
        self._on_run = on_run
        self._scheduler = Scheduler(self.threads, on_cores=on_cpu)

    def close(self) -> None:
        """Finish the runs under way, cancel the others, and end the threads."""
        self._scheduler.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self, kind: Kind, encoded: Sequence[list[int]], began: float) -> None:
        """Tells `on_run` of a run on these texts."""
        lengths = [len(ids) for ids in encoded]
        tokens = sum(lengths)
        padding = self._encoder.computed_tokens(lengths) - tokens
        self._on_run(kind, len(encoded), tokens, padding, time.monotonic() - began)

    def _finite(self, numbers: Float32Array, noun: str) -> Float32Array:
        """Returns the numbers, unless the model computed something that is none: never store that."""
        if not np.isfinite(numbers).all():
            raise ModelError(f"{self.name} computed a {noun} that is not finite; its weights are damaged.")
        return numbers


def load_file(files: ModelFiles, output: str | None = None) -> tuple[OnnxEncoder, str]:
    """Loads a ready-made ONNX file, of which `output` is the output that is wanted."""
    return OnnxEncoder(files.obtain(READY_MADE), output=output), ""


def load_network(files: ModelFiles) -> tuple[OnnxEncoder | DeviceEncoder, str]:
    """Loads a ready-made file or the graph of a checkpoint, at fp16 onto the GPU."""
    if files.spec.ready_made:
        return load_file(files)
    if files.spec.precision == "fp16":
        return load_on_device(files), ""
    built = ensure_graph(files)
    return OnnxEncoder(built.path, built=True), built.quantised

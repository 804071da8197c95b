"""Token ids to vectors on a GPU: runs of padded texts through the masked graph, on onnxruntime's CUDA provider."""

import functools
import io
import re
import threading
from collections.abc import Iterator, Sequence, Sized
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.batching import plan_padded, plan_portions
from pgembedd.model.onnx.cpu_check import PROBE
from pgembedd.model.onnx.runtime import IDS, LENGTHS, POOLING, import_onnxruntime, load_session
from pgembedd.model.pooling import Float32Array, Pooling
from pgembedd.settings.documentation import page

CUDA = "CUDAExecutionProvider"
OPTIONS = {CUDA: {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}}
"""Products in single precision stay that; workers that share a device take no more of its memory than they use."""

RUN_TOKENS = 32_768
"""Tokens of a run, padding included: with 16,384 to 65,536 an H100 took the same time."""
PORTION_CHARS = 8 * RUN_TOKENS
"""Of texts that are tokenised before the next ones: some two runs, which a device takes while all cores tokenise."""
BUCKET_TOKENS = 16
"""Texts are padded to a multiple of this: matrix units read rows of 8, and few shapes use the same memory again."""

_FATAL, _WARNING = 4, 2  # onnxruntime's levels of its log


class DeviceEncoder:
    """A masked graph on a device; it pools there. Safe to call from several threads, each of which has its own buffers.

    On the other texts of its run a text's vector depends by rounding alone.
    """

    def __init__(self, path: Path, pooling: Pooling, max_tokens: int, provider: str = CUDA) -> None:
        """`max_tokens` is the model's limit. Another `provider` than CUDA's runs the same graph elsewhere."""
        if provider == CUDA:
            check_device()
        self._session = load_session(path, optimize=True, provider=provider, provider_options=OPTIONS.get(provider))
        self._pooling, self.max_tokens = pooling, max_tokens
        (output,) = self._session.get_outputs()
        self._output: str = output.name
        self.dims: int = output.shape[-1]
        self._buffers = threading.local()

    def portions(self, texts: Sequence[Sized]) -> Iterator[list[int]]:
        """Groups the positions of `texts` into portions that are tokenised one after the other, longest texts first.

        They do not grow: the device is quicker than the tokenizer, and would wait for a large one.
        """
        return plan_portions(texts, PORTION_CHARS, growth=1)

    def plan(self, lengths: Sequence[int]) -> list[list[int]]:
        """Groups the positions of `lengths`, in tokens, into runs, longest texts first."""
        return plan_padded(lengths, RUN_TOKENS, self._padded)

    def _padded(self, tokens: int) -> int:
        return min(-(-tokens // BUCKET_TOKENS) * BUCKET_TOKENS, self.max_tokens)

    def computed_tokens(self, lengths: Sequence[int]) -> int:
        """Returns the tokens that a run of texts of these lengths computes."""
        return len(lengths) * self._padded(max(lengths))

    def run(self, encoded: Sequence[list[int]]) -> Float32Array:
        """Texts of any lengths to (texts, dims), pooled and not normalised."""
        lengths = np.fromiter(map(len, encoded), np.int32, len(encoded))
        shape = len(encoded), self._padded(int(lengths.max()))
        starts = np.arange(len(encoded) + 1, dtype=np.int32) * shape[1]
        ids, pooling = self._buffer(IDS, np.int64, *shape), self._buffer(POOLING, np.float32, *shape)
        ids[:], pooling[:] = 0, 0
        for row, weights, text in zip(ids, pooling, encoded, strict=True):
            row[: len(text)] = text
            counted = len(text) if self._pooling == "mean" else 1
            weights[:counted] = 1 / counted
        vectors = self._buffer(self._output, np.float32, len(encoded), self.dims)
        self._bound_run({IDS: ids, POOLING: pooling, LENGTHS: np.concatenate([lengths, starts, starts])}, vectors)
        return vectors.copy()

    def _bound_run(self, inputs: dict[str, NDArray[Any]], output: NDArray[Any]) -> None:
        """Runs the graph from and into the memory of these arrays."""
        binding = self._session.io_binding()
        for name, each in inputs.items():
            binding.bind_input(name, "cpu", 0, each.dtype.type, each.shape, each.ctypes.data)
        binding.bind_output(self._output, "cpu", 0, output.dtype.type, output.shape, output.ctypes.data)
        self._session.run_with_iobinding(binding)

    def _buffer(self, name: str, number: type[np.generic], texts: int, width: int) -> NDArray[Any]:
        """Returns an array in memory that the calling thread keeps; its content is what was there."""
        kept: NDArray[Any] | None = getattr(self._buffers, name, None)
        if kept is None or kept.size < texts * width:
            kept = np.empty(texts * width, number)
            setattr(self._buffers, name, kept)
        return kept[: texts * width].reshape(texts, width)


@functools.cache
def check_device() -> None:
    """Loads a small graph onto the GPU, once in a process. ConfigurationError where that cannot be done."""
    ort = import_onnxruntime()
    how = f"{page('how-to/gpu.md')} says how."
    if CUDA not in ort.get_available_providers():
        raise ConfigurationError(
            f"PGEMBEDD_DEVICE is cuda, but this onnxruntime {ort.__version__} runs on CPUs alone: "
            f"install pgembedd with onnxruntime-gpu; {how}"
        )
    with redirect_stdout(io.StringIO()) as told:
        ort.preload_dlls()  # CUDA's libraries where they are Python packages; it prints what it does not find
    ort.set_default_logger_severity(_FATAL)
    try:
        loaded = CUDA in load_session(PROBE, optimize=False, provider=CUDA).get_providers()
        reason = next(iter(told.getvalue().splitlines()), "its CUDA provider does not start")
    except ModelError as error:
        loaded, reason = False, _told_by_cuda(str(error.__cause__))
    finally:
        ort.set_default_logger_severity(_WARNING)
    if not loaded:
        raise ConfigurationError(
            f"PGEMBEDD_DEVICE is cuda, but onnxruntime {ort.__version__} finds no GPU that it can use here ({reason}): "
            f"`nvidia-smi` must list one, and the libraries of CUDA and cuDNN must be there; {how}"
        )


def _told_by_cuda(said: str) -> str:
    """Returns CUDA's own words of an error of onnxruntime, which stand between names of its functions and files."""
    told = re.search(r"CUDA failure \d+: [^;]*[^; ]", said)
    return told[0] if told else said.splitlines()[0]

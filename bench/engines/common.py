"""What the engines share: where a model's files lie, tokens, batches, pooling. Needs numpy and tokenizers only."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
Embed = Callable[[list[str]], Float32Array]
"""Texts in, vectors out: float32 (n, dims), each of norm 1, in the order of the texts."""

FORMS = {
    "stock": "onnx/model.onnx",
    "exported": "exported/model.onnx",
    "ctranslate2": "ctranslate2/model.bin",
    **{form: f"openvino-{form}/model.xml" for form in ("fp32", "nncf", "weights")},
}
"""Each form of a model's files by its chief file; where that is, all of the form is."""


@dataclass(frozen=True)
class Setup:
    """What an engine is to load: a folder of model files, the form, the limit in tokens, cores to use, its settings."""

    folder: Path
    max_tokens: int
    threads: int
    precision: str = "fp32"
    form: str = "stock"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The chief file of its form."""
        return self.folder / FORMS[self.form]

    def number(self, name: str, otherwise: int = 0) -> int:
        """A setting that is a number."""
        return int(self.settings.get(name, otherwise))


@dataclass(frozen=True)
class Batch:
    """Texts that go through a model together: their `positions`, and `ids` and `mask`, int64 (texts, tokens)."""

    positions: list[int]
    ids: Int64Array
    mask: Int64Array


def load_tokenizer(folder: Path, max_tokens: int) -> Callable[[list[str]], list[list[int]]]:
    """Texts to token ids, cut at the model's limit; the library spreads a batch over the cores by itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def batches(encoded: Sequence[list[int]], setup: Setup) -> list[Batch]:
    """Batches of `size` texts in the order of arrival, or by length of `size` tokens, as the setting `plan` says."""
    size, multiple = setup.number("size"), setup.number("multiple", 1)
    if setup.settings["plan"] == "length":
        plan = by_length(encoded, size, multiple)
    else:
        plan = [list(range(start, min(start + size, len(encoded)))) for start in range(0, len(encoded), size)]
    return [batch(encoded, positions, multiple) for positions in plan]


def batch(encoded: Sequence[list[int]], positions: list[int], multiple: int) -> Batch:
    """These texts padded to the longest, rounded up to a `multiple` of tokens."""
    longest = max(len(encoded[position]) for position in positions)
    shape = (len(positions), -(-longest // multiple) * multiple)
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, position in enumerate(positions):
        tokens = encoded[position]
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    return Batch(positions, ids, mask)


def by_length(encoded: Sequence[list[int]], max_tokens: int, multiple: int = 1) -> list[list[int]]:
    """Longest first; texts share a batch when they round up to the same `multiple`, up to `max_tokens` in all."""
    groups: dict[int, list[int]] = defaultdict(list)
    for position, tokens in enumerate(encoded):
        groups[-(-len(tokens) // multiple) * multiple].append(position)
    plan = []
    for length in sorted(groups, reverse=True):
        size = max(1, max_tokens // length)
        plan += [groups[length][start : start + size] for start in range(0, len(groups[length]), size)]
    return plan


def pooled(hidden: Float32Array, mask: Int64Array) -> Float32Array:
    """(texts, tokens, dims) to (texts, dims): the mean over the tokens that are no padding, then norm 1."""
    weights = mask[:, :, None].astype(np.float32)
    means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    unit: Float32Array = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


Parts = Sequence[tuple[list[int], Float32Array]]
"""The vectors of batches, each with the positions of its texts."""


def collect(parts: Parts) -> Float32Array:
    """The vectors in the order of the texts."""
    order = np.concatenate([positions for positions, _ in parts])
    vectors: Float32Array = np.concatenate([part for _, part in parts])[np.argsort(order)]
    return vectors


def batched(setup: Setup, run: Callable[[list[Batch]], Parts]) -> Embed:
    """Embeds texts by what `run` makes of their batches."""
    tokenize = load_tokenizer(setup.folder, setup.max_tokens)
    return lambda texts: collect(run(batches(tokenize(texts), setup)))


def in_threads(run: Callable[[Batch], Float32Array], callers: int) -> Callable[[list[Batch]], Parts]:
    """`run` over all batches from this many threads at once."""

    def run_all(todo: list[Batch]) -> Parts:
        with ThreadPoolExecutor(callers) as pool:
            return list(zip([each.positions for each in todo], pool.map(run, todo), strict=True))

    return run_all

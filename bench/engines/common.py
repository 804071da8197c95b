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

STOCK_ONNX = "onnx/model.onnx"
EXPORTED_ONNX = "exported/model.onnx"
OPENVINO = "openvino/{form}.xml"
CTRANSLATE2 = "ctranslate2"


@dataclass(frozen=True)
class Setup:
    """What an engine is to load: a folder of model files, the limit in tokens, cores to use, its own settings."""

    folder: Path
    max_tokens: int
    threads: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Texts that go through a model together: their `positions`, and `ids` and `mask`, int64 (texts, tokens)."""

    positions: list[int]
    ids: Int64Array
    mask: Int64Array


def load_tokenizer(setup: Setup) -> Callable[[list[str]], list[list[int]]]:
    """Texts to token ids, cut at the model's limit; the library spreads a batch over the cores by itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(setup.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(setup.max_tokens)
    return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def batches(encoded: Sequence[list[int]], plan: Sequence[list[int]], multiple: int = 1) -> list[Batch]:
    """Each run of the plan padded to its longest text, rounded up to a `multiple` of tokens."""
    return [_batch(encoded, positions, multiple) for positions in plan]


def _batch(encoded: Sequence[list[int]], positions: list[int], multiple: int) -> Batch:
    longest = max(len(encoded[position]) for position in positions)
    shape = (len(positions), -(-longest // multiple) * multiple)
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, position in enumerate(positions):
        tokens = encoded[position]
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    return Batch(positions, ids, mask)


def in_order(encoded: Sequence[list[int]], size: int) -> list[list[int]]:
    """Batches of `size` in the order of arrival."""
    return [list(range(start, min(start + size, len(encoded)))) for start in range(0, len(encoded), size)]


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


def collect(count: int, parts: Sequence[tuple[list[int], Float32Array]]) -> Float32Array:
    """The vectors of all batches, in the order of the texts."""
    vectors = np.empty((count, parts[0][1].shape[1]), np.float32)
    for positions, part in parts:
        vectors[positions] = part
    return vectors


def map_batches(run: Callable[[Batch], Float32Array], todo: Sequence[Batch], callers: int) -> Float32Array:
    """`run` over all batches from this many threads at once; the vectors in the order of the texts."""
    count = sum(len(batch.positions) for batch in todo)
    if callers == 1:
        return collect(count, [(batch.positions, run(batch)) for batch in todo])
    with ThreadPoolExecutor(callers) as pool:
        return collect(count, list(zip([batch.positions for batch in todo], pool.map(run, todo), strict=True)))

"""Real vectors in any number: all-MiniLM-L6-v2 of the standard library's documentation, kept between runs.

There are some thousands of texts. A larger set is filled up with mixtures: the sum of two of the real vectors with
random weights and a little noise, normalised. So they lie where texts lie, and no two are the same.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgembedd.cli.demo_documents import standard_library
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
LONGEST = 300  # characters: what is measured is Postgres, and the model is to be done with it soon
NOISE = 0.15  # length of the noise, against 1 for the vector
PART = 1_000_000  # rows, which take some gigabytes while they are made

Vectors = NDArray[np.float32]


def texts() -> list[str]:
    """The paragraphs of the documentation, each once, in a fixed but mixed order."""
    paragraphs = (part.strip()[:LONGEST] for document in standard_library() for part in document.text.split("\n\n"))
    distinct = dict.fromkeys(text for text in paragraphs if len(text) >= 40)
    return sorted(distinct, key=lambda text: hashlib.sha256(text.encode()).digest())


def real_vectors(at_most: int) -> Vectors:
    """float32 (n, 384) of norm 1, n the smaller of `at_most` and how many texts there are."""
    chosen = texts()[:at_most]
    with Session(MODEL, offline=True) as session:
        digest = hashlib.sha256("\0".join([session.fingerprint, *chosen]).encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"pgembedd-bench-vectors-{digest}.npy"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished.npy")
            np.save(unfinished, session.embed(chosen).vectors)
            unfinished.replace(path)
    loaded: Vectors = np.load(path)
    return loaded


def in_parts(real: Vectors, texts: list[str], count: int) -> Iterator[tuple[list[str], Vectors]]:
    """The texts and vectors of filled_up() with `count` of them, a million at a time.

    Up to a million there is one part; each further one is of mixtures alone.
    """
    for part, first in enumerate(range(0, count, PART)):
        size = min(PART, count - first)
        yield filled_up_texts(texts, size, part), filled_up(real, size, part)


def filled_up(real: Vectors, count: int, part: int = 0) -> Vectors:
    """The first `count` of the real vectors, or all of them and mixtures; float32 (count, dims) of norm 1.

    Another `part` than 0 has other mixtures, and none of the real ones.
    """
    kept = _kept(len(real), count, part)
    random = np.random.default_rng(20_000 + 2 * part)
    first, second = _mixed(len(real), count - kept, part)
    weights = random.random((len(first), 1), np.float32)
    noise = random.standard_normal((len(first), real.shape[1]), np.float32)
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = weights * real[first] + (1 - weights) * real[second] + noise
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.concatenate([real[:kept], mixed])


def filled_up_texts(real: list[str], count: int, part: int = 0) -> list[str]:
    """The texts of the vectors of filled_up(): a mixture has the first half of one text and the second of another."""
    kept = _kept(len(real), count, part)
    mixed = zip(*_mixed(len(real), count - kept, part), strict=True)
    return real[:kept] + [_half(real[first], 0) + " " + _half(real[second], 1) for first, second in mixed]


def _kept(real: int, count: int, part: int) -> int:
    """How many of the real ones are in that part."""
    return 0 if part else min(real, count)


def _mixed(real: int, count: int, part: int) -> NDArray[np.int64]:
    """Which two of the real ones each of `count` mixtures is of: (2, count)."""
    return np.random.default_rng(20_001 + 2 * part).integers(real, size=(2, count))


def _half(text: str, which: int) -> str:
    words = text.split()
    return " ".join(words[len(words) // 2 :] if which else words[: len(words) // 2])

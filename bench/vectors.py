"""Real vectors in any number: all-MiniLM-L6-v2 of the standard library's documentation, kept between runs.

There are some thousands of texts. A larger set is filled up with mixtures: the sum of two of the real vectors with
random weights and a little noise, normalised. So they lie where texts lie, and no two are the same.
"""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgembedd.cli.demo_documents import standard_library
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
LONGEST = 300  # characters: what is measured is Postgres, and the model is to be done with it soon
NOISE = 0.15  # length of the noise, against 1 for the vector

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


def filled_up(real: Vectors, count: int) -> Vectors:
    """The first `count` of the real vectors, or all of them and mixtures; float32 (count, dims) of norm 1."""
    random = np.random.default_rng(20_000)
    first, second = _mixed(len(real), count)
    weights = random.random((len(first), 1), np.float32)
    noise = random.standard_normal((len(first), real.shape[1]), np.float32)
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = weights * real[first] + (1 - weights) * real[second] + noise
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.concatenate([real[:count], mixed])


def filled_up_texts(real: list[str], count: int) -> list[str]:
    """The texts of the vectors of filled_up(): a mixture has the first half of one text and the second of another."""
    mixed = zip(*_mixed(len(real), count), strict=True)
    return real[:count] + [_half(real[first], 0) + " " + _half(real[second], 1) for first, second in mixed]


def _mixed(real: int, count: int) -> NDArray[np.int64]:
    """Which two of the real ones each mixture is of: (2, n)."""
    return np.random.default_rng(20_001).integers(real, size=(2, max(0, count - real)))


def _half(text: str, which: int) -> str:
    words = text.split()
    return " ".join(words[len(words) // 2 :] if which else words[: len(words) // 2])

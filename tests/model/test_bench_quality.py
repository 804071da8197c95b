"""The quality bench on real vectors: it passes what is the same, and shows what is worse for what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.known_items import Collection
from bench.quality import ODD_TEXTS, Embedder, Quality, measure
from pgembedd.model import Embeddings, Kind, Session
from pgembedd.model.pooling import Float32Array
from tests.support.library import whole_collection

ROOT = Path(__file__).parents[2]


class Remembering:
    """The real model, asked once for every text and kind."""

    def __init__(self, session: Session) -> None:
        self._session, self._known = session, dict[tuple[str, Kind], Float32Array]()

    def embed(self, texts: Sequence[str], *, kind: Kind = "document") -> Embeddings:
        """The real vectors."""
        new = [text for text in dict.fromkeys(texts) if (text, kind) not in self._known]
        if new:
            vectors = self._session.embed(new, kind=kind).vectors
            self._known.update(((text, kind), vector) for text, vector in zip(new, vectors, strict=True))
        vectors = np.stack([self._known[text, kind] for text in texts])
        return Embeddings(vectors, np.zeros(len(texts), np.int32), np.ones(len(texts), np.int32))


@pytest.fixture(scope="module")
def real(minilm: Session) -> Remembering:
    """all-MiniLM-L6-v2."""
    return Remembering(minilm)


@pytest.fixture(scope="module")
def collection() -> Collection:
    """A part of it."""
    return whole_collection().sample(40)


class Noisy:
    """The real model with noise of this size, relative to a vector's norm, on texts of this kind."""

    def __init__(self, embedder: Embedder, size: float, only: Kind | None = None) -> None:
        self._embedder, self._size, self._only = embedder, size, only

    def embed(self, texts: Sequence[str], *, kind: Kind = "document") -> Embeddings:
        """The real vectors, moved; not of norm 1 any more."""
        real = self._embedder.embed(texts, kind=kind)
        if self._only not in (None, kind):
            return real
        noise = np.random.default_rng(len(texts)).normal(size=real.vectors.shape).astype(np.float32)
        moved = noise * (self._size / np.linalg.norm(noise, axis=1, keepdims=True))
        return replace(real, vectors=real.vectors + moved)


def failed(quality: Quality) -> list[str]:
    """The gates that do not hold."""
    return [sentence.partition(":")[0] for sentence, holds in quality.gates() if not holds]


@pytest.mark.slow
def test_a_model_equals_itself(real: Remembering, collection: Collection) -> None:
    quality = measure(real, real, collection)

    assert failed(quality) == []
    assert quality.fp32 == quality.other
    assert quality.fp32["nDCG@10"] > 0.5
    assert len(quality.odd) == len(ODD_TEXTS)
    assert min(quality.odd) > 0.999999


@pytest.mark.slow
def test_noise_is_measured_for_what_it_is(real: Remembering, collection: Collection) -> None:
    quality = measure(real, Noisy(real, 0.1), collection)

    # Noise across a vector of norm 1 makes a right angle with it, nearly: the cosine is 1 / sqrt(1 + size²).
    assert quality.documents.mean() == pytest.approx(1 / np.sqrt(1 + 0.1**2), abs=1e-3)
    assert quality.documents.min() < quality.documents.mean() < 0.999
    assert "mean cosine, documents" in failed(quality)
    assert all(quality.odd < 0.999)


@pytest.mark.slow
def test_spoilt_questions_show_in_the_ranking_alone(real: Remembering, collection: Collection) -> None:
    quality = measure(real, Noisy(real, 30, only="query"), collection)

    assert quality.documents.min() > 0.999999
    assert quality.questions.mean() < 0.9
    assert quality.other["recall@10"] < quality.fp32["recall@10"]
    assert failed(quality) == ["nDCG@10, int8 against fp32"]


@pytest.mark.release
def test_int8_passes_the_gate(minilm: Session, int8: Session) -> None:
    quality = measure(minilm, int8, whole_collection())

    print(*quality.gates(), sep="\n")
    assert failed(quality) == []


@pytest.mark.slow
def test_weights_of_ones_own_are_measured_the_same_way(tiny_folder: Path) -> None:
    command = [sys.executable, "-m", "bench.quality", "--json", "--sample", "20", "--model", str(tiny_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    lines = {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert lines["nDCG@10, int8"]["ratio_to"] == "nDCG@10, fp32"
    assert 0.9 < lines["documents, worst"]["value"] < lines["documents, mean"]["value"] < 1
    assert lines["documents, mean"]["versions"]["model"] == "tiny model"
    assert "20 questions" in done.stderr
    assert "worst cosine, documents: " in done.stderr

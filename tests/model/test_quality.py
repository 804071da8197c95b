"""The quality gate: it passes what is the same, and fails what is worse, for the reason that it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pgembedd.cli.model_checks import check_quality
from pgembedd.errors import ModelError
from pgembedd.model import Embeddings, Session
from pgembedd.model.futures import Kind
from pgembedd.model.pooling import Float32Array
from pgembedd.model.quality import ODD_TEXTS, Embedder, Likeness, Quality, cosines, measure

GOOD = Quality(
    queries=225,
    documents=1400,
    sampled=False,
    reference_ndcg=0.4,
    candidate_ndcg=0.4,
    document_likeness=Likeness(0.9995, 0.995),
    query_likeness=Likeness(0.9, 0.8),
    overlap=0.9,
    odd=(("!", 0.5),),
)


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
    return [gate.name for gate in quality.gates() if not gate.ok]


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({}, []),
        ({"candidate_ndcg": 0.4 * 0.99501}, []),
        ({"candidate_ndcg": 0.4 * 0.99499}, ["nDCG@10"]),
        ({"candidate_ndcg": 0.5}, []),
        ({"reference_ndcg": 0.0, "candidate_ndcg": 0.0}, []),
        ({"reference_ndcg": 0.0}, []),
        ({"document_likeness": Likeness(0.999, 0.99)}, []),
        ({"document_likeness": Likeness(0.99899, 0.99)}, ["mean cosine, documents"]),
        ({"document_likeness": Likeness(0.9999, 0.98999)}, ["worst cosine, documents"]),
        (
            {"document_likeness": Likeness(float("nan"), float("nan"))},
            ["mean cosine, documents", "worst cosine, documents"],
        ),
    ],
)
def test_each_gate_holds_up_to_its_limit(change: dict[str, object], gates: list[str]) -> None:
    assert failed(replace(GOOD, **change)) == gates  # type: ignore[arg-type]


def test_cosines_are_by_row_and_blind_to_norms() -> None:
    some = np.array([[1.0, 0.0], [3.0, 4.0]])
    others = np.array([[2.0, 0.0], [-4.0, 3.0]])
    assert cosines(some, others).tolist() == [1.0, 0.0]


def test_a_model_equals_itself(real: Remembering) -> None:
    seen: list[tuple[int, int]] = []
    quality = measure(real, real, sample=2, progress=lambda done, total: seen.append((done, total)))

    assert failed(quality) == []
    assert quality.reference_ndcg == quality.candidate_ndcg > 0.2
    assert quality.overlap == 1
    assert (quality.queries, quality.documents, quality.sampled) == (2, 50, True)
    assert [text for text, _ in quality.odd] == list(ODD_TEXTS)
    assert min(cosine for _, cosine in quality.odd) > 0.999999
    texts = 2 * (2 + 50 + len(ODD_TEXTS))
    assert seen[-1] == (texts, texts)
    assert seen == sorted(seen)


def test_noise_is_measured_for_what_it_is(real: Remembering) -> None:
    quality = measure(real, Noisy(real, 0.1), sample=2)

    # Noise across a vector of norm 1 makes a right angle with it, nearly: the cosine is 1 / sqrt(1 + size²).
    assert quality.document_likeness.mean == pytest.approx(1 / np.sqrt(1 + 0.1**2), abs=1e-3)
    assert quality.document_likeness.worst < quality.document_likeness.mean < 0.999
    assert "mean cosine, documents" in failed(quality)
    assert all(cosine < 0.999 for _, cosine in quality.odd)


@pytest.mark.slow
def test_spoilt_queries_show_in_the_ranking_alone(real: Remembering) -> None:
    quality = measure(real, Noisy(real, 30, only="query"), sample=8)

    assert quality.document_likeness.worst > 0.999999
    assert quality.query_likeness.mean < 0.9
    assert quality.overlap < 1
    assert failed(quality) == ["nDCG@10"]


def test_the_verdict_says_that_it_rests_on_a_sample(real: Remembering, capsys: pytest.CaptureFixture[str]) -> None:
    check_quality("mine", ("fp32", "int8"), real, Noisy(real, 1e-4), 2)

    printed = capsys.readouterr().out
    assert "mine at int8 against fp32: Cranfield, 50 documents, 2 queries, exact search" in printed
    assert printed.count("ok ") == 3
    assert "\nmine passes the quality gate at int8, on a sample of 2 queries; measure it whole" in printed


def test_below_the_gate_is_an_error_that_says_why(real: Remembering, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=r"^mine at int8 is too far from fp32, on a sample of 2 .*worst cosine"):
        check_quality("mine", ("fp32", "int8"), real, Noisy(real, 0.3), 2)
    assert "BAD  worst cosine, documents: 0.9" in capsys.readouterr().out

"""Known outputs: comparison of a model on this machine with published values."""

from dataclasses import dataclass

import numpy as np

from pgembedd.model.reranker import Reranker
from pgembedd.model.session import Session


@dataclass(frozen=True)
class Check:
    """One line of `pgembedd model verify`."""

    name: str
    expected: str
    got: str
    ok: bool


@dataclass(frozen=True)
class KnownVector:
    """The first components of a text's vector, with their tolerance."""

    text: str
    starts: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class KnownCosine:
    """The cosine of two texts, with its tolerance."""

    texts: tuple[str, str]
    cosine: float
    tolerance: float


KNOWN: dict[str, tuple[KnownVector | KnownCosine, ...]] = {
    "gte-small": (
        # Published from a file quantised to int8, which moves a component by up to a hundredth or so.
        KnownVector("Luke, I am your father", (-0.0477157, -0.0061327), 0.015),
        KnownCosine(("That is a happy person", "That is a very happy person"), 0.98, 0.01),
    ),
    "all-MiniLM-L6-v2": (
        KnownVector("hello world", (-0.03448, 0.03102, 0.00673, 0.02611), 1e-5),
        KnownVector("This is an example sentence", (0.0676569, 0.0634959, 0.0487131), 1e-6),
    ),
}


@dataclass(frozen=True)
class KnownScore:
    """The score of a query and a text, with its tolerance."""

    query: str
    text: str
    score: float
    tolerance: float


_BERLIN = "How many people live in Berlin?"
KNOWN_SCORES: dict[str, tuple[KnownScore, ...]] = {
    "ms-marco-minilm-l12": (
        # Published for the weights in single precision; the file here is quantised to int8.
        KnownScore(
            _BERLIN,
            "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
            9.218911,
            0.5,
        ),
        KnownScore(_BERLIN, "Berlin is well known for its museums.", -4.0780287, 0.5),
    ),
}


def verify_reranker(reranker: Reranker) -> list[Check]:
    """Runs every check of this reranker; `ok` is False where the machine computes something else."""
    checks = []
    for known in KNOWN_SCORES.get(reranker.name, ()):
        got = float(reranker.score(known.query, [known.text])[0])
        ok = abs(got - known.score) <= known.tolerance
        name, expected = f"score of {known.text[:40]!r}", f"{known.score:.5f} +- {known.tolerance:g}"
        checks.append(Check(name, expected, f"{got:.5f}", ok))
    return checks


def verify(session: Session) -> list[Check]:
    """Runs every check of this model; `ok` is False where the machine computes something else."""
    known = KNOWN.get(session.name, ())
    return [_norms(session), *(_check(session, each) for each in known)]


def _norms(session: Session) -> Check:
    texts = ["", "a", "The quick brown fox jumps over the lazy dog. " * 200]
    worst = float(np.abs(np.linalg.norm(session.embed(texts).vectors.astype(np.float64), axis=1) - 1).max())
    return Check("norms of an empty, a short and a long text", "1 +- 1e-6", f"1 +- {worst:.1e}", worst <= 1e-6)


def _check(session: Session, known: KnownVector | KnownCosine) -> Check:
    if isinstance(known, KnownVector):
        name, expected = f"vector of {known.text!r}", known.starts
        got = session.run(known.text)[: len(known.starts)].tolist()
    else:
        first, second = session.run(list(known.texts)).astype(np.float64)
        name, expected, got = f"cosine of {known.texts}", (known.cosine,), [float(first @ second)]
    ok = bool(np.allclose(got, expected, rtol=0, atol=known.tolerance))
    return Check(name, f"{_digits(expected)} +- {known.tolerance:g}", _digits(got), ok)


def _digits(numbers: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{number:.5f}" for number in numbers)

"""Known outputs: comparison of a model on this machine with published values."""

from dataclasses import dataclass

import numpy as np

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

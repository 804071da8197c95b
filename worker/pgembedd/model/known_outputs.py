"""Known outputs: comparison of a model on this machine with published values."""

from dataclasses import dataclass

import numpy as np

from pgembedd.model.model_spec import KnownCosine, KnownScore, KnownVector
from pgembedd.model.reranker import Reranker
from pgembedd.model.session import Session


@dataclass(frozen=True)
class Check:
    """One line of `pgembedd model verify`."""

    name: str
    expected: str
    got: str
    ok: bool


def verify_reranker(reranker: Reranker) -> list[Check]:
    """Runs every check of this reranker; `ok` is False where the machine computes something else."""
    return [_check_score(reranker, known) for known in reranker.spec.known if isinstance(known, KnownScore)]


def verify(session: Session) -> list[Check]:
    """Runs every check of this model; `ok` is False where the machine computes something else."""
    known = [each for each in session.spec.known if not isinstance(each, KnownScore)]
    return [_norms(session), *(_check(session, each) for each in known)]


def _norms(session: Session) -> Check:
    texts = ["", "a", "The quick brown fox jumps over the lazy dog. " * 200]
    worst = float(np.abs(np.linalg.norm(session.embed(texts).vectors.astype(np.float64), axis=1) - 1).max())
    return Check("norms of an empty, a short and a long text", "1 +- 1e-6", f"1 +- {worst:.1e}", worst <= 1e-6)


def _check(session: Session, known: KnownVector | KnownCosine) -> Check:
    if isinstance(known, KnownVector):
        got = session.run(known.text)[: len(known.starts)].tolist()
        return _compare(f"vector of {known.text!r}", known.starts, got, known.tolerance)
    first, second = session.run(list(known.texts)).astype(np.float64)
    return _compare(f"cosine of {known.texts}", (known.cosine,), [float(first @ second)], known.tolerance)


def _check_score(reranker: Reranker, known: KnownScore) -> Check:
    got = reranker.score(known.query, [known.text]).tolist()
    return _compare(f"score of {known.text[:40]!r}", (known.score,), got, known.tolerance)


def _compare(name: str, expected: tuple[float, ...], got: list[float], tolerance: float) -> Check:
    ok = bool(np.allclose(got, expected, rtol=0, atol=tolerance))
    return Check(name, f"{_digits(expected)} +- {tolerance:g}", _digits(got), ok)


def _digits(numbers: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{number:.5f}" for number in numbers)

"""Known outputs: comparison of a model on this machine with published values."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pgembedd.model.model_spec import KnownOutput
from pgembedd.model.reranker import Reranker
from pgembedd.model.session import Session


@dataclass(frozen=True)
class Check:
    """One line of `pgembedd model verify`."""

    name: str
    expected: str
    got: str
    ok: bool


def verify(model: Session | Reranker) -> list[Check]:
    """Runs every check of this model; `ok` is False where the machine computes something else."""
    norms = [_norms(model)] if isinstance(model, Session) else []
    return [*norms, *(_check(model, known) for known in model.spec.known)]


def _norms(session: Session) -> Check:
    texts = ["", "a", "The quick brown fox jumps over the lazy dog. " * 200]
    worst = float(np.abs(np.linalg.norm(session.embed(texts).vectors.astype(np.float64), axis=1) - 1).max())
    return Check("norms of an empty, a short and a long text", "1 +- 1e-6", f"1 +- {worst:.1e}", worst <= 1e-6)


def _check(model: Session | Reranker, known: KnownOutput) -> Check:
    first, *others = known.texts
    if isinstance(model, Reranker):
        name, got = f"score of {others[0][:40]!r}", model.score(first, others)
    elif others:
        vectors = model.run(list(known.texts)).astype(np.float64)
        name, got = f"cosine of {known.texts}", vectors[:1] @ vectors[1]
    else:
        name, got = f"vector of {first!r}", model.run(first)[: len(known.numbers)]
    ok = bool(np.allclose(got, known.numbers, rtol=0, atol=known.tolerance))
    return Check(name, f"{_digits(known.numbers)} +- {known.tolerance:g}", _digits(got), ok)


def _digits(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.5f}" for number in numbers)

"""The relation between fingerprints whose vectors may stand beside each other: what was measured, and nothing else."""

from dataclasses import replace
from functools import cache

from pgembedd.model.model_spec import ModelSpec
from pgembedd.model.specs import REGISTRY


def are_comparable(stored: str | None, ours: str) -> bool:
    """Tells that vectors of the two fingerprints may be compared; `stored` is None while nothing is stored.

    Of one model those at fp16 and at fp32 may, where its ModelSpec has the bound that was measured.
    """
    return stored in (None, ours) or frozenset((stored, ours)) in _measured()


def known_fingerprints(spec: ModelSpec) -> set[str]:
    """Returns the fingerprints that a built-in model can have; at int8 it is known only once the graph is built."""
    return {replace(spec, precision=each).fingerprint for each in ("fp32", "fp16")} | {spec.fingerprint}


@cache
def _measured() -> frozenset[frozenset[str]]:
    return frozenset(frozenset(known_fingerprints(spec)) for spec in REGISTRY.values() if spec.fp16_cosine is not None)

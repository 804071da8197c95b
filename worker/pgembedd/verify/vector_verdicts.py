"""Gives the verdict on stored vectors, given the vectors of their texts. Numbers only: no database, no model.

Source of the tolerances, as 1 - cosine, measured with all-MiniLM-L6-v2 on docstrings of Python's own library:
rounding to halfvec costs at most 3e-8, and the other texts of a batch nothing at all. Another processor
rounds differently: weights changed by one part in ten million, or in a million, stand in for that. They cost 2e-11 at
fp32, but up to 9e-4 at int8, where a number that falls on the other side of a rounding moves all that follow. The
same text at int8 is 5e-4 to 2e-3 away from fp32; at fp16, as a CPU computes it, 1.3e-6 at most. A full stop added to a
text moves its vector by 1e-5 or more, as long as it stands before the model's limit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pgembedd.verify.report import Verdict

Judged = tuple[Verdict, float]
Floats = npt.NDArray[np.floating]

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-5, "int8": 1e-3, "as stored": 1e-3}
# A number of halfvec has 11 significant bits, so rounding changes a norm by 2**-11 at most.
NORM_TOLERANCE = 1e-3


def vector_verdicts(stored: Sequence[Sequence[float]], fresh: Floats, tolerance: float, *, among: bool) -> list[Judged]:
    """Returns the verdict on each stored vector and its cosine with the text's own vector `fresh`, shape (n, dims).

    `right`; `stale`, only with `among`: not this text's, but that of another one of these; `unknown`: of none
    of them; `corrupted`: not of these dimensions, or not finite, zero, or longer or shorter than the model makes them.
    `tolerance` is the largest 1 - cosine of what counts as the same. A cosine of 0 stands for those corrupted.
    """
    return [_verdict_on(vector, fresh, own, tolerance, among) for own, vector in enumerate(stored)]


def _verdict_on(vector: Sequence[float], fresh: Floats, own: int, tolerance: float, among: bool) -> Judged:
    if not _has_models_norm(vector, fresh[own]):
        return "corrupted", 0.0
    cosine = float(_cosines(vector, fresh[own : own + 1])[0])
    if 1 - cosine <= tolerance:
        return "right", cosine
    if among and 1 - _cosines(vector, fresh).max() <= tolerance:
        return "stale", cosine
    return "unknown", cosine


def _has_models_norm(vector: Sequence[float], fresh: Floats) -> bool:
    """Tells that the vector has the dimensions and the norm of the model, whose vectors all have the norm 1."""
    if len(vector) != len(fresh):
        return False
    norm, wanted = np.linalg.norm(np.asarray(vector, np.float64)), np.linalg.norm(fresh)
    return bool(abs(norm - wanted) <= NORM_TOLERANCE * wanted)  # NaN and infinity are not


def _cosines(vector: Sequence[float], rows: Floats) -> Floats:
    """Returns the cosine with each row, in double precision: single has errors of the tolerance's size."""
    a, b = np.asarray(vector, np.float64), rows.astype(np.float64)
    cosines: Floats = b @ a / (np.linalg.norm(b, axis=1) * np.linalg.norm(a))
    return cosines

"""A check of this processor, by onnxruntime itself: the form of 8-bit products that it computes exactly.

Unsigned activations times signed weights is the quickest pair. x86 without VNNI adds its products two at a time in 16
bits, where the largest overflow: vectors would be wrong without an error. There onnxruntime multiplies unsigned with
unsigned numbers through wider integers, exactly, at three quarters of that speed.
"""

import functools
from pathlib import Path
from typing import Literal

import numpy as np

from pgembedd.errors import ModelError

Signedness = Literal["signed", "unsigned"]
"""The form in which levels of int8 weights are stored: as they are, or 128 higher. The products are the same."""

PROBE = Path(__file__).with_name("cpu_check.onnx")
"""The largest activations times the largest weights, in both forms. tests/support/probe.py writes it."""
ROWS = (1, 8)  # one token and several: onnxruntime has a kernel for each
DEPTH = 64
LARGEST_SUM = 255 * 127 * DEPTH


@functools.cache
def exact_signedness() -> Signedness:
    """Returns how weights must be stored for exact products here: signed where that is exact, for its speed.

    Takes some milliseconds, once in a process. ModelError where neither form is exact.
    """
    return _choose(_sums(PROBE))


def _sums(path: Path) -> dict[Signedness, set[int]]:
    """The sums of the largest products there are, by how the weights are stored."""
    from pgembedd.model.onnx.runtime import load_session

    session = load_session(path, optimize=False)
    runs = [session.run(None, {"activations": np.full((rows, DEPTH), 255, np.uint8)}) for rows in ROWS]
    signed, unsigned = ({int(total) for run in runs for total in run[output].flat} for output in (0, 1))
    return {"signed": signed, "unsigned": unsigned}


def _choose(sums: dict[Signedness, set[int]]) -> Signedness:
    for signedness, found in sums.items():
        if found == {LARGEST_SUM}:
            return signedness
    raise ModelError("This processor's 8-bit products overflow, so int8 would give wrong vectors; use fp32 here.")

"""Computes the number of jobs per claim from the time that the model takes. Pure.

A fresh write waits for a short time behind a small claim, and a small claim takes little memory. Large claims save
database time per job, which matters only with a fast model. So the size follows the time that the last claim was held.
"""

HOLD_S = 0.5  # from claim to acknowledgement: half of it in the model, half behind the claim before
FIRST, FEWEST, MOST = 16, 4, 256


class ClaimSizer:
    """The size of the next claim. One thread reads it, another updates it."""

    def __init__(self, fixed: int = 0) -> None:
        """`fixed` is a constant size; 0 adapts the size to the model."""
        self._fixed = fixed
        self._size = fixed or FIRST

    @property
    def size(self) -> int:
        """Jobs to claim, at least 1."""
        return self._size

    def note(self, in_flight: int, held_s: float) -> None:
        """Adapts the size: jobs were held for `held_s` with `in_flight` jobs in progress. It at most doubles per call.

        Jobs in flight = rate times the time they are held (Little's law); one claim is half of them.
        """
        if not self._fixed and in_flight:
            fitting = in_flight * HOLD_S / max(held_s, 1e-6) / 2
            self._size = round(min(max(FEWEST, min(fitting, 2 * self._size)), MOST))

"""How many jobs to claim at a time: as many as the model finishes in a moment. Pure.

Small claims keep a fresh write from waiting behind a backfill, and little in memory; large ones save the database's
time per claim, which only shows where a model is fast. So the size follows from how long the last claim was held.
"""

HOLD_S = 0.5  # from claim to acknowledgement: half of it in the model, half behind the claim before
FIRST, FEWEST, MOST = 16, 4, 256


class ClaimSizer:
    """The size of the next claim. Read by one thread, told by another."""

    def __init__(self, fixed: int = 0) -> None:
        """`fixed` is the size for good; 0 lets it follow the model."""
        self._fixed = fixed
        self._size = fixed or FIRST

    @property
    def size(self) -> int:
        """Jobs to claim, at least 1."""
        return self._size

    def note(self, in_flight: int, held_s: float) -> None:
        """Jobs were held for so long, in a crowd of so many. The size grows to its double at most, and shrinks at once.

        What is in flight is the rate times the time it is held (Little's law); half of it is one claim.
        """
        if not self._fixed and in_flight:
            fitting = in_flight * HOLD_S / max(held_s, 1e-6) / 2
            self._size = round(min(max(FEWEST, min(fitting, 2 * self._size)), MOST))

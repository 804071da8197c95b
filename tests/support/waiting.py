"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

# Long enough for a machine that does much else during the tests; nothing waits so long that works.
PATIENCE_S = 60.0


def eventually(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as `condition()` is true; fail when it is not within `timeout_s`."""
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        assert waited_s < timeout_s, f"not within {timeout_s:.0f} s: {condition.__qualname__}"
        time.sleep(min(0.01 + waited_s / 10, 0.1))  # to ask costs a statement or two: what takes long is asked rarely

"""The fixtures of the tests of the worker's loop."""

from __future__ import annotations

from tests.loop.heartbeat import heartbeat

# Fixtures that are defined next to what they are made of.
__all__ = ["heartbeat"]

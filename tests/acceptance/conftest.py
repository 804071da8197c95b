"""The fixtures of the tests of embedded servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import open_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for data directories that the server's account may pass through."""
    with open_directory() as path:
        yield path

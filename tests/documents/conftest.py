"""One pool of parsers for the tests of a file."""

from collections.abc import Iterator

import pytest

from pgembedd.documents.parsers import Limits, Parsers


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    """Two processes with room for small files."""
    parsers = Parsers(processes=2, limits=Limits(timeout_s=30, memory_mb=512, file_max_mb=8))
    yield parsers
    parsers.close()

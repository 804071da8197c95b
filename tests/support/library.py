"""Python's own documentation, which takes seconds to read."""

from __future__ import annotations

from functools import cache

import pytest

from bench.known_items import Collection, load_collection
from pgembedd.cli.demo_documents import Document, standard_library


@pytest.fixture(scope="session")
def library() -> list[Document]:
    """All its documents, read once."""
    return standard_library()


@cache
def whole_collection() -> Collection:
    """Its questions and their documents, read once."""
    return load_collection()

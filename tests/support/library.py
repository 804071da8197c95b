"""Python's own documentation, which takes seconds to read."""

from __future__ import annotations

from functools import cache
from unittest import mock

import pytest

from bench.known_items import Collection, load_collection
from pgembedd.cli.demo_documents import Document, standard_library

_documents = cache(standard_library)


@pytest.fixture(scope="session")
def library() -> list[Document]:
    """All its documents, read once."""
    return _documents()


@cache
def whole_collection() -> Collection:
    """Its questions and their documents, read once."""
    with mock.patch("bench.known_items.standard_library", _documents):
        return load_collection()

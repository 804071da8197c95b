"""Python's own documentation, which takes seconds to read."""

from __future__ import annotations

import pytest

from pgembedd.cli.demo_documents import Document, standard_library


@pytest.fixture(scope="session")
def library() -> list[Document]:
    """All its documents, read once."""
    return standard_library()

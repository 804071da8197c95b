"""The real model the tests run on, loaded once, and a tiny one of the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgembedd.model import Session
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import CHECKPOINT
from pgembedd.model.specs import ALL_MINILM_L6_V2
from tests.support.reference_bert import ReferenceBert
from tests.support.tiny_models import write_tiny_model


@pytest.fixture(scope="session")
def minilm() -> Iterator[Session]:
    """all-MiniLM-L6-v2 with its real weights, from the user's cache or fetched into it."""
    with Session("all-MiniLM-L6-v2", threads=2, notify=print) as session:
        yield session


@pytest.fixture(scope="session")
def int8() -> Iterator[Session]:
    """all-MiniLM-L6-v2 with its real weights, quantised."""
    with Session("all-MiniLM-L6-v2", precision="int8", threads=2, notify=print) as session:
        yield session


@pytest.fixture(scope="session")
def minilm_folder(minilm: Session) -> Path:
    """The folder that holds its files."""
    return ModelFiles(ALL_MINILM_L6_V2).obtain(CHECKPOINT).parent


@pytest.fixture(scope="session")
def reference(minilm_folder: Path) -> ReferenceBert:
    """all-MiniLM-L6-v2 in plain numpy."""
    return ReferenceBert(minilm_folder)


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A tiny random checkpoint, in a path with a space in it."""
    return write_tiny_model(tmp_path / "tiny model")

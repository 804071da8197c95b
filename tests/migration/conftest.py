"""The project of docs/how-to/alembic.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.alembic_project import Project, make_project
from tests.support.databases import Database


@pytest.fixture
def project(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project of the page."""
    directory = tmp_path / "their project"
    directory.mkdir()
    return make_project(directory, database.conninfo, monkeypatch)

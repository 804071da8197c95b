"""`pgembedd demo --documents`: real manuals from the package index, to hits with page and headings."""

from __future__ import annotations

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.command import pgembedd
from tests.support.databases import open_directory


@pytest.mark.release
def test_the_demo_of_documents_finds_the_page() -> None:
    with open_directory() as folder:
        data_dir = folder / "postgres"
        done = pgembedd("demo", "--documents", PGEMBEDD_POSTGRES_DIR=str(data_dir), timeout_s=900)
        assert done.code == 0, done.err + done.out
        EmbeddedPostgres(data_dir).remove()
    assert "600 pages in demo.manual_pages" in done.out
    assert "MATPOWER-manual.pdf, page 14, § 1 Introduction" in done.out
    assert "MOST-manual.pdf, page 22, § 3 Background and Overview" in done.out

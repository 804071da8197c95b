"""`pgembedd demo`, the main job from nothing to a search hit; and again, which is quick and right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgembedd.cli.demo_documents import Document, standard_library
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.command import pgembedd
from tests.support.databases import open_directory


@pytest.mark.slow
def test_the_demo_finds_what_it_should_and_can_be_repeated() -> None:
    with open_directory() as folder:
        data_dir = folder / "a place" / "postgres"
        first = pgembedd("demo", PGEMBEDD_POSTGRES_DIR=str(data_dir), timeout_s=900)
        assert first.code == 0, first.err + first.out
        check_answers(first.out)
        assert "gte-small" in first.out, "which model it is, or which one stands in for it"
        stored = _lines_stored(data_dir.parent / "demo-worker.log")
        second = pgembedd("demo", PGEMBEDD_POSTGRES_DIR=str(data_dir), timeout_s=300)
        assert second.code == 0, second.err + second.out
        check_answers(second.out)
        # Nothing is embedded again but the one row that the demo changes, and changes back.
        assert _lines_stored(data_dir.parent / "demo-worker.log") - stored <= 2
        EmbeddedPostgres(data_dir).remove()


def check_answers(out: str) -> None:
    """Each question's hits are near the top, and the changed row is found by what it says now."""
    hits = re.split(r"\n  (?=read a csv|wait for several|how do I|find all places|looking after)", out)
    assert "csv.DictReader" in hits[1].splitlines()[1]
    assert "getsize" in hits[3]
    assert all(re.search(r"  re\b", line) for line in hits[4].splitlines()[1:4])
    assert "re.findall" in hits[4]
    assert "colorsys" in hits[5].splitlines()[1]


def _lines_stored(log: Path) -> int:
    return log.read_text(encoding="utf-8").count('"event": "stored"')


@pytest.mark.slow
def test_the_corpus_is_large_fixed_and_documented(library: list[Document]) -> None:
    documents = library
    assert len(documents) > 2000
    assert documents == standard_library()
    names = {document.name for document in documents}
    assert len(names) == len(documents)
    assert {"csv.DictReader", "json.loads", "json"} <= names
    assert all(document.text.strip() for document in documents)

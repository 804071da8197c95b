"""`pgembedd parse`: what a pipeline would store of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgembedd.cli import cli
from tests.documents.files import pdf

BODY = (10, "The swift sleeps in flight, and is seldom seen on the ground.")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A PDF that is called something else, and a picture that is called a PDF."""
    (tmp_path / "birds.txt").write_bytes(pdf([[(20, "Birds"), BODY], [BODY, (10, "End.")], []], info="/Title (Swifts)"))
    (tmp_path / "scan.pdf").write_bytes(b"\x89PNG\r\n\x1a\n")
    return [str(tmp_path / name) for name in ("scan.pdf", "birds.txt")]


def test_the_pages_of_each_file_are_printed_and_the_unreadable_one_is_a_sentence(files: list[str]) -> None:
    outcome = CliRunner().invoke(cli, ["parse", *files])

    assert outcome.exit_code == 1
    assert outcome.stderr == f"pgembedd: {files[0]}: The file is a picture (PNG); no text is read of it.\n"
    assert outcome.stdout == (
        f"{files[1]}: pdf, pages with text: 2\npages: 3\ntitle: Swifts\n1 of 3 pages hold no text.\n\n"
        f"--- page 1\n\n# Birds\n\n{BODY[1]}\n\n--- page 2 > Birds\n\n{BODY[1]}\nEnd.\n\n"
    )


def test_json_has_an_object_a_file(files: list[str]) -> None:
    outcome = CliRunner().invoke(cli, ["parse", "--json", files[1]])

    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout) == {
        "file": files[1],
        "kind": "pdf",
        "metadata": {"pages": 3, "title": "Swifts"},
        "notes": ["1 of 3 pages hold no text."],
        "pages": [
            {"page": 1, "headings": [], "text": f"# Birds\n\n{BODY[1]}"},
            {"page": 2, "headings": ["Birds"], "text": f"{BODY[1]}\nEnd."},
        ],
    }


def test_a_limit_is_an_option(files: list[str]) -> None:
    large = Path(files[1]).with_name("large")
    large.write_bytes(b"swift " * 200_000)
    outcome = CliRunner().invoke(cli, ["parse", "--file-max-mb", "1", str(large)])

    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "has 1.2 MB, more than PGEMBEDD_FILE_MAX_MB (1)" in outcome.stderr

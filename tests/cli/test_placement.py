"""`pgembedd run --on ray` without Ray, and its options without `--on`."""

from __future__ import annotations

import pytest

from tests.support.command import pgembedd


def test_the_extra_that_is_missing_is_named() -> None:
    refused = pgembedd("run", "--on", "ray", database="postgresql://127.0.0.1:1/documents").refused(2)
    assert refused == "pgembedd: The package ray is missing: pip install 'pgembedd[ray]'."


@pytest.mark.parametrize("option", [["--workers", "2"], ["--address", "auto"], ["--cpus", "2"], ["--until-idle"]])
def test_an_option_of_placed_workers_needs_a_place(option: list[str]) -> None:
    refused = pgembedd("run", *option, database="postgresql://127.0.0.1:1/documents")
    assert (refused.code, refused.err.splitlines()[-1]) == (2, f"Error: {option[0]} needs --on ray.")


def test_placed_workers_answer_no_http() -> None:
    refused = pgembedd("run", "--on", "ray", "--http", database="postgresql://127.0.0.1:1/documents")
    assert refused.code == 2
    assert refused.err.endswith("--on ray places workers, which answer no HTTP: run `pgembedd serve` beside them.\n")

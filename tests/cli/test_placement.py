"""`pgembedd run --on ray` without Ray, and its options without `--on`."""

from __future__ import annotations

import pytest

from tests.support.command import pgembedd


def test_the_extra_that_is_missing_is_named() -> None:
    refused = pgembedd("run", "--on", "ray", database="postgresql://127.0.0.1:1/documents").refused(2)
    assert refused == "pgembedd: The package ray is missing: pip install 'pgembedd[ray]'."


@pytest.mark.parametrize("option", [["--workers", "2"], ["--address", "auto"], ["--cpus", "2"], ["--gpus", "1"]])
def test_an_option_of_placed_workers_needs_a_place(option: list[str]) -> None:
    refused = pgembedd("run", *option, database="postgresql://127.0.0.1:1/documents")
    assert (refused.code, refused.err.splitlines()[-1]) == (2, f"Error: {option[0]} needs --on ray.")


def test_placed_workers_on_gpus_say_how_much_of_one() -> None:
    refused = pgembedd("run", "--on", "ray", "--device", "cuda", database="postgresql://127.0.0.1:1/documents")
    assert refused.code == 2
    assert refused.err.endswith("--device cuda with --on ray needs --gpus, so that Ray gives each worker a GPU.\n")


def test_without_a_gpu_a_command_ends_with_one_sentence() -> None:
    """Before it looks for a database: the doctor says the same of the machine, as one of its lines."""
    refused = pgembedd("serve", "--no-database", "--device", "cuda").refused(2)
    assert refused.startswith("pgembedd: PGEMBEDD_DEVICE is cuda, but this onnxruntime ")


def test_placed_workers_answer_no_http() -> None:
    refused = pgembedd("run", "--on", "ray", "--http", database="postgresql://127.0.0.1:1/documents")
    assert refused.code == 2
    assert refused.err.endswith("--on ray places workers, which answer no HTTP: run `pgembedd serve` beside them.\n")

"""`pgembedd model verify --quality` on real weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Outcome, pgembedd
from tests.support.tiny_models import write_tiny_model

MODEL = "all-MiniLM-L6-v2"


def verdict(done: Outcome) -> str:
    """The last sentence, which agrees with the gates printed above it and with the exit code.

    Of two queries one document that changes places is more than the gate allows, and processors round differently: so
    either outcome is right for a sample.
    """
    last = f"{done.out}{done.err}".rstrip().splitlines()[-1]
    assert done.code == (5 if "BAD" in done.out else 0), (done.out, done.err)
    assert ("is too far from fp32" if done.code else "passes the quality gate at int8") in last
    return last


@pytest.mark.slow
def test_a_sample_gives_the_table_and_a_verdict_that_says_so() -> None:
    done = pgembedd("model", "verify", MODEL, "--quality", "--sample", "2")

    assert f"{MODEL} at int8 against fp32: Cranfield, 50 documents, 2 queries, exact search" in done.out
    assert "ok   mean cosine, documents: 0.999" in done.out
    assert "ok   worst cosine, documents: 0.99" in done.out
    assert "'!'  " in done.out
    assert "on a sample of 2 queries" in verdict(done)


@pytest.mark.slow
def test_int8_passes_the_gate() -> None:
    done = pgembedd("model", "verify", MODEL, "--quality", timeout_s=900)

    print(done.out)
    assert done.code == 0, done.err
    assert "1400 documents, 225 queries" in done.out
    assert done.out.rstrip().endswith(f"{MODEL} passes the quality gate at int8.")


def test_weights_of_ones_own_are_measured_the_same_way(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "my model")
    cache = str(tmp_path / "a cache")
    done = pgembedd("model", "verify", str(folder), "--quality", "--sample", "2", PGEMBEDD_CACHE_DIR=cache)

    assert "my model at int8 against fp32" in done.out
    assert "cosine, documents: 1.00000" not in done.out
    assert "on a sample of 2 queries" in verdict(done)


def test_a_sample_of_nothing_is_wrong_usage() -> None:
    done = pgembedd("model", "verify", MODEL, "--sample", "2")

    assert (done.code, "--sample goes with --quality" in done.err) == (2, True)

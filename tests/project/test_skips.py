"""On a PostgreSQL that was asked for, a test is skipped for what the version lacks, and for nothing else."""

from __future__ import annotations

import pytest

from tests.support.postgres_versions import SINCE, NoOtherSkips, needs


def skipped(reason: str) -> pytest.TestReport:
    """The report of a test that was skipped for that reason, as the session of `make test-postgres` changes it."""
    report = pytest.TestReport("x", ("x", 0, "x"), {}, "skipped", ("x", 0, f"Skipped: {reason}"), "call")
    hook = NoOtherSkips().pytest_runtest_makereport()
    next(hook)
    with pytest.raises(StopIteration):
        hook.send(report)
    return report


@pytest.mark.parametrize("feature", SINCE)
def test_what_a_version_lacks_is_skipped(feature: str) -> None:
    assert skipped(needs(feature).kwargs["reason"]).outcome == "skipped"


def test_another_reason_fails() -> None:
    report = skipped("pgmq 1.4.4 cannot be had")
    assert (report.outcome, str(report.longrepr).partition(": ")[2]) == ("failed", "pgmq 1.4.4 cannot be had")

"""Each fault once (`make faults` plays them for an hour): nothing is lost, stale, duplicated, failed or stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.registry import FAULTS
from tests.faults.runner import Run
from tests.faults.stages import STAGES
from tests.faults.table import table


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_each_fault_once(stage: str, tmp_path: Path) -> None:
    results = Run([fault for fault in FAULTS if fault.stage == stage], tmp_path, minutes=0, seed=1).results()
    print(table(results))
    assert not any(result.findings for result in results), [result.findings for result in results]
    not_run = {f"{result.name}: {result.not_run}" for result in results if result.not_run}
    if not_run:
        pytest.skip("; ".join(sorted(not_run)))


def test_every_fault_has_a_stage_and_a_name_of_its_own() -> None:
    assert {fault.stage for fault in FAULTS} == set(STAGES)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)

"""Each fault of one server once (`make faults` plays all for an hour): nothing is lost, stale, duplicated or stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.registry import FAULTS
from tests.faults.runner import play_once
from tests.faults.stages import STAGES


@pytest.mark.slow
def test_each_fault_once(tmp_path: Path) -> None:
    play_once("one server", tmp_path)


def test_every_fault_has_a_stage_and_a_name_of_its_own() -> None:
    assert {fault.stage for fault in FAULTS} == set(STAGES)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)

"""Each fault of the other stages once, in its own file, which another process can play meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kinds.chain import KillAcrossChain
from tests.faults.runner import play_once
from tests.faults.stages import STAGES

ELSEWHERE = [
    pytest.param(stage, marks=[pytest.mark.release] if stage == KillAcrossChain.stage else [])
    for stage in STAGES
    if stage != "one server"
]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ELSEWHERE)
def test_each_fault_once_elsewhere(stage: str, tmp_path: Path) -> None:
    play_once(stage, tmp_path)

"""Plays the faults: each in rounds, on its stage, for its part of the time."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.fault import Fault
from tests.faults.model import make_model, open_model
from tests.faults.oracle import Findings, Oracle
from tests.faults.registry import FAULTS
from tests.faults.scene import Scene
from tests.faults.stages import STAGES, Stage
from tests.faults.table import Result, table

BOUND_S = 180.0
"""Within which every queue must be empty after a fault."""


class Run:
    """A run over some faults; `minutes` 0 plays each in its short form, in so many `rounds`."""

    def __init__(
        self,
        faults: Sequence[type[Fault]],
        folder: Path,
        minutes: float,
        seed: int,
        rounds: int = 1,
        stages: Mapping[str, Stage] = STAGES,
    ) -> None:
        self._minutes, self._seed, self._rounds, self._stages = minutes, seed, rounds, stages
        self._model = make_model(folder / "model")
        self._oracle = Oracle(open_model(self._model, folder / "cache"))
        self._faults = {kind: Result(kind.name) for kind in faults}

    def results(self) -> list[Result]:
        """Plays all, and returns what came of them, in their order."""
        for kind, result in self._faults.items():
            result.not_run = kind().needs()
        can = [kind for kind, result in self._faults.items() if not result.not_run]
        whole = sum(kind.weight for kind in can)
        for stage in self._stages:
            here = [kind for kind in can if kind.stage == stage]
            part = sum(kind.weight for kind in here) / whole if here else 0
            self._play(stage, here, self._minutes * 60 * part)
        return list(self._faults.values())

    def _play(self, stage: str, kinds: list[type[Fault]], seconds: float) -> None:
        """Rounds on one stage until the time is used; the stage is made again when something was wrong."""
        deadline = time.monotonic() + seconds
        left = list(kinds) * self._rounds
        while left or (kinds and time.monotonic() < deadline):
            self._seed += 1
            with self._stages[stage](self._model, self._seed) as scene:
                scene.start_workers()
                faults = {kind: kind() for kind in kinds}
                while left or time.monotonic() < deadline:
                    kind = left.pop(0) if left else min(kinds, key=self._spent)
                    if self._round(scene, faults[kind], self._faults[kind]):
                        break

    def _spent(self, kind: type[Fault]) -> float:
        return self._faults[kind].used_s / kind.weight

    def _round(self, scene: Scene, fault: Fault, result: Result) -> bool:
        """Strikes, heals, waits until the queues are empty, compares. True when something was wrong."""
        began = time.monotonic()
        result.rounds += 1
        try:
            findings = self._strike(scene, fault, result)
        except BaseException as error:  # of any kind: the other faults are played all the same
            with suppress(Exception):
                fault.after(scene)  # what is outside of the scene, like a network
            if not isinstance(error, Exception):
                raise
            traceback.print_exc()
            findings = Findings(failed=[f"the round came to no end: {error}"])
        result.used_s += time.monotonic() - began
        result.findings.add(findings)
        _tell(result, findings, scene)
        return bool(findings)

    def _strike(self, scene: Scene, fault: Fault, result: Result) -> Findings:
        scene.start_workers()
        scene.writers.resume()
        scene.writers.await_commits(5)
        result.times += fault.strike(scene, fault.hits[self._minutes > 0])
        fault.heal(scene)
        healed = time.monotonic()
        scene.writers.pause()
        drained = scene.await_drained(BOUND_S)
        result.recovery_s.append(time.monotonic() - healed)
        findings = scene.compare(self._oracle, is_drained=drained)
        findings.add(fault.check(scene, self._oracle, BOUND_S))
        fault.after(scene)
        result.measured.append(fault.measured())
        return findings


def _tell(result: Result, findings: Findings, scene: Scene) -> None:
    """A line for each round, and every sentence of what was wrong."""
    now, commits = time.strftime("%H:%M:%S"), scene.writers.ledger.commits()
    recovery = f"{result.recovery_s[-1]:.1f} s" if result.recovery_s else "?"
    print(f"{now} {result.name}: {result.times} times, drained in {recovery}, {commits} commits", file=sys.stderr)
    for kind, found in vars(findings).items():
        for sentence in found[:20]:
            print(f"    {kind}: {sentence[:400]}", file=sys.stderr)
    sys.stderr.flush()


def play_once(stage: str, folder: Path) -> None:
    """Plays each fault of a stage once, in its short form, and asserts that nothing was wrong. May skip."""
    results = Run([fault for fault in FAULTS if fault.stage == stage], folder, minutes=0, seed=1).results()
    print(table(results))
    assert not any(result.findings for result in results), [result.findings for result in results]
    assert [result.name for result in results if not result.not_run and not result.times] == []
    not_run = {f"{result.name}: {result.not_run}" for result in results if result.not_run}
    if not_run:
        pytest.skip("; ".join(sorted(not_run)))

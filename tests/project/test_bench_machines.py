"""A machine is described, and has its folder for results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.machine import describe, machine, results_folder
from bench.page.results import load_runs
from tests.project.test_bench_page import record


def test_results_outside_a_machines_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "triggers.jsonl").write_text(json.dumps(record("a", 1)), encoding="utf-8")

    with pytest.raises(ValueError, match=r"^triggers\.jsonl is of Abacus, 2 cores: .* python -m bench\.machine makes"):
        load_runs(tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("flags\t\t: sse avx2 avx512f avx512_vnni amx_int8", "AMX"),
        ("flags\t\t: sse avx2 avx512f avx512_vnni", "VNNI"),
        ("flags\t\t: sse avx2 avx_vnni", "VNNI"),
        ("flags\t\t: sse avx2 avx512f", "AVX-512 without VNNI"),
        ("flags\t\t: sse avx2", "AVX2 without VNNI"),
        ("flags\t\t: sse avx", "no instructions for int8 known"),
        ("Features\t: fp asimd asimddp i8mm", "I8MM"),
        ("Features\t: fp asimd asimddp", "dot products"),
    ],
)
def test_a_machine_is_described_by_what_it_has_for_int8(flags: str, said: str) -> None:
    core = f"model name\t: Abacus\nvmx flags\t: avx512_vnni\n{flags}\n\n"

    assert describe(f"processor\t: 0\n{core}processor\t: 1\n{core}") == f"Abacus, 2 cores, {said}"


def test_generations_that_sell_under_one_name_are_told_apart() -> None:
    core = "processor\t: 0\ncpu family\t: 23\nmodel\t\t: 1\nmodel name\t: Abacus\nflags\t\t: avx2\n\n"

    assert describe(core) == "Abacus, 1 cores, AVX2 without VNNI, family 23 model 1"


def test_this_machine_is_described_and_has_its_folder(tmp_path: Path) -> None:
    folder = results_folder(machine(), tmp_path)

    assert (folder / "machine.txt").read_text(encoding="utf-8") == f"{machine()}\n"
    assert describe("").endswith(", ? cores, no instructions for int8 known")

"""Results of several machines stand side by side on the page, each in its folder, and are never compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.machine import describe, machine, results_folder
from bench.page.figures import TIMES
from bench.page.markdown import render
from bench.page.results import Run, load_runs
from tests.project.test_bench_page import ABACUS, record, run_of

LOOM = "Loom, 4 cores, AVX2 without VNNI"


def two_machines(folder: Path) -> list[Run]:
    """One has measured two benches, and int8 where the other refuses it."""
    for described, named, int8 in ((LOOM, LOOM, []), (ABACUS, "Abacus, 2 cores", [("pgembedd, int8", 60, 2.5)])):
        shown = [("pgembedd, fp32", 24, None), *int8, ("fastembed, defaults", 4, 0.125)]
        said = {"bench": "embed", "unit": "texts/s", "machine": named, "versions": {"model": "tiny"}}
        lines = (
            record(case, value, ratio=ratio, ratio_to=ratio and "pgembedd, fp32", **said)
            for case, value, ratio in shown
        )
        run_of(folder, *lines, name="embed", described=described)
    run_of(folder, record("insert of one row, bare", 1))
    return load_runs(folder)


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its kind."""
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_page_says_which_machine_has_which_figures(tmp_path: Path) -> None:
    machines = section(render(two_machines(tmp_path)), "Machines")

    embed, triggers = "[embed](#texts-a-second-beside-other-libraries)", "[triggers](#what-writers-pay)"
    assert f"- {ABACUS}: {embed}, {triggers}\n- {LOOM}: {embed}\n" in machines


def test_what_int8_brings_is_of_each_run(tmp_path: Path) -> None:
    runs = two_machines(tmp_path)
    speeds = [("pgembedd, fp32", 50), ("pgembedd, int8", 60), ("onnxruntime int8 products, 16 tokens", 100)]
    said = {"bench": "roofline", "unit": "GFLOP/s a core", "machine": LOOM, "versions": {"model": "small"}}
    roofline = run_of(tmp_path, *(record(case, value, **said) for case, value in speeds), described=LOOM)
    machines = section(render([*runs, roofline]), "Machines")

    assert f"| {ABACUS} | embed | tiny | 2.50{TIMES} |" in machines
    assert f"| {LOOM} | embed | tiny | int8 did not run |" in machines
    assert f"| {LOOM} | roofline | small | 1.20{TIMES} |" in machines
    assert "The gain of int8 by processor" not in render([run_of(tmp_path / "other", record("a", 1))])


def test_each_machine_has_its_own_targets(tmp_path: Path) -> None:
    _, first, second = section(render(two_machines(tmp_path)), "Targets").split("On ")

    assert first.startswith(f"{ABACUS}:\n")
    assert second.startswith(f"{LOOM}:\n")
    assert f"int8, against fastembed at its defaults | ≥ 10{TIMES} | 20.0{TIMES} | yes |" in first
    assert f"end to end, share of the bare model's rate | ≥ 0.9{TIMES} | not yet |  |" in first
    assert f"fp32, against fastembed at its defaults | ≥ 5.5{TIMES} | 8.00{TIMES} | yes |" in second
    assert "int8" not in second
    assert "not yet" not in second


def test_a_chapter_of_several_machines_has_a_heading_for_each(tmp_path: Path) -> None:
    runs = two_machines(tmp_path)
    chapter = section(render(runs), "Texts a second, beside other libraries")
    first, second = chapter.index(f"### On {ABACUS}\n"), chapter.index(f"### On {LOOM}\n")

    assert first < chapter.index("(../plots/abacus-2-cores-vnni/embed-speed.svg)") < second
    assert second < chapter.index("(../plots/loom-4-cores-avx2-without-vnni/embed-speed.svg)")
    assert "### " not in section(render(runs), "What writers pay")
    assert f"{ABACUS}; python 3.11.7." in section(render(runs), "What writers pay")


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

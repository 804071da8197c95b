"""Results of several machines stand side by side on the page, each in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.machine import describe, machine, results_folder
from bench.page.__main__ import readme, render
from bench.page.results import Run, by_machine, load_runs
from bench.result import TIMES
from tests.project.test_bench_page import ABACUS, blocks, record, run_of

LOOM = "Loom, 4 cores, AVX2 without VNNI"


def two_machines(folder: Path) -> list[Run]:
    """One has measured two benches, and int8 where the other refuses it."""
    for described, named, int8 in ((LOOM, LOOM, []), (ABACUS, "Abacus, 2 cores", [("pgembedd, int8", 60, 2.5)])):
        shown = [("pgembedd, fp32", 24, None), *int8, ("fastembed, defaults", 4, 0.125)]
        said = {"bench": "embed", "machine": named, "versions": {"model": "tiny"}}
        rates = [record(case, value, unit="texts/s", ratio=ratio, **said) for case, value, ratio in shown]
        near = [record(case, 1, unit="cosine", **said) for case, _, _ in shown]
        run_of(folder, *rates, *near, name="embed", described=described)
    run_of(folder, record("insert of one row, bare", 1), record("insert of one row, pipeline", 1.4))
    return load_runs(folder)


def test_the_made_parts_of_a_page_are_made_again_and_the_prose_stays(tmp_path: Path) -> None:
    page = "before\n<!-- make machines -->\nold\n<!-- end -->\n<!-- make latency -->\n<!-- end -->\nafter\n"
    made = render(page, two_machines(tmp_path))

    assert made.startswith("before\n<!-- make machines -->\n\n- [")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "old" not in made
    assert "Not measured yet: `python -m bench.latency`." in made
    assert render(made, two_machines(tmp_path)) == made


def test_machines_stand_side_by_side_and_what_one_lacks_is_empty(tmp_path: Path) -> None:
    runs = two_machines(tmp_path)
    page = blocks(
        render("<!-- make machines --><!-- make figures -->\n<!-- end -->\n<!-- make embed -->\n<!-- end -->", runs)
    )
    readmes = [readme(its) for its in by_machine(runs).values()]

    assert f"| bench | figure | asked | {ABACUS} | {LOOM} |" in page["figures"]
    against = "against fastembed at its defaults, tiny"
    assert f"| embed | fp32, {against} | ≥ 5.5{TIMES} | 8.00{TIMES} | 8.00{TIMES} |" in page["figures"]
    assert f"| embed | int8, {against} | ≥ 10{TIMES} | 20.0{TIMES} |  |" in page["figures"]
    assert f"| triggers | single insert | ≤ 1.3{TIMES} | 1.40{TIMES}, **missed** |" in readmes[0]
    assert "int8" not in readmes[1]
    assert page["embed"].index("(../plots/abacus-2-cores-vnni/embed.svg)") < page["embed"].index("(../plots/loom-4-")
    assert f"\n\n[{LOOM}: embed](../../bench/results/loom-4-cores-avx2-without-vnni/README.md#embed)" in page["embed"]


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

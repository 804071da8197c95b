"""docs/reference/performance.md and the tables next to the results are what the committed results give."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.machine import RESULTS, results_folder
from bench.page.__main__ import MADE, PAGE, PLOTS, readme, render
from bench.page.plots import Plot, draw, plots_of
from bench.page.results import Run, by_machine, load_runs
from bench.page.targets import CHIEF, TARGETS, Target, judge, only, over, speed
from bench.result import TIMES, Result, amount, digits, tables

ROOT = Path(__file__).parents[2]
ABACUS = "Abacus, 2 cores, VNNI"


def record(case: str, value: float, **changes: Any) -> dict[str, Any]:
    """A result as a bench prints it."""
    record = {"bench": "triggers", "case": case, "value": value, "unit": "s", "spread": [value, value]}
    record |= {"ratio_to": None, "ratio": None, "machine": "Abacus, 2 cores", "versions": {"python": "3.11.7"}}
    return {**record, "command": "python -m bench.triggers --json", **changes}


def run_of(folder: Path, *records: dict[str, Any], name: str = "triggers", described: str = ABACUS) -> Run:
    """What a file of these results gives, in the folder of this machine."""
    path = results_folder(described, folder) / f"{name}.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in records), encoding="utf-8")
    return next(run for run in load_runs(folder) if (run.folder, run.name) == (path.parent.name, name))


def blocks(page: str) -> dict[str, str]:
    """The made parts of a page."""
    return {match[1]: match[0] for match in MADE.finditer(page)}


# -- What is committed -------------------------------------------------------------------------------------


def test_the_page_and_the_tables_are_what_the_results_give() -> None:
    page, runs = PAGE.read_text(encoding="utf-8"), load_runs()

    assert page == render(page, runs), "run make bench-report"
    for its in by_machine(runs).values():
        path = RESULTS / its[0].folder / "README.md"
        assert path.read_text(encoding="utf-8") == readme(its), "run make bench-report"


def test_every_plot_of_the_page_is_there_and_drawn_from_the_same_results() -> None:
    shown = {path: plot.identity(run) for run in load_runs() for path, plot in plots_of(run).items()}

    assert sorted(re.findall(r"\]\(\.\./plots/(.*?)\)", PAGE.read_text(encoding="utf-8"))) == sorted(shown)
    assert {str(path.relative_to(PLOTS)) for path in PLOTS.rglob("*") if path.is_file()} == set(shown)
    for name, expected in shown.items():
        assert f">{expected}<" in (PLOTS / name).read_text(encoding="utf-8"), f"{name}: run make bench-report"


def publishing_modules() -> Iterable[str]:
    """The benches: what prints results."""
    for path in sorted((ROOT / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and {"publish", "main"} & {alias.name for alias in node.names}:
                yield path.stem


def test_every_bench_has_its_chapter() -> None:
    benches = set(publishing_modules())

    assert {"triggers", "embed"} <= benches
    assert set(blocks(PAGE.read_text(encoding="utf-8"))) == benches | {"machines", "figures"}
    assert {run.bench for run in load_runs()} <= benches


def test_no_figure_is_typed_by_hand() -> None:
    prose = MADE.sub("", PAGE.read_text(encoding="utf-8"))

    assert re.findall(r"(?<![\w@])\d[\d.,]*", prose) == []


def test_every_target_of_a_bench_with_results_is_judged() -> None:
    runs = load_runs()
    measured = {run.bench for run in runs}

    assert {target.bench for target in TARGETS} <= set(publishing_modules())
    assert [target.name for target in TARGETS if target.bench in measured and judge(target, runs) is None] == []
    assert {target.asked.split(" ", 2)[0] for target in TARGETS} == {"≥", "≤"}


# -- Rendering ---------------------------------------------------------------------------------------------


def test_a_result_stands_beside_its_command_machine_and_versions(tmp_path: Path) -> None:
    base = record("insert of one row, bare", 0.000215, spread=[0.0002, 0.00023])
    ours = record("insert of one row, pipeline", 0.000258, ratio=1.2, ratio_to="insert of one row, bare")
    noted = {"python": "3.11.7", "settings of a peer, best": "size 1, callers 2"}
    text = readme([run_of(tmp_path / "some results", *({**each, "versions": noted} for each in (base, ours)))])

    assert text.startswith(f"# Measured on {ABACUS}\n")
    assert "$ python -m bench.triggers --json\n" in text
    assert "\npython 3.11.7\n\n- settings of a peer, best: size 1, callers 2\n" in text
    assert "| insert of one row, bare | 215 µs | 200 µs - 230 µs |  |  |" in text
    assert "| insert of one row, pipeline | 258 µs |  | 1.20 | insert of one row, bare |" in text
    assert f"| triggers | single insert | ≤ 1.3{TIMES} | 1.20{TIMES} |" in text


def test_a_table_has_the_columns_that_its_unit_fills() -> None:
    lines = [
        Result("embed", "one", 70, "texts/s", (60, 80)),
        Result("embed", "one", 194, "MB", (194, 194)),
        Result("embed", "a|b", 35, "texts/s", (35, 35), "one", 0.5),
    ]

    assert tables(lines) == (
        "| case | value | lowest - highest | ratio | to |\n| --- | ---: | ---: | ---: | --- |\n"
        "| one | 70.0 texts/s | 60.0 - 80.0 |  |  |\n| a\\|b | 35.0 texts/s |  | 0.50 | one |\n\n"
        "| case | value |\n| --- | ---: |\n| one | 194 MB |"
    )


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0, "s", "0 s"),
        (1.2345, "s", "1.23 s"),
        (0.0123456, "s", "12.3 ms"),
        (0.000218, "s", "218 µs"),
        (0.0000001, "s", "0.100 µs"),
        (12345.6, "rows/s", "12,300 rows/s"),
        (45.67, "texts/s", "45.7 texts/s"),
        (51.0, "us/row", "51.0 µs/row"),
        (0.99951, "", "0.9995"),
        (0.999484, "cosine", "0.99948"),
        (5.8149, TIMES, f"5.81{TIMES}"),
        (0.9961, TIMES, f"0.996{TIMES}"),
        (96.27, "%", "96.3 %"),
        (-0.0421, "MB", "-0.0421 MB"),
    ],
)
def test_amounts(value: float, unit: str, written: str) -> None:
    assert amount(value, unit) == written


def test_digits() -> None:
    assert digits(float("inf")) == "inf"


@pytest.mark.parametrize(
    "records",
    [
        [{"bench": "triggers"}],
        [record("a", 1), record("a", 2)],
        [record("a", 1), record("b", 2, bench="hnsw")],
        [record("a", 1), record("b", 2, machine="Other, 2 cores")],
        [record("a", 1, machine="Other, 2 cores")],
        [],
    ],
    ids=["keys missing", "a case twice", "two benches", "two machines", "another machine", "empty"],
)
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"^triggers\.jsonl "):
        run_of(tmp_path, *records)


# -- Targets -----------------------------------------------------------------------------------------------

SLOWER = Target("triggers", "slower", "≤ 2 x", over("b", "a"))
FASTER = Target("triggers", "faster", "≥ 2 x", over("b", "a"))


@pytest.mark.parametrize(("b", "at_most", "at_least"), [(1.9, True, False), (2.0, True, True), (2.1, False, True)])
def test_a_limit_itself_is_met(tmp_path: Path, b: float, at_most: bool, at_least: bool) -> None:
    run = run_of(tmp_path, record("a", 1), record("b", b))
    for target, met in ((SLOWER, at_most), (FASTER, at_least)):
        figure = judge(target, [run])
        assert figure is not None
        assert target.shown(figure) == f"{b:.2f}{TIMES}" + ("" if met else ", **missed**")


def test_the_worst_run_counts(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, record("a", 1), record("b", b), name=f"run {b}") for b in (1.5, 2.5, 1.0)]

    assert (judge(SLOWER, runs), judge(FASTER, runs)) == (2.5, 1.0)


def test_what_lacks_a_case_is_not_judged(tmp_path: Path) -> None:
    assert judge(SLOWER, []) is None
    assert judge(SLOWER, [run_of(tmp_path, record("b", 1))]) is None


def test_formulas(tmp_path: Path) -> None:
    run = run_of(tmp_path, record("n 1", 4), record("n 2", 6), record("n 1", 8, unit="MB"))

    assert only("n 2")(run) == 6
    assert run.value("n 1", "MB") == 8
    assert (only(r"n \d")(run), only(r"n \d", min)(run)) == (8, 4)
    with pytest.raises(ValueError, match="too many values"):
        run.value("n 1")


def test_relative_speed_takes_the_ratios_of_the_results_and_may_ask_for_exactness(tmp_path: Path) -> None:
    rates = {"pgembedd, int8": 0.5, "b 1": 0.5, "b 2": 0.25}
    run = run_of(
        tmp_path,
        *(record(case, 9, unit="texts/s", ratio=ratio, ratio_to="us") for case, ratio in rates.items()),
        record("b 1", 0.99, unit="cosine"),
        record("b 2", 0.9999, unit="cosine"),
    )

    assert speed("int8", r"b \d")(run) == 1
    assert speed("int8", r"b \d", faithful=True)(run) == 2
    with pytest.raises(LookupError):
        speed("int8", "b 1", faithful=True)(run)
    with pytest.raises(LookupError):
        speed("int8", "c")(run)


def test_the_page_shows_the_first_of_the_targets() -> None:
    assert TARGETS[: len(CHIEF)] == CHIEF


# -- Plots -------------------------------------------------------------------------------------------------

BARS = Plot("triggers", "What it costs", "(?P<label>.*, (?P<series>one|two))", "s")


def test_bars_are_the_cases_that_match(tmp_path: Path) -> None:
    run = run_of(
        tmp_path, record("a, one", 1), record("a, two", 2, spread=[1, 3], ratio=0.5), record("a, three", 3),
        record("b, one", 4, unit="MB"),
    )  # fmt: skip

    assert [(p.label, p.series, p.value, p.low, p.high) for p in BARS.bars(run)] == [
        ("a, one", "one", 1, 1, 1),
        ("a, two", "two", 2, 1, 3),
    ]
    ratios = Plot("triggers", "Ratios", "(?P<label>a, t.*)", TIMES)
    assert [(p.label, p.value, p.low) for p in ratios.bars(run)] == [("a, two", 0.5, 0.5), ("a, three", 1, 1)]
    assert list(plots_of(run_of(tmp_path, record("a, pipeline", 1)))) == []
    compared = run_of(tmp_path, record("a, pipeline", 1), record("b, pipeline", 1))
    assert list(plots_of(compared)) == ["abacus-2-cores-vnni/triggers.svg"]


def test_another_figure_is_another_plot(tmp_path: Path) -> None:
    first = BARS.identity(run_of(tmp_path, record("a, one", 1)))
    assert first == BARS.identity(run_of(tmp_path, record("a, one", 1)))
    assert first != BARS.identity(run_of(tmp_path, record("a, one", 2)))


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="only the benches have matplotlib")
def test_the_same_results_draw_the_same_bytes(tmp_path: Path) -> None:
    run = run_of(tmp_path, *(record(f"{a}, {b}", 1 + len(a)) for a in ("x", "yy") for b in ("one", "two")))
    drawn = []
    for name in ("first", "second"):
        draw(BARS, run, tmp_path / name)
        drawn.append((tmp_path / name).read_bytes())

    assert drawn[0] == drawn[1]
    assert BARS.identity(run).encode() in drawn[0]

"""docs/reference/performance.md is what the committed results give, and none of its figures is typed by hand."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.machine import results_folder
from bench.page.aims import TARGETS
from bench.page.chapters import CHAPTERS
from bench.page.figures import TIMES, amount, digits, spread
from bench.page.markdown import CORPUS, MACHINES, OPENING, PAGE, PLOTS, render
from bench.page.results import Run, load_runs
from bench.page.shapes import Bars, Lines, drawable, file_name, identity, points
from bench.page.targets import Target, asked, computed, constant, highest, judge, lowest, only, quotient, relative

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
    return next(run for run in load_runs(folder) if run.name == f"{path.parent.name}/{name}")


# -- The committed page ------------------------------------------------------------------------------------


def test_the_page_is_what_the_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(load_runs()), "run make bench-report"


def test_every_plot_of_the_page_is_there_and_drawn_from_the_same_results() -> None:
    plots = {chapter.bench: chapter.plots for chapter in CHAPTERS}
    shown = {
        file_name(plot, run): identity(plot, run) for run in load_runs() for plot in drawable(plots[run.bench], run)
    }

    assert sorted(re.findall(r"\]\(\.\./plots/(.*?)\)", PAGE.read_text(encoding="utf-8"))) == sorted(shown)
    assert {str(path.relative_to(PLOTS)) for path in PLOTS.rglob("*") if path.is_file()} == set(shown)
    for name, expected in shown.items():
        assert f">{expected}<" in (PLOTS / name).read_text(encoding="utf-8"), f"{name}: run make bench-report"


def publishing_modules() -> Iterable[str]:
    """The benches: what prints results."""
    for path in sorted((ROOT / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and "publish" in [alias.name for alias in node.names]:
                yield path.stem


def test_every_bench_has_its_chapter() -> None:
    benches = set(publishing_modules())

    assert "triggers" in benches
    assert benches <= {chapter.bench for chapter in CHAPTERS}
    assert {run.bench for run in load_runs()} <= benches


def test_no_figure_is_typed_by_hand() -> None:
    for text in (OPENING, MACHINES, CORPUS, *(chapter.text for chapter in CHAPTERS)):
        assert re.findall(r"(?<![\w@])\d[\d.,]*", text) == []


def test_every_target_of_a_bench_with_results_is_judged() -> None:
    runs = load_runs()
    measured = {run.bench for run in runs}

    assert {target.bench for target in TARGETS} <= {chapter.bench for chapter in CHAPTERS}
    assert [target.name for target in TARGETS if target.bench in measured and not judge(target, runs)] == []


# -- Rendering ---------------------------------------------------------------------------------------------


def test_a_result_stands_beside_its_command_machine_and_versions(tmp_path: Path) -> None:
    base = record("insert of one row, bare", 0.000215, spread=[0.0002, 0.00023])
    ours = record("insert of one row, pipeline", 0.000258, ratio=1.2, ratio_to="insert of one row, bare")
    page = render([run_of(tmp_path / "some results", base, ours)])
    chapter = page[page.index("## What writers pay") :]

    assert "$ python -m bench.triggers --json\n" in chapter
    assert "Abacus, 2 cores, VNNI; python 3.11.7." in chapter
    assert "| insert of one row, bare | 215 µs | 200 µs - 230 µs |  |  |" in chapter
    assert "| insert of one row, pipeline | 258 µs |  | 1.20 | insert of one row, bare |" in chapter
    assert f"| single insert | ≤ 1.3{TIMES} | 1.20{TIMES} | yes |" in page
    assert f"| bulk insert, against a bare table | ≤ 2.5{TIMES} | not yet |  |" in page
    assert "Not measured yet: `python -m bench.latency`." in page


def test_cases_of_several_units_share_a_row(tmp_path: Path) -> None:
    lines = [
        record("one", 70, bench="embed", unit="texts/s", spread=[60, 80]),
        record("one", 194, bench="embed", unit="MB"),
        record("two", 35, bench="embed", unit="texts/s", ratio=0.5, ratio_to="one"),
        record("two", 350, bench="embed", unit="MB"),
        record("alone", 0.01, bench="embed"),
    ]
    page = render([run_of(tmp_path, *lines)])

    assert "| case | texts/s | ratio to one | MB |\n| --- | ---: | ---: | ---: |\n" in page
    assert "\n| one | 70.0 (60.0 - 80.0) |  | 194 |\n| two | 35.0 | 0.50 | 350 |\n" in page
    assert "\n| case | value |\n| --- | ---: |\n| alone | 10.0 ms |\n" in page


def test_noted_settings_stand_apart_from_versions(tmp_path: Path) -> None:
    noted = {"python": "3.11.7", "settings of a peer, best": "size 1, callers 2"}
    page = render([run_of(tmp_path, record("a", 1, versions=noted))])

    assert "Abacus, 2 cores, VNNI; python 3.11.7." in page
    assert "Settings:\n\n- a peer, best: size 1, callers 2\n" in page


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


def test_digits_and_spreads() -> None:
    assert digits(float("inf")) == "inf"
    assert spread(1, 1, "s") == ""
    assert spread(1, 2, "MB") == "1.00 - 2.00"
    assert spread(0.0001, 1, "s") == "100 µs - 1.00 s"


@pytest.mark.parametrize(
    "records",
    [
        [{"bench": "triggers"}],
        [record("a", 1), record("a", 2)],
        [record("a", 1), record("b", 2, bench="hnsw")],
        [record("a", 1), record("b", 2, machine="Other, 2 cores")],
        [record("a", 1, machine="Other, 2 cores")],
        [record("a", "fast")],  # type: ignore[arg-type]
        [],
    ],
    ids=["keys missing", "a case twice", "two benches", "two machines", "another machine", "no number", "empty"],
)
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"^triggers\.jsonl "):
        run_of(tmp_path, *records)


# -- Targets -----------------------------------------------------------------------------------------------

SLOWER = Target("triggers", "slower", "at most", constant(2), quotient(only("b"), only("a")), TIMES)
FASTER = Target("triggers", "faster", "at least", constant(2), quotient(only("b"), only("a")), TIMES)


@pytest.mark.parametrize(("b", "at_most", "at_least"), [(1.9, True, False), (2.0, True, True), (2.1, False, True)])
def test_a_limit_itself_is_met(tmp_path: Path, b: float, at_most: bool, at_least: bool) -> None:
    run = run_of(tmp_path, record("a", 1), record("b", b))
    for target, met in ((SLOWER, at_most), (FASTER, at_least)):
        outcome = judge(target, [run])
        assert outcome is not None
        assert outcome.met is met


def test_the_worst_run_counts(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, record("a", 1), record("b", b), name=f"run {b}") for b in (1.5, 2.5, 1.0)]
    worst, least = judge(SLOWER, runs), judge(FASTER, runs)

    assert (worst and worst.measured, least and least.measured) == (2.5, 1.0)


def test_what_lacks_a_case_is_not_judged(tmp_path: Path) -> None:
    assert judge(SLOWER, []) is None
    assert judge(SLOWER, [run_of(tmp_path, record("b", 1))]) is None


def test_formulas(tmp_path: Path) -> None:
    run = run_of(tmp_path, record("n 1", 4), record("n 2", 6), record("n 1", 8, unit="MB"))

    assert only("n 1", "s")(run) == 4
    assert (highest(r"n \d")(run), lowest(r"n \d", "s")(run), highest("m")(run)) == (8, 4, None)
    assert computed(lambda one, two: one + two, only("n 1", "s"), only("n 2"))(run) == 10
    assert computed(lambda one, two: one + two, only("n 1", "s"), only("n 3"))(run) is None
    with pytest.raises(ValueError, match="several cases of abacus-2-cores-vnni/triggers"):
        only(r"n \d")(run)


def test_relative_speed_takes_the_ratios_of_the_results(tmp_path: Path) -> None:
    run = run_of(tmp_path, record("us", 9), record("b 1", 1, ratio=0.5, ratio_to="us"), record("b 2", 1, ratio=0.25))

    assert relative("us", "s")(run) == 1
    assert relative(r"b \d", "s")(run) == 0.5
    assert relative(r"b \d", "s", lambda _, case: case == "b 2")(run) == 0.25
    assert relative("c", "s")(run) is None


def test_a_limit_that_depends_on_the_run_is_said_in_words(tmp_path: Path) -> None:
    limit = computed(lambda bare: 3 * bare, only("a"))
    target = Target("triggers", "near", "at most", limit, only("b"), "s", rule="three times a")
    outcome = judge(target, [run_of(tmp_path, record("a", 0.01), record("b", 0.02))])

    assert asked(target, outcome) == "≤ three times a = 30.0 ms"
    assert asked(target, None) == "≤ three times a"
    assert asked(SLOWER, None) == f"≤ 2{TIMES}"


# -- Plots -------------------------------------------------------------------------------------------------

BARS = Bars("cost", "What it costs", "seconds", r"(?P<label>.*), (?P<series>one|two)", "s")
LINES = Lines("depth", "By depth", "ms a row", r"(?P<x>[\d,kM]+) queued", "s", x_axis="rows", per_x=True)


def test_points_are_the_cases_that_match(tmp_path: Path) -> None:
    run = run_of(
        tmp_path, record("a, one", 1), record("a, two", 2, spread=[1, 3]), record("a, three", 3),
        record("b, one", 4, unit="MB"), record("10 queued", 0.02), record("1,000 queued", 3), record("2k queued", 8),
    )  # fmt: skip

    assert [(p.label, p.series, p.value, p.low, p.high) for p in points(BARS, run)] == [
        ("a", "one", 1, 1, 1),
        ("a", "two", 2, 1, 3),
    ]
    assert [(p.x, p.value) for p in points(LINES, run)] == [(10, pytest.approx(2)), (1000, 3), (2000, 4)]
    assert drawable([BARS, LINES], run) == [BARS, LINES]
    assert drawable([BARS, LINES], run_of(tmp_path, record("a, one", 1), record("10 queued", 1))) == []
    assert file_name(BARS, run) == "abacus-2-cores-vnni/triggers-cost.svg"


def test_another_figure_is_another_plot(tmp_path: Path) -> None:
    first = identity(BARS, run_of(tmp_path, record("a, one", 1)))
    assert first == identity(BARS, run_of(tmp_path, record("a, one", 1)))
    assert first != identity(BARS, run_of(tmp_path, record("a, one", 2)))


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="only the benches have matplotlib")
def test_the_same_results_draw_the_same_bytes(tmp_path: Path) -> None:
    from bench.page.plots import draw

    run = run_of(tmp_path, *(record(f"{a}, {b}", 1 + len(a)) for a in ("x", "yy") for b in ("one", "two")))
    first = draw(BARS, run, tmp_path).read_bytes()

    assert draw(BARS, run, tmp_path).read_bytes() == first
    assert identity(BARS, run).encode() in first

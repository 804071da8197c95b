"""The page as text. The same results give the same text; nothing else is asked, not even matplotlib."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.page.aims import TARGETS
from bench.page.chapters import CHAPTERS, Chapter
from bench.page.figures import amount, number, spread
from bench.page.results import Line, Run
from bench.page.shapes import drawable, file_name
from bench.page.targets import Target, asked, judge

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
PLOTS = PAGE.parent / "plots"
SETTINGS = "settings of "
"""How names begin under which a bench notes settings beside the versions."""

OPENING = """# Performance

Made by `make bench-report` from the results in `bench/results`: every figure below stands there, and is printed by the
command beside it. Do not edit this page; run the bench again.

Ratios are what counts: the speed of a machine that is shared swings from minute to minute. So what is compared was
measured in one run, the cases taking turns, and a figure is the median of its rounds (of cosines and recall the mean
over texts), with the lowest and the highest beside it. Each run names its machine and versions; yours will differ, and
`make bench` measures it.
"""

CORPUS = """The texts are documentation strings of Python's standard library, sections of manual pages and what
packages say about themselves, from a line to far beyond what the model reads; `python -m bench.corpus`
prints where they come from and how long they are."""


def render(runs: Sequence[Run]) -> str:
    """The whole page."""
    parts = [OPENING, "## Targets", *_targets(runs), "## The texts", CORPUS]
    for chapter in CHAPTERS:
        parts += [
            f"## {chapter.heading}",
            chapter.text,
            *_chapter(chapter, [r for r in runs if r.bench == chapter.bench]),
        ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _targets(runs: Sequence[Run]) -> Iterator[str]:
    """A table for all, each bench with its targets; where a bench ran on several models, a line for each."""
    rows = []
    for target in TARGETS:
        judged = [run for run in runs if judge(target, [run])]
        if len(judged) > 1:
            rows += [_target(target, [run], f", {_model(run)}") for run in judged]
        else:
            rows.append(_target(target, runs))
    yield _table(["bench", "target", "asked", "measured", "met"], ["l", "l", "r", "r", "l"], rows)


def _model(run: Run) -> str:
    return _named(run).get("model", run.name)


def _target(target: Target, runs: Sequence[Run], addition: str = "") -> list[str]:
    outcome = judge(target, runs)
    measured = amount(outcome.measured, target.unit) if outcome else "not yet"
    met = "" if outcome is None else "yes" if outcome.met else "**no**"
    heading = next(chapter.heading for chapter in CHAPTERS if chapter.bench == target.bench)
    return [f"[{target.bench}](#{anchor(heading)})", target.name + addition, asked(target, outcome), measured, met]


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return "".join(each for each in heading.lower() if each.isalnum() or each in " -_").replace(" ", "-")


def _chapter(chapter: Chapter, runs: Sequence[Run]) -> Iterator[str]:
    if not runs:
        yield f"Not measured yet: `python -m bench.{chapter.bench}`."
    for run in runs:
        yield f"```console\n$ {run.command()}\n```"
        yield f"{run.lines[0].machine}; {_versions(run)}."
        if settings := _settings(run):
            yield settings
        for plot in drawable(chapter.plots, run):
            yield f"![{plot.title}](plots/{file_name(plot, run)})"
        yield from _results(run)


def _versions(run: Run) -> str:
    """Every package that a line of the run names."""
    return ", ".join(f"{name} {version}" for name, version in _named(run).items() if not name.startswith(SETTINGS))


def _settings(run: Run) -> str:
    """The settings that a bench has noted beside the versions, as a list."""
    noted = {name.removeprefix(SETTINGS): what for name, what in _named(run).items() if name.startswith(SETTINGS)}
    return "\n".join(["Settings:", "", *(f"- {name}: {what}" for name, what in noted.items())]) if noted else ""


def _named(run: Run) -> dict[str, str]:
    return {name: version for line in run.lines for name, version in line.versions.items()}


def _results(run: Run) -> Iterator[str]:
    """Cases that have several units in a table with a column for each; then a table for each unit of the others."""
    units = {line.case: [other.unit for other in run.lines if other.case == line.case] for line in run.lines}
    alike: dict[tuple[str, ...], list[Line]] = {}
    for line in run.lines:
        alike.setdefault(tuple(units[line.case]), []).append(line)
    for columns, lines in alike.items():
        bases = {line.ratio_to for line in lines} - {None}
        yield _by_unit(lines) if len(columns) == 1 or len(bases) > 1 else _by_case(columns, lines)


def _by_unit(lines: Sequence[Line]) -> str:
    """Lines of one unit; columns that none of them fills are left out."""
    names = ["case", "value", "lowest - highest", "ratio", "to"]
    rows = [
        [line.case, amount(line.value, line.unit), spread(*line.spread, line.unit), *_ratio(line)] for line in lines
    ]
    kept = [i for i in range(len(names)) if i < 2 or any(row[i] for row in rows)]
    aligned = [["l", "r", "r", "r", "l"][i] for i in kept]
    return _table([names[i] for i in kept], aligned, [[row[i] for i in kept] for row in rows])


def _by_case(units: Sequence[str], lines: Sequence[Line]) -> str:
    """A row for each case, a column for each unit; ratios are those of the first unit, to one and the same case."""
    firsts = [line for line in lines if line.unit == units[0]]
    bases = {line.ratio_to for line in firsts} - {None}
    titles = [units[0], *(f"ratio to {base}" for base in bases), *units[1:]]
    rows = []
    for first in firsts:
        values = [_cell(line) for line in lines if line.case == first.case]
        rows.append([first.case, values[0], *([_ratio(first)[0]] * len(bases)), *values[1:]])
    return _table(["case", *titles], ["l", *["r"] * len(titles)], rows)


def _cell(line: Line) -> str:
    between = spread(*line.spread, line.unit)
    return number(line.value, line.unit) + (f" ({between})" if between else "")


def _ratio(line: Line) -> tuple[str, str]:
    return ("" if line.ratio is None else f"{line.ratio:.2f}", line.ratio_to or "")


def _table(names: Sequence[str], aligned: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, `r` aligned to the right."""
    ruler = ["---:" if side == "r" else "---" for side in aligned]
    cells = [names, ruler, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)

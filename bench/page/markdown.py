"""The page as text. The same results give the same text; nothing else is asked, not even matplotlib."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.page.aims import TARGETS
from bench.page.chapters import CHAPTERS, Chapter
from bench.page.figures import TIMES, amount, number, spread
from bench.page.results import Line, Run, by_machine
from bench.page.shapes import drawable, file_name
from bench.page.targets import Formula, Target, asked, judge, only, quotient, relative

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "performance.md"
PLOTS = DOCS / "plots"
SETTINGS = "settings of "
"""How names begin under which a bench notes settings beside the versions."""

OPENING = """# Performance

This page lists the measured figures, each with the command that prints it. `make bench-report` makes it from the
results in `bench/results`; do not edit it, run the bench again.

The ratios matter more than the figures, because the speed of a shared machine changes from minute to minute. So the
cases of a comparison were measured in one run, taking turns, and a figure is the median of its rounds (of cosines and
recall the mean over texts), with the lowest and the highest beside it. Each run names its machine and versions; yours
will differ, and `make bench` measures it.
"""

MACHINES = """Processors differ in their int8 instructions, such as VNNI, and so in the gain of int8. A figure of one
machine is therefore never compared with one of another: a ratio is of one run, and each machine has its own table of
targets. Each machine has a folder in `bench/results`; `make bench-full` makes one for yours, and so does
`python -m bench.machine`, which prints its path. Measured so far:"""

GAINS: dict[str, Formula] = {
    "embed": relative("pgembedd, int8", "texts/s"),
    "roofline": quotient(only("pgembedd, int8", "GFLOP/s a core"), only("pgembedd, fp32", "GFLOP/s a core")),
}
"""How many times as fast int8 is as fp32, by bench."""

CORPUS = """The texts are documentation strings of Python's standard library, sections of manual pages and
descriptions of packages, from one line to far more than the model reads; `python -m bench.corpus` prints
their sources and lengths."""


def render(runs: Sequence[Run]) -> str:
    """The whole page."""
    parts = [OPENING, "## Machines", MACHINES, *_machines(runs), "## Targets", *_targets(runs), "## The texts", CORPUS]
    for chapter in CHAPTERS:
        parts += [
            f"## {chapter.heading}",
            chapter.text,
            *_chapter(chapter, [r for r in runs if r.bench == chapter.bench]),
        ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _machines(runs: Sequence[Run]) -> Iterator[str]:
    """Who has figures of what, and what int8 brings there."""
    measured = {
        machine: [chapter for chapter in CHAPTERS if chapter.bench in {run.bench for run in its}]
        for machine, its in by_machine(runs).items()
    }
    yield "\n".join(f"- {machine}: {', '.join(map(_link, chapters))}" for machine, chapters in measured.items())
    rows = [[run.machine, run.bench, _model(run), _gain(run)] for run in runs if run.bench in GAINS]
    if rows:
        yield "The gain of int8 by processor: pgembedd at int8 against pgembedd at fp32, in the same run."
        yield _table(["machine", "bench", "model", "speed at int8"], ["l", "l", "l", "r"], rows)


def _gain(run: Run) -> str:
    gain = GAINS[run.bench](run)
    return "int8 did not run" if gain is None else amount(gain, TIMES)


def _targets(runs: Sequence[Run]) -> Iterator[str]:
    """A table for each machine; those after the first have nothing to say of what was not measured there."""
    for place, (machine, its) in enumerate(by_machine(runs).items()):
        yield f"On {machine}:"
        rows = [row for target in TARGETS for row in _rows(target, its) if not place or judge(target, its)]
        yield _table(["bench", "target", "asked", "measured", "met"], ["l", "l", "r", "r", "l"], rows)


def _rows(target: Target, runs: Sequence[Run]) -> list[list[str]]:
    """The target's line; where its bench ran on several models, a line for each."""
    judged = [run for run in runs if judge(target, [run])]
    if len(judged) > 1:
        return [_target(target, [run], f", {_model(run)}") for run in judged]
    return [_target(target, runs)]


def _model(run: Run) -> str:
    return _named(run).get("model", run.name)


def _target(target: Target, runs: Sequence[Run], addition: str = "") -> list[str]:
    outcome = judge(target, runs)
    measured = amount(outcome.measured, target.unit) if outcome else "not yet"
    met = "" if outcome is None else "yes" if outcome.met else "**no**"
    chapter = next(chapter for chapter in CHAPTERS if chapter.bench == target.bench)
    return [_link(chapter), target.name + addition, asked(target, outcome), measured, met]


def _link(chapter: Chapter) -> str:
    return f"[{chapter.bench}](#{anchor(chapter.heading)})"


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return "".join(each for each in heading.lower() if each.isalnum() or each in " -_").replace(" ", "-")


def _chapter(chapter: Chapter, runs: Sequence[Run]) -> Iterator[str]:
    if not runs:
        yield f"Not measured yet: `python -m bench.{chapter.bench}`."
    machines = by_machine(runs)
    for machine, its in machines.items():
        if len(machines) > 1:
            yield f"### On {machine}"
        for run in its:
            yield from _run(chapter, run)


def _run(chapter: Chapter, run: Run) -> Iterator[str]:
    """What made it and where, its plots, its figures."""
    yield f"```console\n$ {run.command()}\n```"
    yield f"{run.machine}; {_versions(run)}."
    if settings := _settings(run):
        yield settings
    for plot in drawable(chapter.plots, run):
        yield f"![{plot.title}](../plots/{file_name(plot, run)})"
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

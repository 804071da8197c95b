"""Make the page, its plots and the tables next to the results from the results in bench/results.

The page is docs/reference/performance.md: its prose is written there, and what stands between `<!-- make NAME -->` and
`<!-- end -->` is made here. The tables of each machine are in the README.md of its folder in bench/results.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.machine import RESULTS
from bench.page.plots import draw, plots_of
from bench.page.results import SETTINGS, Run, by_machine, load_runs
from bench.page.targets import CHIEF, TARGETS, Target, judge
from bench.result import TIMES, table, tables

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "performance.md"
PLOTS = DOCS / "plots"
MADE = re.compile(r"(?<=<!-- make )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

HEADING = """# Measured on {machine}

`make bench-report` makes this file from the results next to it; do not edit it, run a bench again. A figure is the
median of its rounds, with the lowest and the highest next to it; of cosines and recall it is the mean over texts.
"""


def render(page: str, runs: Sequence[Run]) -> str:
    """The page with its made parts made again."""
    parts = {"machines": _machines(runs), "figures": targets(CHIEF, runs)}

    def made(match: re.Match[str]) -> str:
        name = match[1]
        return f"{name}{match[2]}\n{parts[name] if name in parts else _bench(name, runs)}\n\n"

    return MADE.sub(made, page)


def _machines(runs: Sequence[Run]) -> str:
    """The benches that each machine has figures of, and a link to them."""
    machines = by_machine(runs).items()
    return "\n".join(
        _filled(f"- [{machine}]({_tables(its[0])}): {', '.join(run.name for run in its)}") for machine, its in machines
    )


def _filled(line: str) -> str:
    """A paragraph, or an entry of a list, in lines of up to 120 characters."""
    indent = "  " * line.startswith("- ")
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _tables(run: Run) -> str:
    return f"../../bench/results/{run.folder}/README.md"


def targets(wanted: Sequence[Target], runs: Sequence[Run]) -> str:
    """A row for each target and model that was measured, a column for each machine."""
    rows = []
    for each in wanted:
        for model in dict.fromkeys(run.model for run in runs if run.bench == each.bench):
            its = by_machine(run for run in runs if run.model == model)
            figures = {machine: judge(each, of_model) for machine, of_model in its.items()}
            shown = {f">{machine}": each.shown(figure) for machine, figure in figures.items() if figure is not None}
            named = {
                "bench": each.bench,
                "figure": f"{each.name}, {model}".rstrip(", "),
                ">asked": each.asked.replace(" x", TIMES),
            }
            rows += [named | shown] if shown else []
    names = dict.fromkeys(name for row in rows for name in row)
    return table({name: [row.get(name, "") for row in rows] for name in names}) if rows else "None was measured here."


def _bench(bench: str, runs: Sequence[Run]) -> str:
    """The plots of each run of a bench, with a link to its tables."""
    parts = []
    for run in runs:
        if run.bench == bench:
            parts += [f"![{plot.title}](../plots/{path})" for path, plot in plots_of(run).items()]
            parts.append(_filled(f"[{run.machine}: {run.name}]({_tables(run)}#{run.name})"))
    return "\n\n".join(parts) or f"Not measured yet: `python -m bench.{bench}`."


def readme(runs: Sequence[Run]) -> str:
    """All that one machine measured, run by run."""
    parts = [HEADING.format(machine=runs[0].machine), "## Targets", targets(TARGETS, runs)]
    for run in runs:
        parts += [f"## {run.name}", f"```console\n$ {run.command}\n```", *_used(run), tables(run.results)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _used(run: Run) -> Iterator[str]:
    """The versions, and the settings that a bench has noted next to them."""
    settings = {name: what for name, what in run.versions.items() if name.startswith(SETTINGS)}
    yield _filled(", ".join(f"{name} {version}" for name, version in run.versions.items() if name not in settings))
    if settings:
        yield "\n".join(_filled(f"- {name}: {what}") for name, what in settings.items())


def main() -> None:
    """Plots first: without matplotlib the page stays as it was."""
    runs = load_runs()
    drawn = {PLOTS / path: (plot, run) for run in runs for path, plot in plots_of(run).items()}
    try:
        for path, (plot, run) in drawn.items():
            draw(plot, run, path)
    except ImportError as error:
        sys.exit(f"The plots need {error.name}: run this by `make bench-report`, which sets up the benches' packages.")
    for path in set(PLOTS.rglob("*.svg")) - set(drawn):
        path.unlink()
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    for its in by_machine(runs).values():
        (RESULTS / its[0].folder / "README.md").write_text(readme(its), encoding="utf-8")
    print(f"{PAGE.name} and the tables in {RESULTS.name} are made of {len(runs)} runs.")


if __name__ == "__main__":
    main()

"""Write docs/reference/performance.md and its plots from the results in bench/results."""

import sys

from bench.page.chapters import CHAPTERS
from bench.page.markdown import PAGE, PLOTS, render
from bench.page.results import Run, load_runs
from bench.page.shapes import drawable


def main() -> None:
    """Plots first: without matplotlib the page stays as it was."""
    runs = load_runs()
    draw_all(runs)
    PAGE.write_text(render(runs), encoding="utf-8")
    print(f"{PAGE.name} is made of {len(runs)} runs.")


def draw_all(runs: list[Run]) -> None:
    """Every plot that the page shows; those that it no longer shows go."""
    try:
        from bench.page.plots import draw
    except ImportError as error:
        sys.exit(f"The plots need {error.name}: run this by `make bench-report`, which sets up the benches' packages.")
    plots = {chapter.bench: chapter.plots for chapter in CHAPTERS}
    drawn = {draw(plot, run, PLOTS) for run in runs for plot in drawable(plots.get(run.bench, ()), run)}
    for path in set(PLOTS.rglob("*.svg")) - drawn:
        path.unlink()


if __name__ == "__main__":
    main()

"""The plots: which cases each shows, as data, and how it is drawn, the same bytes from the same results."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from bench.page.results import Run
from bench.result import TIMES, amount

WIDTH_IN, BAR_IN = 7.6, 0.3
INK, GRID, OTHERS = "#1f2933", "#e4e7eb", "#a3bfd9"
SERIES = ("#1c5d99", "#c2571a", "#2f855a", "#805ad5", "#718096")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "svg.fonttype": "path",
    "svg.hashsalt": "pgembedd",
}


@dataclass(frozen=True)
class Bar:
    """One case of a plot; `series` is what its colour stands for."""

    label: str
    series: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Plot:
    """A bar for each case of a bench whose whole name matches `pattern`, of one unit; of TIMES their ratios.

    The pattern's group `label` is a bar's name, and `series`, where there is one, decides on its colour. `suffix` tells
    the plots of one bench apart.
    """

    bench: str
    title: str
    pattern: str
    unit: str
    suffix: str = ""

    def bars(self, run: Run) -> list[Bar]:
        """The run's cases that belong here, in their order."""
        found = []
        for result in run.results:
            match = re.fullmatch(self.pattern, result.case)
            if match and self.unit in (result.unit, TIMES):
                ratios = (result.ratio or 1.0,) * 3
                values = ratios if self.unit == TIMES else (result.value, *result.spread)
                found.append(Bar(match["label"], match.groupdict().get("series", ""), *values))
        return found

    def identity(self, run: Run) -> str:
        """A digest of all that it shows; it stands in the SVG, so that an outdated one is found without drawing."""
        return hashlib.sha256(repr((self, self.bars(run))).encode()).hexdigest()[:16]


PLOTS = (
    Plot("embed", "Texts a second", "(?P<label>.*)", "texts/s"),
    Plot("roofline", "Share of the peak that the whole model reaches", "(?P<label>.*), of the peak", "%"),
    Plot("operators", "Share of the model's time", "(?P<label>(?P<series>fp32|int8), .*)", "%"),
    Plot("pipeline", "End to end, and the model alone", "(?P<label>model alone.*|end to end, .*)", "texts/s"),
    Plot("latency", "From commit to vector", "(?P<label>.*, (?P<series>p[0-9]+))", "s"),
    Plot("http", "Requests a second", "(?P<label>(?P<series>.*), [0-9]+ connections?)", "requests/s"),
    Plot("fairness", "From commit to the last vector", "(?P<label>[0-9]+ rows.*)", "s"),
    Plot("fleet", "Rows a second of a fleet", "(?P<label>(?P<series>bare loop|workers), .*)", "rows/s"),
    Plot("soak", "Memory of a busy worker", "(?P<label>(?P<series>.*), after .*)", "MB"),
    Plot("triggers", "Statements on a table with a pipeline, against one without", "(?P<label>.*), pipeline", TIMES),
    Plot("hnsw", "Time of a load", "(?P<label>load of .*, (?P<series>index .*))", "s"),
    Plot(
        "search",
        "Recall@10 under filters, against exact search",
        r"recall@10, (?P<label>(?!.*, indexed).* rows.*(?P<series>search\(\)|match function|filter around a window))",
        "",
    ),
    Plot(
        "search",
        "Time of a search by meaning, against by hand, by rows and by what the filter keeps",
        r"(?P<label>(?!.* clients)\d+ rows.*, (?P<series>[\d.]+ %).*), search\(\), p50",
        TIMES,
        "-times",
    ),
    Plot("retrieval", "nDCG@10", "(?P<label>.*)", "nDCG@10"),
)


def plots_of(run: Run) -> dict[str, Plot]:
    """The plots for which the run has something to compare, by their place under docs/plots."""
    found = [plot for plot in PLOTS if plot.bench == run.bench and len(plot.bars(run)) > 1]
    return {f"{run.folder}/{run.name}{plot.suffix}.svg": plot for plot in found}


def draw(plot: Plot, run: Run, path: Path) -> None:
    """Write the plot of a run into the file: a bar below the other with its figure, and its spread as a thin line.

    ImportError without matplotlib, which only the benches have.
    """
    import matplotlib
    from matplotlib.figure import Figure

    bars = plot.bars(run)
    places = range(0, -len(bars), -1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 1.2 + BAR_IN * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        spread = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
        drawn = axes.barh(places, [bar.value for bar in bars], 0.78, color=colours(bars), xerr=spread, ecolor=INK)
        axes.bar_label(drawn, [amount(bar.value, plot.unit) for bar in bars], padding=5, fontsize=8.5)
        axes.set_yticks(places, [bar.label for bar in bars])
        axes.set_ylim(0.4 - len(bars), 0.6)
        axes.set_xlim(0, 1.2 * max(bar.high for bar in bars))
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        figure.suptitle(plot.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"Title": plot.title, "Identifier": plot.identity(run), "Date": None, "Creator": None}
        figure.savefig(path, format="svg", metadata=said)
    # One line end and no blanks before it, so that tools that tidy files leave it alone.
    text = "".join(f"{line.rstrip()}\n" for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text(text, encoding="utf-8")


def colours(bars: list[Bar]) -> list[str]:
    """A colour for each series; without series ours are darker than others."""
    series = list(dict.fromkeys(bar.series for bar in bars))
    if len(series) > 1:
        return [SERIES[series.index(bar.series) % len(SERIES)] for bar in bars]
    ours = ["pgembedd" in bar.label for bar in bars]
    return [SERIES[0] if own or not any(ours) else OTHERS for own in ours]

"""Draws the plots as SVG, the same bytes from the same results. Needs matplotlib, which only the benches have."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from bench.page.figures import TIMES, amount
from bench.page.results import Run
from bench.page.shapes import Bars, Lines, Plot, Point, file_name, identity, points

WIDTH_IN, BAR_IN, LINES_IN = 7.6, 0.3, 3.4
MOST_MARKS = 9
INK, FAINT, GRID = "#1f2933", "#52606d", "#e4e7eb"
US = ("pgembedd", "ours")
# Blue for exact, orange for int8; what is ours in full colour, others paler.
OURS = {"fp32": "#1c5d99", "int8": "#c2571a"}
OTHERS = {"fp32": "#a3bfd9", "int8": "#efc3a4"}
SERIES = ("#1c5d99", "#c2571a", "#2f855a", "#805ad5", "#718096", "#b7791f")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "pgembedd",
    "figure.facecolor": "white",
}


def draw(plot: Plot, run: Run, folder: Path) -> Path:
    """Write the plot into the folder."""
    path = folder / file_name(plot, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure = _lines(plot, points(plot, run)) if isinstance(plot, Lines) else _bars(plot, points(plot, run))
        said = {"Title": plot.title, "Identifier": identity(plot, run), "Date": None, "Creator": None}
        figure.savefig(path, format="svg", metadata=said)
    # One line end and no blanks before it, so that tools that tidy files leave it alone.
    text = "".join(f"{line.rstrip()}\n" for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True)
class _Bar:
    """Where a bar lies (downwards), its colour, and what it stands for."""

    at: float
    colour: str
    point: Point


def _bars(plot: Plot, shown: list[Point]) -> Figure:
    assert isinstance(plot, Bars)
    flat = plot.by_value or len({point.series for point in shown}) < 2
    bars, ticks = _flat(sorted(shown, key=lambda p: -p.value) if plot.by_value else shown) if flat else _grouped(shown)
    lowest = -bars[-1].at
    figure = Figure(figsize=(WIDTH_IN, 1.2 + BAR_IN * (lowest + 1)), layout="constrained")
    axes = figure.add_subplot()
    for bar in bars:
        _bar(axes, bar, TIMES if plot.ratios else plot.unit)
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text().startswith(US) else "normal")
    axes.set_ylim(-lowest - 0.6, 0.6)
    axes.set_xlim(0, 1.2 * max(max(bar.point.value, bar.point.high) for bar in bars))
    if plot.ratios:
        axes.axvline(1, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    if not flat:
        _legend(axes, dict(zip(dict.fromkeys(point.series for point in shown), SERIES, strict=False)))
    elif len({_precision(point) for point in shown}) > 1:
        _legend(axes, OURS)
    return _finished(figure, axes, plot, "x")


def _flat(shown: list[Point]) -> tuple[list[_Bar], list[tuple[float, str]]]:
    """A bar below the other."""
    compared = any(_is_ours(point) for point in shown)
    bars = [
        _Bar(-place, _shade(point, ours=_is_ours(point) or not compared), point) for place, point in enumerate(shown)
    ]
    return bars, [(bar.at, ", ".join(filter(None, (bar.point.label, bar.point.series)))) for bar in bars]


def _grouped(shown: list[Point]) -> tuple[list[_Bar], list[tuple[float, str]]]:
    """The series of a label below each other, and then the next label."""
    series, bars, ticks, at = list(dict.fromkeys(point.series for point in shown)), [], [], 0.0
    for label in dict.fromkeys(point.label for point in shown):
        group = [point for point in shown if point.label == label]
        ticks.append((at - (len(group) - 1) / 2, label))
        for point in group:
            bars.append(_Bar(at, SERIES[series.index(point.series) % len(SERIES)], point))
            at -= 1
        at -= 0.6
    return bars, ticks


def _is_ours(point: Point) -> bool:
    return point.label.startswith(US)


def _shade(point: Point, *, ours: bool) -> str:
    return (OURS if ours else OTHERS)[_precision(point)]


def _precision(point: Point) -> str:
    return "int8" if "int8" in f"{point.label} {point.series}" else "fp32"


def _bar(axes: Any, bar: _Bar, unit: str) -> None:
    """The bar, its spread as a thin line, its figure behind it."""
    point = bar.point
    axes.barh(bar.at, point.value, height=0.78, color=bar.colour)
    if point.low < point.high:
        axes.plot([point.low, point.high], [bar.at, bar.at], color=INK, linewidth=0.9, solid_capstyle="butt")
    beside = (max(point.value, point.high), bar.at)
    axes.annotate(amount(point.value, unit), beside, (5, 0), textcoords="offset points", va="center", fontsize=8.5)


def _lines(plot: Plot, shown: list[Point]) -> Figure:
    assert isinstance(plot, Lines)
    figure = Figure(figsize=(WIDTH_IN, LINES_IN), layout="constrained")
    axes = figure.add_subplot()
    series = list(dict.fromkeys(point.series for point in shown))
    for name, colour in zip(series, itertools.cycle(SERIES)):
        line = sorted((point for point in shown if point.series == name), key=lambda point: point.x)
        xs = [point.x for point in line]
        axes.plot(xs, [point.value for point in line], color=colour, marker="o", markersize=4, linewidth=1.8)
        axes.fill_between(xs, [p.low for p in line], [p.high for p in line], color=colour, alpha=0.13, linewidth=0)
    if plot.log_x:
        axes.set_xscale("log")
    axes.set_ylim(0, 1.08 * max(point.high for point in shown))
    marks = sorted({point.x for point in shown})
    if len(marks) <= MOST_MARKS:
        axes.set_xticks(marks)
        axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.set_ylabel(plot.axis)
    if len(series) > 1:
        _legend(axes, dict(zip(series, SERIES, strict=False)))
    return _finished(figure, axes, plot, "y")


def _legend(axes: Any, colours: dict[str, str]) -> None:
    """Names and their colours above the plot, in a row."""
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8.5,
                borderpad=0.2, handlelength=1, handleheight=0.8, borderaxespad=0.3)  # fmt: skip


def _finished(figure: Figure, axes: Any, plot: Plot, grid: Literal["x", "y"]) -> Figure:
    """Title, axis, a faint grid along the values, no box."""
    figure.suptitle(plot.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(plot.x_axis if isinstance(plot, Lines) else plot.axis, fontsize=9)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9)
    for side in ("top", "right", "left" if grid == "x" else "bottom"):
        axes.spines[side].set_visible(False)
    if grid == "x":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    return figure

"""The plots as data: which cases a plot shows, and how; drawn by `plots`."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.page.results import Line, Run


@dataclass(frozen=True)
class Plot:
    """Cases whose whole name matches `pattern`, of one unit.

    The pattern's named groups say what a case is: `label` for bars, `x` for lines (a number), and `series` where
    there are several. `axis` is the axis's title. `file` follows the run's name in the plot's own.
    """

    file: str
    title: str
    axis: str
    pattern: str
    unit: str


@dataclass(frozen=True)
class Bars(Plot):
    """A horizontal bar for each case, groups of them for several series; `ratios` draws the ratios, not the values."""

    ratios: bool = False
    by_value: bool = False


@dataclass(frozen=True)
class Lines(Plot):
    """A line for each series, from zero up; `per_x` draws seconds as milliseconds for each of x."""

    x_axis: str = ""
    log_x: bool = True
    per_x: bool = False


@dataclass(frozen=True)
class Point:
    """One case of a plot."""

    label: str
    series: str
    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Point":
        """With its figures times the factor."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    @property
    def x(self) -> float:
        """The label as a number: 1000, 1k and 1M are numbers."""
        factor = {"k": 1e3, "M": 1e6}.get(self.label[-1:], 1)
        return float(self.label.rstrip("kM").replace(",", "")) * factor


def points(plot: Plot, run: Run) -> list[Point]:
    """The run's cases that belong to the plot, in their order."""
    return [found for line, match in run.matching(plot.pattern, plot.unit) if (found := _point(plot, line, match))]


def _point(plot: Plot, line: Line, match: re.Match[str]) -> Point | None:
    groups = match.groupdict()
    point = Point(groups.get("label") or groups.get("x") or "", groups.get("series") or "", line.value, *line.spread)
    if isinstance(plot, Lines) and plot.per_x:
        return point.scaled(1000 / point.x)
    if not (isinstance(plot, Bars) and plot.ratios):
        return point
    return None if line.ratio is None else replace(point, value=line.ratio, low=line.ratio, high=line.ratio)


def identity(plot: Plot, run: Run) -> str:
    """A digest of all that a plot shows; it stands in the SVG, so that an outdated one is found without drawing."""
    return hashlib.sha256(repr((plot, points(plot, run))).encode()).hexdigest()[:16]


def drawable(plots: Sequence[Plot], run: Run) -> list[Plot]:
    """The plots for which the run has something to compare."""
    return [plot for plot in plots if len(points(plot, run)) > 1]


def file_name(plot: Plot, run: Run) -> str:
    """The SVG's name, in a folder for each machine."""
    return f"{re.sub(r'[^a-z0-9/]+', '-', run.name.lower())}-{plot.file}.svg"

"""Sparklines of the last hour, as SVG paths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

WIDTH, HEIGHT = 120, 28
_MARGIN = 2  # else a line at the top or bottom would be cut in half


@dataclass(frozen=True)
class Curve:
    """The paths of a curve, its maximum, and the same as a sentence for screen readers.

    `line` and `peak` are "" where there is no value.
    """

    line: str
    area: str
    peak: str
    text: str


def curve(
    name: str, times: Sequence[datetime], values: Sequence[float | None], to_text: Callable[[float], str]
) -> Curve:
    """Draws the values over time, from 0 to their maximum; None is a gap."""
    known = [(value, time) for value, time in zip(values, times, strict=True) if value is not None]
    if not known:
        return Curve("", "", "", f"{name}: nothing is known of the last hour")
    highest, when = max(known, key=lambda one: one[0])
    runs = _runs(values, max(highest, 1e-9))
    line = " ".join(_path(run) for run in runs)
    area = " ".join(_path(run) + f" L{run[-1][0]:g} {HEIGHT} L{run[0][0]:g} {HEIGHT} Z" for run in runs)
    return Curve(
        line,
        area,
        f"{to_text(highest)} at {when.astimezone(UTC):%H:%M}",
        f"{name}: last {to_text(known[-1][0])}, highest {to_text(highest)} at {when.astimezone(UTC):%H:%M} UTC",
    )


def _runs(values: Sequence[float | None], highest: float) -> list[list[tuple[float, float]]]:
    """Returns the points, split into runs at the gaps."""
    step = WIDTH / max(len(values) - 1, 1)
    runs: list[list[tuple[float, float]]] = []
    before: float | None = None
    for n, value in enumerate(values):
        if value is not None:
            y = HEIGHT - _MARGIN - (HEIGHT - 2 * _MARGIN) * value / highest
            if before is None:
                runs.append([])
            runs[-1].append((round(n * step, 1), round(y, 1)))
        before = value
    return runs


def _path(run: list[tuple[float, float]]) -> str:
    """Returns the path of a run; a single point becomes a line of length 0, which round ends make a dot."""
    (x, y), *rest = run
    return f"M{x:g} {y:g}" + "".join(f" L{x:g} {y:g}" for x, y in rest or [(x, y)])

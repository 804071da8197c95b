"""Small line drawings of an hour, as SVG paths. Values in, text out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

WIDTH, HEIGHT = 120, 28
_MARGIN = 2  # so that a line at the top or bottom is not cut in half


@dataclass(frozen=True)
class Curve:
    """A curve to be drawn, and in words for those who do not see it. `line` is "" where there is no value."""

    line: str
    area: str
    text: str


def curve(what: str, times: Sequence[datetime], values: Sequence[float | None], say: Callable[[float], str]) -> Curve:
    """The values over time, from 0 to their highest; None is a gap. `say` puts a value into words."""
    known = [(value, time) for value, time in zip(values, times, strict=True) if value is not None]
    if not known:
        return Curve("", "", f"{what}: nothing is known of the last hour")
    highest, when = max(known, key=lambda one: one[0])
    runs = _runs(values, max(highest, 1e-9))
    line = " ".join(_line(run) for run in runs)
    area = " ".join(_line(run) + f" L{run[-1][0]:g} {HEIGHT} L{run[0][0]:g} {HEIGHT} Z" for run in runs)
    return Curve(
        line, area, f"{what}: last {say(known[-1][0])}, highest {say(highest)} at {when.astimezone(UTC):%H:%M} UTC"
    )


def _runs(values: Sequence[float | None], highest: float) -> list[list[tuple[float, float]]]:
    """Points of the drawing, in pieces that belong together."""
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


def _line(run: list[tuple[float, float]]) -> str:
    """A piece; a single point becomes a line of no length, which round ends make a dot of."""
    (x, y), *rest = run
    return f"M{x:g} {y:g}" + "".join(f" L{x:g} {y:g}" for x, y in rest or [(x, y)])

"""The results as bars, in an SVG that needs nothing else."""

from collections.abc import Sequence
from html import escape

from pgembedd.evaluation.evaluate import Measured
from pgembedd.evaluation.metrics import METRICS

WIDTH, LEFT, RIGHT, TOP, BAR, GAP, GROUP = 640, 160, 60, 40, 14, 3, 16
COLOURS = ("#2b6cb0", "#68a0d8", "#b7791f")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1a202c}rect.paper{fill:#fff}line{stroke:#cbd5e0}"
    "@media(prefers-color-scheme:dark){text{fill:#e2e8f0}rect.paper{fill:#1a202c}line{stroke:#4a5568}}"
)


def svg(title: str, results: Sequence[Measured]) -> str:
    """Returns a bar for each metric of each way to search, on a scale from 0 to 1."""
    group = len(METRICS) * (BAR + GAP) + GROUP
    height = TOP + group * len(results) + 40
    parts = [_line(share, height) for share in (0, 0.25, 0.5, 0.75, 1)]
    for number, measured in enumerate(results):
        y = TOP + number * group
        parts.append(_text(LEFT - 10, y + group / 2 - 4, measured.name, "end"))
        for row, (name, colour) in enumerate(zip(METRICS, COLOURS, strict=True)):
            parts += _bar(y + row * (BAR + GAP), name, measured.values[name], colour)
    for place, (name, colour) in enumerate(zip(METRICS, COLOURS, strict=True)):
        x = LEFT + place * 120
        parts.append(f'<rect x="{x}" y="{height - 18}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 15, height - 9, name))
    heading = _text(10, 20, title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>{heading}{"".join(parts)}</svg>\n'
    )


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _line(share: float, height: int) -> str:
    x = _x(share)
    label = _text(x, TOP - 6, f"{share:g}", "middle")
    return f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 30}"/>{label}'


def _bar(y: float, name: str, value: float, colour: str) -> list[str]:
    width = round(_x(value) - LEFT, 1)
    tip = f"<title>{escape(name)}: {value:.3f}</title>"
    return [
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" fill="{colour}">{tip}</rect>',
        _text(_x(value) + 5, y + BAR - 3, f"{value:.3f}"),
    ]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'

"""What every bench shares: interleaved repetitions, medians and spread, one JSON line per result, a table."""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import machine


@dataclass(frozen=True)
class Result:
    """One case: the median of its repetitions, and its ratio to the case it is compared with."""

    bench: str
    case: str
    value: float
    unit: str
    spread: tuple[float, float]
    ratio_to: str | None
    ratio: float | None


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleave(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each case once a round, A B A B ..., so that a noisy minute hits all of them."""
    values: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, measure in cases.items():
            values[name].append(measure())
    return values


def compare(bench: str, unit: str, values: dict[str, list[float]], baseline: str) -> list[Result]:
    """Medians, and the ratio of each case to the baseline."""
    base = statistics.median(values[baseline])
    return [
        Result(
            bench,
            case,
            statistics.median(numbers),
            unit,
            (min(numbers), max(numbers)),
            None if case == baseline else baseline,
            None if case == baseline else statistics.median(numbers) / base,
        )
        for case, numbers in values.items()
    ]


def command() -> str:
    """How this process was started, as one would type it in the checkout."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = f"-m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
    return " ".join(["python", started, *map(shlex.quote, sys.argv[1:])])


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of these distributions."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def arguments(description: str | None, full: str | None = None, rounds: int = 5) -> argparse.Namespace:
    """`--json`, `--rounds`, and `--full` where a bench says what it does more."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=rounds, help="repetitions of each case")
    if full is not None:
        parser.add_argument("--full", action="store_true", help=full)
    return parser.parse_args()


def publish(results: Sequence[Result], used: dict[str, str], *, as_json: bool) -> None:
    """Print one JSON line per result, and a table unless only JSON is wanted."""
    for result in results:
        line = {
            "bench": result.bench,
            "case": result.case,
            "value": round(result.value, 6),
            "unit": result.unit,
            "spread": [round(value, 6) for value in result.spread],
            "ratio_to": result.ratio_to,
            "ratio": None if result.ratio is None else round(result.ratio, 3),
            "machine": machine(),
            "versions": used,
            "command": command(),
        }
        if as_json:
            print(json.dumps(line))
    if not as_json:
        Console().print(_table(results))
        print(f"{machine()}; {', '.join(f'{name} {number}' for name, number in used.items())}")


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("case", "median", "min - max", "ratio", "to"):
        table.add_column(column, justify="left" if column in ("case", "to") else "right")
    for result in results:
        low, high = result.spread
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        spread = f"{low:.4g} - {high:.4g}"
        table.add_row(result.case, f"{result.value:.4g} {result.unit}", spread, ratio, result.ratio_to or "")
    return table

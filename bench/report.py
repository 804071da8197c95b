"""What every bench shares: interleaved repetitions, medians and spread, one JSON line per result, tables."""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.machine import machine
from bench.result import Result as Result
from bench.result import tables


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentiles(values: Sequence[float], *wanted: int) -> dict[str, float]:
    """p50, p95 and p99, or those that are wanted."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{each}": cuts[each - 1] for each in wanted or (50, 95, 99)}


def interleave(
    cases: Mapping[str, Callable[[], float | Mapping[str, float]]], rounds: int, *, warm_up: bool = False
) -> dict[str, list[float]]:
    """Each case once a round, A B A B ..., so that a noisy minute hits all of them; a round before, to warm up.

    A case that measures several figures names them, and its own name stands before each.
    """
    values: dict[str, list[float]] = {}
    for number in range(-warm_up, rounds):
        for case, measure in cases.items():
            found = measure()
            for name, value in found.items() if isinstance(found, Mapping) else ((None, found),):
                if number >= 0:
                    values.setdefault(f"{case}, {name}" if name else case, []).append(value)
    return values


def compare(bench: str, unit: str, values: Mapping[str, Sequence[float]], baseline: str | None = None) -> list[Result]:
    """Medians with the lowest and the highest, and the ratio of each case to the baseline, if there is one."""
    base = statistics.median(values[baseline]) if baseline else 0.0
    found = []
    for case, numbers in values.items():
        middle = statistics.median(numbers)
        compared = (baseline, middle / base) if base and case != baseline else (None, None)
        found.append(Result(bench, case, middle, unit, (min(numbers), max(numbers)), *compared))
    return found


def averaged(bench: str, unit: str, case: str, values: Sequence[float]) -> Result:
    """The mean with the lowest and the highest: of cosines and shares, whose worst matters."""
    return Result(bench, case, statistics.fmean(values), unit, (min(values), max(values)))


def command() -> str:
    """How this process was started, as one would type it in the checkout."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = f"-m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
    return " ".join(["python", started, *map(shlex.quote, sys.argv[1:])])


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of these distributions; onnxruntime's may be called onnxruntime-gpu."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        if package != "onnxruntime":
            raise
        return version("onnxruntime-gpu")


def parser(description: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options of a bench: `--json`, and `--rounds` where it repeats something."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="JSON lines alone")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="repetitions of each case")
    return made


def arguments(description: str | None, full: str | None = None, rounds: int = 5) -> argparse.Namespace:
    """`--json`, `--rounds`, and `--full` where a bench says what it does more."""
    made = parser(description, rounds)
    if full is not None:
        made.add_argument("--full", action="store_true", help=full)
    return made.parse_args()


def main(
    description: str | None,
    measure: Callable[[argparse.Namespace], Sequence[Result]],
    *packages: str,
    full: str | None = None,
    rounds: int = 5,
) -> None:
    """Run a bench: its options, what `measure` makes of them, and the versions of these packages."""
    options = arguments(description, full, rounds)
    publish(measure(options), versions(*packages), as_json=options.json)


def publish(results: Sequence[Result], used: dict[str, str], *, as_json: bool) -> None:
    """Print one JSON line per result, or tables."""
    if not as_json:
        print(tables(results), end="\n\n")
        print(f"{machine()}; {', '.join(f'{name} {number}' for name, number in used.items())}")
        return
    of_all = {"machine": machine(), "versions": used, "command": command()}
    for each in results:
        rounded = {
            "value": round(each.value, 6),
            "spread": [round(value, 6) for value in each.spread],
            "ratio": None if each.ratio is None else round(each.ratio, 3),
        }
        print(json.dumps({**asdict(each), **rounded, **of_all}))

"""What is aimed at, as data: a name, a limit, and how the figure is computed from the results of one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.page.figures import TIMES, amount
from bench.page.results import Run

Formula = Callable[[Run], float | None]
"""A figure computed from a run; None where the run lacks what it takes."""


@dataclass(frozen=True)
class Target:
    """`limit` may depend on the run; then `rule` says in words what it is."""

    bench: str
    name: str
    sense: Literal["at least", "at most"]
    limit: Formula
    measured: Formula
    unit: str
    rule: str = ""


@dataclass(frozen=True)
class Outcome:
    """A target in one run; None where it was not measured."""

    run: Run
    limit: float
    measured: float
    met: bool


def judge(target: Target, runs: Sequence[Run]) -> Outcome | None:
    """The worst outcome over the runs that measured it."""
    outcomes = [outcome for run in runs if run.bench == target.bench and (outcome := _judge(target, run))]
    sign = 1 if target.sense == "at least" else -1
    return min(outcomes, key=lambda outcome: sign * outcome.measured / outcome.limit, default=None)


def _judge(target: Target, run: Run) -> Outcome | None:
    limit, measured = target.limit(run), target.measured(run)
    if limit is None or measured is None:
        return None
    met = measured >= limit if target.sense == "at least" else measured <= limit
    return Outcome(run, limit, measured, met)


def asked(target: Target, outcome: Outcome | None) -> str:
    """The limit in words."""
    sign = "≥" if target.sense == "at least" else "≤"
    if target.rule:
        return f"{sign} {target.rule}" + (f" = {amount(outcome.limit, target.unit)}" if outcome else "")
    limit = target.limit(Run("", "", ()))
    unit = target.unit if target.unit == TIMES else f" {target.unit}"
    return f"{sign} {limit:,g}{unit}"


def constant(value: float) -> Formula:
    """The same in every run."""
    return lambda _: value


def only(pattern: str, unit: str | None = None) -> Formula:
    """The value of the one case that matches; several are an error of this table."""

    def formula(run: Run) -> float | None:
        values = [line.value for line, _ in run.matching(pattern, unit)]
        if len(values) > 1:
            raise ValueError(f"{pattern!r} matches several cases of {run.name}.")
        return values[0] if values else None

    return formula


def highest(pattern: str, unit: str | None = None) -> Formula:
    """The highest value of all cases that match."""
    return lambda run: max((line.value for line, _ in run.matching(pattern, unit)), default=None)


def lowest(pattern: str, unit: str | None = None) -> Formula:
    """The lowest value of all cases that match."""
    return lambda run: min((line.value for line, _ in run.matching(pattern, unit)), default=None)


def relative(pattern: str, unit: str, wanted: Callable[[Run, str], bool] | None = None) -> Formula:
    """The highest ratio of all cases that match, 1 for the one that others are compared with.

    A ratio is the median over the rounds, so it is steadier than the quotient of two medians. `wanted` chooses further.
    """

    def formula(run: Run) -> float | None:
        lines = [line for line, _ in run.matching(pattern, unit) if wanted is None or wanted(run, line.case)]
        return max((1.0 if line.ratio is None else line.ratio for line in lines), default=None)

    return formula


def quotient(dividend: Formula, divisor: Formula) -> Formula:
    """One through the other."""

    def formula(run: Run) -> float | None:
        above, below = dividend(run), divisor(run)
        return None if above is None or not below else above / below

    return formula


def computed(of: Callable[..., float], *parts: Formula) -> Formula:
    """`of` the parts, where all of them are there."""

    def formula(run: Run) -> float | None:
        values = [part(run) for part in parts]
        return None if None in values else of(*values)

    return formula

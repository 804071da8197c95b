"""Are the vectors of a pipeline those of its rows? Reads rows, embeds them again and compares with what is stored.

Reads go in pages. Nothing is locked and no transaction is open while the model runs, so what looks wrong is looked at
once more: only what is still the same, and that nobody has queued, is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from worker.agreement import Agreement, compare
from worker.db import is_weather
from worker.errors import ConfigurationError, ModelMismatchError, RowFailure
from worker.isolate import isolate
from worker.models import Embedder
from worker.queries import query
from worker.verdicts import WRONG, Report, Verdict

PAGE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Target:
    """What verify needs of a pipeline; `fingerprint` is None until a worker has pinned it."""

    name: str
    model: str
    fingerprint: str | None
    dimensions: int


@dataclass(frozen=True, slots=True)
class Options:
    """How to go about it: `sample` rows, or all of them (None); what is the same vector, as 1 - cosine."""

    sample: int | None
    seed: int
    requeue: bool
    tolerance: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is: state `ok`, `blank`, `gone`, None for a dead one, or `unreadable`; noted `dead` or `queued`."""

    id: str
    state: str | None
    text: str | None
    hash: bytes | None
    vector: list[float] | None
    noted: str | None


def targets(connection: psycopg.Connection, names: Sequence[str]) -> list[Target]:
    """The pipelines of these names, or all. ConfigurationError for a name that is none, or without the rights."""
    allowed = connection.execute(query("verify_rights")).fetchone()
    if allowed is None or not allowed[0]:
        raise ConfigurationError(
            f'The role "{connection.info.user}" may not verify: run it as the owner of pgembedd'
            " and of the table, or as a superuser."
        )
    there = {row[0]: Target(*row) for row in connection.execute(query("verify_targets"))}
    unknown = [name for name in names if name not in there]
    if not there:
        raise ConfigurationError("There is no pipeline to verify: pgembedd.create_pipeline() makes one.")
    if unknown:
        raise ConfigurationError(f'There is no pipeline "{unknown[0]}"; there are: {", ".join(there)}.')
    return [there[name] for name in dict.fromkeys(names or there)]


def verify(
    connection: psycopg.Connection,
    target: Target,
    embedder: Embedder,
    options: Options,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Look at rows of the pipeline and say what their vectors are. `progress` is called after every page.

    With `requeue` what is wrong is queued, page by page. ModelMismatchError when the pipeline is another model's.
    """
    _check_model(target, embedder)
    rows = _all(connection, "verify_check", target)[0][1]
    report = Report(target.name, rows, options.seed if options.sample is not None else None)
    for ids in _pages(connection, target, options):
        looked = _look(connection, target, ids)
        verdicts = _judge(looked, embedder, options.tolerance)
        suspects = [row for row, (verdict, _) in zip(looked, verdicts, strict=True) if verdict in (*WRONG, "unknown")]
        excused = _look_again(connection, target, suspects)
        for row, (verdict, cosine) in zip(looked, verdicts, strict=True):
            report.add(excused.get(row.id, verdict), row.id)
            report.likeness += cosine if verdict == "unknown" and row.id not in excused else 0.0
        wrong = [row.id for row in suspects if row.id not in excused]
        if options.requeue and wrong:
            report.requeued += _all(connection, "requeue", target, ids=wrong)[0][0]
        progress(report)
    report.conclude()
    return report


def _check_model(target: Target, embedder: Embedder) -> None:
    if target.fingerprint not in (None, embedder.fingerprint):
        raise ModelMismatchError(
            f'The pipeline "{target.name}" holds vectors of {target.fingerprint}, but {target.model} here is '
            f"{embedder.fingerprint}: the two cannot be compared. "
            "Verify with the worker's own precision and model files (--precision, --model-dir)."
        )
    if target.dimensions != embedder.dims:
        raise ModelMismatchError(
            f'The model {target.model} gives {embedder.dims} dimensions, but the pipeline "{target.name}" writes '
            f"{target.dimensions}: drop the pipeline and create it with those of its model."
        )


def _all(connection: psycopg.Connection, name: str, target: Target, **values: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query(name), {"name": target.name, **values}, binary=True).fetchall()


def _pages(connection: psycopg.Connection, target: Target, options: Options) -> Iterator[list[str]]:
    """Keys as JSON, at most PAGE_ROWS at a time."""
    if options.sample is not None:
        found = _all(connection, "verify_sample", target, sample=options.sample, seed=options.seed)
        keys = [row[0] for row in found]
        yield from (keys[i : i + PAGE_ROWS] for i in range(0, len(keys), PAGE_ROWS))
        return
    after: str | None = None
    while page := [row[0] for row in _all(connection, "verify_next", target, after=after, at_most=PAGE_ROWS)]:
        yield page
        after = page[-1]


def _look(
    connection: psycopg.Connection, target: Target, ids: Sequence[str], *, with_queues: bool = False
) -> list[Row]:
    """The rows as they are, in order. One whose content cannot be had does not keep the others from being read."""

    def attempt(part: Sequence[str]) -> list[Row]:
        try:
            found = _all(connection, "verify_look", target, ids=list(part), with_queues=with_queues)
        except psycopg.Error as error:
            if is_weather(error) or isinstance(error, psycopg.errors.LockNotAvailable):
                raise
            raise RowFailure("content", str(error)) from error
        return [Row(key, *row) for key, row in zip(part, found, strict=True)]

    return [
        Row(key, "unreadable", None, None, None, None) if isinstance(row, RowFailure) else row
        for key, row in isolate(ids, attempt)
    ]


def _judge(rows: Sequence[Row], embedder: Embedder, tolerance: float) -> list[tuple[Verdict, float]]:
    """What each row is, with the cosine of its vector to what it should be (0 where there is nothing to compare)."""
    having = [row for row in rows if row.state == "ok" and row.vector is not None]
    compared = iter(_compare(having, embedder, tolerance))
    return [next(compared) if row.state == "ok" and row.vector is not None else (_plain(row), 0.0) for row in rows]


def _plain(row: Row) -> Verdict:
    """What a row is whose vector need not be compared."""
    if row.noted == "dead":
        return "dead"
    if row.state == "unreadable":
        return "unreadable"
    if row.state == "blank":
        return "blank" if row.vector is None else "stale"
    return "missing" if row.state == "ok" else "in_flight"


def _compare(rows: Sequence[Row], embedder: Embedder, tolerance: float) -> list[tuple[Verdict, float]]:
    names: dict[Agreement, Verdict] = {
        "right": "right",
        "elsewhere": "stale",
        "unknown": "unknown",
        "corrupted": "corrupted",
    }
    if not rows:
        return []
    try:
        fresh = embedder.start([row.text or "" for row in rows]).result().vectors
    except Exception:  # whatever a model raises: as a worker does, each text is tried alone
        if len(rows) == 1:
            return [("unreadable", 0.0)]
        return [verdict for row in rows for verdict in _compare([row], embedder, tolerance)]
    found = compare([row.vector or [] for row in rows], fresh, tolerance)
    return [(names[agreement], cosine) for agreement, cosine in found]


def _look_again(connection: psycopg.Connection, target: Target, suspects: Sequence[Row]) -> dict[str, Verdict]:
    """Of rows that look wrong, those that are not to be called so: changed meanwhile, queued, or given up."""
    if not suspects:
        return {}
    again = _look(connection, target, [row.id for row in suspects], with_queues=True)
    unreadable = [row.id for row in again if row.state == "unreadable"]
    noted = dict(
        zip(unreadable, (row[0] for row in _all(connection, "verify_noted", target, ids=unreadable)), strict=True)
    )
    excused: dict[str, Verdict] = {}
    for first, second in zip(suspects, again, strict=True):
        known = noted.get(first.id, second.noted)
        if known == "dead":
            excused[first.id] = "dead"
        elif known == "queued" or not _same(first, second):
            excused[first.id] = "in_flight"
    return excused


def _same(first: Row, second: Row) -> bool:
    """Whether nothing of a row changed between two looks; a NaN is equal to itself here."""
    if (first.state, first.hash, first.vector is None) != (second.state, second.hash, second.vector is None):
        return False
    return first.vector is None or np.array_equal(first.vector, second.vector or [], equal_nan=True)

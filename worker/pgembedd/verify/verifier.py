"""Verifies a pipeline: reads its rows, embeds them again and compares the vectors with the stored ones.

Of files it compares the hash of each with that of its pages, and their parser with the one that is installed.

Rows are read in pages. No lock is held and no transaction is open while the model runs, so a row that looks wrong is
read once more: it is wrong only if it is unchanged and not queued.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pgembedd.database.queries import query
from pgembedd.database.records import Chunking, ServedPipeline
from pgembedd.errors import ConfigurationError, ModelMismatchError, is_refused_call, refusal_text
from pgembedd.model.embedder import Embedder
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.verify.report import WRONG, Report, Verdict
from pgembedd.verify.row_verdicts import row_verdicts, verdict_on_pages
from pgembedd.verify.snapshot import Row, read_rows
from pgembedd.verify.vector_verdicts import Judged

PAGE_ROWS = 256
PAGE_CHUNKED_ROWS = 32  # one row may have a thousand chunks


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run: `sample` rows, or all of them (None)."""

    sample: int | None
    seed: int
    requeue: bool


Judge = Callable[[Sequence[Row]], Sequence[Judged]]
"""Gives the verdict on each row, and the cosine of its vector to the right one, 0 where it has none."""


def pipelines_to_verify(connection: psycopg.Connection, names: Sequence[str]) -> list[ServedPipeline]:
    """Returns the pipelines of these names, or all. ConfigurationError for an unknown name or a missing right."""
    allowed = connection.execute(query("verify_rights")).fetchone()
    if allowed is None or not allowed[0]:
        raise ConfigurationError(
            f'The role "{connection.info.user}" may not verify: run it as the owner of pgembedd'
            " and of the table, or as a superuser."
        )
    there = {row[1]: _pipeline(*row) for row in connection.execute(query("verify_targets"))}
    unknown = [name for name in names if name not in there]
    if not there:
        raise ConfigurationError("There is no pipeline to verify: pgembedd.create_pipeline() makes one.")
    if unknown:
        raise ConfigurationError(f'There is no pipeline "{unknown[0]}"; there are: {", ".join(there)}.')
    return [there[name] for name in dict.fromkeys(names or there)]


def _pipeline(
    number: int, name: str, model: str | None, fingerprint: str | None, dimensions: int, chunked: bool, *rules: Any
) -> ServedPipeline:
    chunking = Chunking(*rules[:3]) if chunked else None
    return ServedPipeline(number, name, model or "", fingerprint, dimensions, chunking, parses=rules[3] == "parse")


def verify(
    connection: psycopg.Connection,
    pipeline: ServedPipeline,
    judge: Judge,
    options: Options,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Verifies rows of the pipeline and returns a report. `progress` is called after every page.

    `judge` gives the verdict on rows. With `requeue` wrong rows are queued, page by page. ConfigurationError when the
    pipeline cannot be read: all of it is broken, or a right is missing.
    """
    report = Report(pipeline.name, check(connection, pipeline), options.seed if options.sample is not None else None)
    for ids in _pages(connection, pipeline, options):
        rows = read_rows(connection, pipeline.name, ids)
        verdicts = judge(rows)
        suspects = [row for row, (verdict, _) in zip(rows, verdicts, strict=True) if verdict in (*WRONG, "unknown")]
        not_wrong = _recheck(connection, pipeline, suspects)
        for row, (verdict, cosine) in zip(rows, verdicts, strict=True):
            report.add(not_wrong.get(row.id, verdict), row.id, cosine)
        wrong = [row.id for row in suspects if row.id not in not_wrong]
        if options.requeue and wrong:
            report.requeued += _all(connection, "requeue", pipeline, keys=wrong)[0][0]
        progress(report)
    if options.sample is None or report.rows_checked < options.sample:
        report.rows = report.rows_checked  # the whole table
    report.conclude()
    return report


def by_model(pipeline: ServedPipeline, embedder: Embedder, tolerance: float) -> Judge:
    """Returns what embeds rows again. ModelMismatchError when the pipeline is another model's."""
    check_fingerprint(pipeline, embedder.fingerprint, "Verify")
    if pipeline.dimensions != embedder.dims:
        raise ModelMismatchError(
            f'The model {pipeline.model} gives {embedder.dims} dimensions, but the pipeline "{pipeline.name}" writes '
            f"{pipeline.dimensions}: drop the pipeline and create it with those of its model."
        )
    return lambda rows: row_verdicts(rows, pipeline, embedder, tolerance)


def by_parser(fingerprint: str) -> Judge:
    """Returns what compares pages with the hash of their file, and with the parser of this fingerprint."""
    return lambda rows: [(verdict_on_pages(row, fingerprint), 0.0) for row in rows]


def check(connection: psycopg.Connection, pipeline: ServedPipeline) -> int:
    """Returns the approximate number of rows. ConfigurationError where the pipeline cannot be verified."""
    try:
        rows: int = _all(connection, "verify_check", pipeline)[0][1]
    except psycopg.Error as refused:
        if not is_refused_call(refused.diag):
            raise
        raise ConfigurationError(refusal_text(refused.diag)) from refused
    return rows


def _all(connection: psycopg.Connection, name: str, pipeline: ServedPipeline, **values: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query(name), {"name": pipeline.name, **values}).fetchall()


def _pages(connection: psycopg.Connection, pipeline: ServedPipeline, options: Options) -> Iterator[list[str]]:
    """Yields pages of keys as JSON: of rows, and then of chunks whose row is gone."""
    for orphans in (False,) if pipeline.chunking is None else (False, True):
        if options.sample is not None:
            yield from sampled_pages(connection, pipeline, options, orphans=orphans)
        else:
            yield from _every_page(connection, pipeline, orphans=orphans)


def _page_rows(pipeline: ServedPipeline) -> int:
    return PAGE_ROWS if pipeline.chunking is None else PAGE_CHUNKED_ROWS


def sampled_pages(
    connection: psycopg.Connection, pipeline: ServedPipeline, options: Options, *, orphans: bool
) -> Iterator[list[str]]:
    """Yields pages of keys at random, as many as `options.sample`."""
    values = {"sample": options.sample, "seed": options.seed, "orphans": orphans}
    keys = [row[0] for row in _all(connection, "verify_sample", pipeline, **values)]
    size = _page_rows(pipeline)
    yield from (keys[i : i + size] for i in range(0, len(keys), size))


def _every_page(connection: psycopg.Connection, pipeline: ServedPipeline, *, orphans: bool) -> Iterator[list[str]]:
    values: dict[str, Any] = {"after": None, "at_most": _page_rows(pipeline), "orphans": orphans}
    while page := list(dict.fromkeys(row[0] for row in _all(connection, "verify_next", pipeline, **values))):
        yield page
        values["after"] = page[-1]


def _recheck(connection: psycopg.Connection, pipeline: ServedPipeline, suspects: Sequence[Row]) -> dict[str, Verdict]:
    """Returns the suspects that are not wrong: changed meanwhile, queued, or dead letters."""
    if not suspects:
        return {}
    again = read_rows(connection, pipeline.name, [row.id for row in suspects], with_queues=True)
    unreadable = [row.id for row in again if row.state == "unreadable"]
    noted = dict(
        zip(unreadable, (row[0] for row in _all(connection, "verify_noted", pipeline, ids=unreadable)), strict=True)
    )
    not_wrong: dict[str, Verdict] = {}
    for first, second in zip(suspects, again, strict=True):
        known = noted.get(first.id, second.noted)
        if known == "dead":
            not_wrong[first.id] = "dead"
        elif known == "queued" or not first.same(second):
            not_wrong[first.id] = "in_flight"
    return not_wrong

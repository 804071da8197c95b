"""The pipelines: their state, index and model."""

from collections.abc import Iterator
from typing import Any

import psycopg

from pgembedd.doctor.finding import Finding, Level, rows
from pgembedd.model import is_cached
from pgembedd.model.comparable import known_fingerprints
from pgembedd.model.providers.configured import split_model
from pgembedd.model.specs import find
from pgembedd.settings.documentation import page
from pgembedd.text.quantities import counted

# A worker that may build an index does so within seconds, and pg_cron within minutes.
OVERDUE_S = 900


def check_pipelines(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports each pipeline; owner only."""
    ((may_look,),) = rows(connection, "doctor_may_look")
    if not may_look:
        yield Finding("note", "pipelines", "this role may not look at them; run the doctor as the owner, too")
        return
    ((workers,),) = rows(connection, "doctor_workers")
    pushes = rows(connection, "doctor_push")
    yield from _push(pushes)
    found = rows(connection, "doctor_pipelines")
    if not found:
        yield Finding("note", "pipelines", "none yet", "select pgembedd.create_pipeline(...)")
    few_links = rows(connection, "doctor_sparse_indexes")
    for name, state, reason, problem, model, fingerprint, dimensions, waiting, dead, oldest_s, index, due_s in found:
        about = f'pipeline "{name}"'
        if state in ("stopped", "unserved", "stalled") or problem:
            yield Finding("bad", about, state, problem or reason)
        elif state == "paused":
            yield Finding("note", about, f"paused, {counted(waiting, 'job')} waiting", reason)
        elif waiting and not workers and not pushes:
            yield Finding(
                "bad", about, f"{counted(waiting, 'job')} waiting since {oldest_s:.0f} s and no worker", "pgembedd run"
            )
        else:
            yield Finding("ok", about, f"running, {counted(waiting, 'job')} waiting, {counted(workers, 'worker')}")
        if dead:
            yield Finding(
                "note", about, counted(dead, "dead letter"), "See pgembedd.dead_letters; then pgembedd retry."
            )
        yield from _index(about, name, index, due_s)
        yield from (_sparse(about, *sparse) for pipeline, *sparse in few_links if pipeline == name)
        if model is not None:  # else it parses files
            yield from _model(about, model, fingerprint, dimensions)


def _push(pushes: list[tuple[Any, ...]]) -> Iterator[Finding]:
    """Reports where jobs are posted, and what the last answer says."""
    for url, readable, problem in pushes:
        if problem:
            remedy = f"select pgembedd.set_push(url, token => ...); see {page('how-to/push.md')}"
            yield Finding("bad", "push", problem, remedy)
        elif not readable:
            remedy = "As an administrator: GRANT USAGE ON SCHEMA net and SELECT ON net._http_response to this role."
            yield Finding("note", "push", f"jobs are posted to {url}, and the answers cannot be read", remedy)
        else:
            yield Finding("ok", "push", f"jobs are posted to {url}")


def _index(about: str, name: str, state: str | None, due_s: float | None) -> Iterator[Finding]:
    """Reports the index; `due_s` are the seconds since it was due, below 0 if it is not."""
    if state == "invalid":
        yield Finding("bad", about, "the build of its index was broken off", f"pgembedd index {name}")
    elif state == "due" and due_s is not None:
        level: Level = "note" if due_s < OVERDUE_S else "bad"
        text = f"its index is due since {due_s:.0f} s; until it is built every search reads the whole table"
        yield Finding(level, about, text, f"pgembedd index {name}")
    elif state == "dropped":
        yield Finding(
            "bad", about, "an index of it was dropped; searches read the whole table", f"pgembedd index {name}"
        )
    elif state in ("deferred", "building"):
        yield Finding("note", about, f"its index is {state}; until it is built every search reads the whole table")


def _sparse(about: str, index: str, m: int, vectors: int) -> Finding:
    text = f"its index {index} has m = {m} for {vectors} vectors, so a search misses some of the nearest"
    return Finding("note", about, text, f"See {page('how-to/search.md')}, It is complete: an index with more links.")


def _model(about: str, model: str, fingerprint: str | None, dimensions: int) -> Iterator[Finding]:
    spec = find(model)
    if (provided := split_model(model)) is not None:
        text = f"its texts are sent to the provider {provided[0]}"
        yield Finding("note", about, text, f"See {page('how-to/providers.md')}.")
    elif spec is None:
        yield Finding(
            "note", about, f"its model {model} is none that this version knows", "Give --model-dir to the worker."
        )
    elif spec.dims != dimensions:
        yield Finding(
            "bad", about, f"{model} gives {spec.dims} dimensions, the column has {dimensions}", "Create it again."
        )
    elif fingerprint is not None and fingerprint not in known_fingerprints(spec):
        # At int8 it is known to a worker alone, which has built the graph: a pipeline that none can serve is unserved.
        remedy = "Nothing, where its workers run at int8. Else run the version that made them, or make a new pipeline."
        text = f"its vectors are of {fingerprint}, and this version makes {spec.fingerprint} unless at int8"
        yield Finding("note", about, text, remedy)
    elif not is_cached(spec):
        yield Finding("note", about, f"the files of {model} are not on this machine", f"pgembedd model pull {model}")

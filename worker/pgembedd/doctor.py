"""The doctor: one finding per requirement of pgembedd, each ok or with a remedy."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import sql

from pgembedd.database.extensions import MINIMUM_VECTOR, lacks_pgmq_rights, numbers, pgmq_grants
from pgembedd.database.migrate import check_schema
from pgembedd.database.queries import query
from pgembedd.database.rights import grant_statement, missing_worker_functions
from pgembedd.errors import ConfigurationError, SchemaError
from pgembedd.model import ModelInfo, describe_models
from pgembedd.model.providers.configured import split_model
from pgembedd.text.quantities import counted

MINIMUM_SERVER = 140000
MINIMUM_FREE_BYTES = 500_000_000
# A worker that may build an index does so within seconds, and pg_cron within minutes.
OVERDUE_S = 900

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: `note` is informative, `bad` keeps pgembedd from working; `remedy` is the fix."""

    level: Level
    about: str
    text: str
    remedy: str = ""


def examine(connection: psycopg.Connection, cache_dir: Path) -> Iterator[Finding]:
    """Yields all findings, from the server upwards; checks that depend on a broken part are left out."""
    yield from _server(connection)
    yield from _extensions(connection)
    try:
        check_schema(connection)
    except SchemaError as error:
        yield Finding("bad", "schema", str(error))
        yield from _before_migration(connection)
    except ConfigurationError as error:
        yield Finding("bad", "rights", str(error))
    else:
        yield Finding("ok", "schema", "current")
        yield from _rights(connection)
        yield from _role(connection)
        yield from _embed(connection)
        yield from _pipelines(connection)
    yield from _disk(cache_dir)


def _rows(connection: psycopg.Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(query(name)).fetchall()


def _server(connection: psycopg.Connection) -> Iterator[Finding]:
    ((number, version, role, database, superuser, _),) = _rows(connection, "doctor_server")
    about = f'PostgreSQL {version}, database "{database}", role "{role}"' + (" (superuser)" if superuser else "")
    if number < MINIMUM_SERVER:
        yield Finding("bad", "server", about, "pgembedd needs PostgreSQL 14 or newer.")
    else:
        yield Finding("ok", "server", about)
    ((read_only,),) = connection.execute("select current_setting('transaction_read_only')::boolean").fetchall()
    if read_only:
        remedy = "Connect to the primary, or see to what set default_transaction_read_only; at some hosts a full disk."
        yield Finding("bad", "server", "takes no writes, so nothing can be stored", remedy)


def _extensions(connection: psycopg.Connection) -> Iterator[Finding]:
    found = {row[0]: row[1:] for row in _rows(connection, "doctor_extensions")}
    installed, available, _, _ = found["vector"]
    if installed is None:
        missing = "not on this server" if available is None else "not installed in this database"
        remedy = "Install pgvector's package on the server." if available is None else "CREATE EXTENSION vector;"
        yield Finding("bad", "vector", missing, remedy)
    elif numbers(installed) < MINIMUM_VECTOR:
        yield Finding("bad", "vector", installed, "ALTER EXTENSION vector UPDATE; 0.7 or newer is needed.")
    else:
        yield Finding("ok", "vector", installed)
    version, _, _, plain = found["pgmq"]
    if version or plain:
        yield Finding("ok", "pgmq", version or "installed as SQL")
    else:
        yield Finding("bad", "pgmq", "not installed", "pgembedd migrate")
    yield _optional("pg_cron", found["pg_cron"][0], "the workers run the maintenance on their own timer")
    yield _optional("pg_net", found["pg_net"][0], "only push mode would need it")


def _optional(name: str, version: str | None, without: str) -> Finding:
    return Finding("ok", name, version) if version else Finding("note", name, f"not installed: {without}")


def _before_migration(connection: psycopg.Connection) -> Iterator[Finding]:
    """Yields the rights that an administrator has to grant before `pgembedd migrate` can work for this role."""
    ((_, _, role, database, superuser, may_create),) = _rows(connection, "doctor_server")
    vector = next(row for row in _rows(connection, "doctor_extensions") if row[0] == "vector")
    if superuser:
        return
    if not may_create:
        grant = _text(connection, "grant create on database {} to {};", database, role)
        yield Finding("bad", "rights", "this role may not create schemas here", f"As an administrator: {grant}")
    if lacks_pgmq_rights(connection):
        grants = pgmq_grants(_text(connection, "{}", role))
        yield Finding("bad", "rights", "pgmq belongs to another role", f"As an administrator: {grants}")
    if vector[1] is None and not vector[3]:
        yield Finding(
            "bad", "rights", "this role may not install vector", "As an administrator: create extension vector;"
        )


def _rights(connection: psycopg.Connection) -> Iterator[Finding]:
    ((_, _, role, *_),) = _rows(connection, "doctor_server")
    if missing := missing_worker_functions(connection):
        grant = grant_statement(connection, "worker", role) + ";"
        yield Finding("bad", "rights", f"{missing} of the worker's functions are not granted", f"As the owner: {grant}")
    else:
        yield Finding("ok", "rights", "this role can work the queue")
    for owner, usage, create, tables in _rows(connection, "doctor_owner"):
        if not (usage and create and tables):
            lacking = f"{owner}, as whom our functions run, lacks rights on pgmq"
            yield Finding("bad", "rights", lacking, f"As an administrator: {pgmq_grants(owner)}")
    for (queue,) in _rows(connection, "doctor_queues"):
        yield Finding("bad", "queue", f"{queue} does not exist", "pgembedd migrate")


def _role(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports where the installer's rights are used, as the role without attributes is not to be had; owner only."""
    if _rows(connection, "doctor_may_embed") != [(True,)]:
        return
    ((runner, installer, missing),) = _rows(connection, "doctor_role")
    if missing or runner == installer:
        text = f"our functions run with the rights of {runner}, and not of a role without any"
        remedy = f"As an administrator: {missing} Then pgembedd migrate" if missing else "pgembedd migrate"
        yield Finding("note", "rights", text, remedy)


def _embed(connection: psycopg.Connection) -> Iterator[Finding]:
    """Tests that pgembedd.embed() reaches its own database; only the owner may."""
    ((may_look,),) = _rows(connection, "doctor_may_embed")
    if not may_look:
        return
    ((set_up, remedy, hearers),) = _rows(connection, "doctor_embed")
    if not set_up:
        yield Finding("note", "embed()", "not set up: no vectors of questions inside SQL", remedy)
        return
    ((problem,),) = _rows(connection, "doctor_embed_problem")
    if problem:
        yield Finding(
            "bad", "embed()", problem, "Say where and as whom it connects: select pgembedd.embed_through(...);"
        )
    elif not hearers:
        yield Finding("note", "embed()", "set up, but no worker would answer", "pgembedd run")
    else:
        yield Finding("ok", "embed()", f"set up, {counted(hearers, 'worker answers', 'workers answer')}")


def _pipelines(connection: psycopg.Connection) -> Iterator[Finding]:
    ((may_look,),) = _rows(connection, "doctor_may_look")
    if not may_look:
        yield Finding("note", "pipelines", "this role may not look at them; run the doctor as the owner, too")
        return
    ((workers,),) = _rows(connection, "doctor_workers")
    rows = _rows(connection, "doctor_pipelines")
    if not rows:
        yield Finding("note", "pipelines", "none yet", "select pgembedd.create_pipeline(...)")
    models = {info.name: info for info in describe_models()}
    for name, state, reason, problem, model, fingerprint, dimensions, waiting, dead, oldest_s, index, due_s in rows:
        about = f'pipeline "{name}"'
        if state in ("stopped", "unserved") or problem:
            yield Finding("bad", about, state, problem or reason)
        elif state == "paused":
            yield Finding(
                "note", about, f"{reason}, {counted(waiting, 'job')} waiting", f"select pgembedd.resume('{name}');"
            )
        elif waiting and not workers:
            yield Finding(
                "bad", about, f"{counted(waiting, 'job')} waiting since {oldest_s:.0f} s and no worker", "pgembedd run"
            )
        else:
            yield Finding("ok", about, f"running, {counted(waiting, 'job')} waiting, {counted(workers, 'worker')}")
        if dead:
            yield Finding(
                "note", about, f"{counted(dead, 'row')} given up", "See pgembedd.failures; then pgembedd retry."
            )
        yield from _index(about, name, index, due_s)
        yield from _model(about, model, fingerprint, dimensions, models.get(model))


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


def _model(
    about: str, model: str, fingerprint: str | None, dimensions: int, info: ModelInfo | None
) -> Iterator[Finding]:
    if (provided := split_model(model)) is not None:
        yield Finding(
            "note", about, f"its texts are sent to the provider {provided[0]}", "See docs/how-to/providers.md."
        )
    elif info is None:
        yield Finding(
            "note", about, f"its model {model} is none that this version knows", "Give --model-dir to the worker."
        )
    elif info.dims != dimensions:
        yield Finding(
            "bad", about, f"{model} gives {info.dims} dimensions, the column has {dimensions}", "Create it again."
        )
    elif fingerprint not in (None, info.fingerprint):
        remedy = "Run the version that made them, or backfill a new pipeline."
        yield Finding("bad", about, f"its vectors are of {fingerprint}, this version makes {info.fingerprint}", remedy)
    elif not info.cached:
        yield Finding("note", about, f"the files of {model} are not on this machine", f"pgembedd model pull {model}")


def _disk(cache_dir: Path) -> Iterator[Finding]:
    existing = next(folder for folder in (cache_dir, *cache_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    level: Level = "ok" if free >= MINIMUM_FREE_BYTES else "bad"
    yield Finding(
        level, "disk", f"{free / 1e9:.1f} GB free for models in {cache_dir}", "" if level == "ok" else "Make room."
    )


def _text(connection: psycopg.Connection, template: LiteralString, *names: str) -> str:
    return sql.SQL(template).format(*[sql.Identifier(name) for name in names]).as_string(connection)

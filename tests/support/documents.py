"""A table with a pipeline for the worker's tests, and what has become of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from pgembedd.model import Session
from tests.support.embedders import MODEL
from tests.support.sql import LANES, rows, value
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S


@dataclass(frozen=True)
class Waiting:
    """A message in a queue: what it has been through. `unrecorded` are reads that left no trace of an outcome."""

    id: Any
    pipeline: int
    read_ct: int
    attempts: int
    deferrals: int
    alone: int
    reasons: tuple[str, ...]

    @property
    def unrecorded(self) -> int:
        return self.read_ct - self.attempts - self.deferrals


def make_documents(connection: psycopg.Connection, name: str = "documents", **options: Any) -> None:
    """Table `name` (id, body) and its pipeline of the same name; the sweep is not due."""
    connection.execute(sql.SQL("create table {} (id int primary key, body text)").format(sql.Identifier(name)))
    if "content_function" not in options:
        options.setdefault("content_columns", ["body"])
    options = {"model": MODEL} | options
    named = "".join(f", {option} => %({option})s" for option in options)
    # By position, as the last release has another name for the first parameter.
    connection.execute(f"select pgembedd.create_pipeline(%(name)s, %(name)s{named})", {"name": name} | options)
    put_off_upkeep(connection)


def put_off_upkeep(connection: psycopg.Connection) -> None:
    """Keeps the maintenance from repairing what a test checks."""
    schema = value(connection, "select coalesce(to_regnamespace('pgembedd_internal'), 'pgembedd')::text")
    connection.execute(f"update {schema}.installation set swept_at = now(), retained_at = now()".encode())


def insert(connection: psycopg.Connection, ids: Iterable[int], table: str = "documents", text: str = "text") -> None:
    """Rows with a body of their own, `{text} {id}`, in one statement."""
    connection.execute(
        sql.SQL("insert into {} (id, body) select i, %s || ' ' || i from unnest(%s::int[]) i").format(
            sql.Identifier(table)
        ),
        (text, list(ids)),
    )


def waiting(connection: psycopg.Connection, lanes: Iterable[str] = LANES) -> list[Waiting]:
    """The messages of these queues, in order."""
    return [
        Waiting(key, pipeline, read_ct, attempts, deferrals, alone, tuple(reasons))
        for lane in lanes
        for key, pipeline, read_ct, attempts, deferrals, alone, reasons in rows(
            connection,
            "select message -> 'id', message -> 'pipeline', read_ct, pgembedd_internal._note(message, 'attempts'), "
            "pgembedd_internal._note(message, 'deferrals'), pgembedd_internal._note(message, 'alone'), "
            "array(select h ->> 'reason' from "
            "jsonb_array_elements(coalesce(message -> 'pgembedd' -> 'history', '[]')) h) "
            f"from pgmq.q_{lane} order by msg_id",
        )
    ]


def missing(connection: psycopg.Connection, table: str = "documents") -> list[int]:
    """Ids of the rows that have no vector."""
    found = rows(connection, f"select id from {table} where embedding is null order by id")
    return [row[0] for row in found]


def await_quiet(connection: psycopg.Connection, timeout_s: float = PATIENCE_S) -> None:
    """Return when both queues are empty."""
    eventually(lambda: not waiting(connection), timeout_s=timeout_s)


def await_embedded(connection: psycopg.Connection, ids: Iterable[int], table: str = "documents") -> None:
    """Return when these rows have a vector."""
    wanted = set(ids)
    eventually(lambda: not wanted & set(missing(connection, table)), timeout_s=PATIENCE_S)


def stale(connection: psycopg.Connection, model: Session, table: str = "documents") -> list[int]:
    """Ids of the rows whose vector is not the one of their current content, recomputed with the real model."""
    found = rows(connection, f"select id, body, embedding::text from {table} order by id")
    have = [np.zeros(model.dims) if row[2] is None else json.loads(row[2]) for row in found]
    want = model.embed([row[1] for row in found]).vectors
    # halfvec keeps 11 bits of each number, which leaves a cosine of 0.9999; two texts of a test are further apart.
    near = np.einsum("ij,ij->i", np.array(have), want) > 0.9995
    return [row[0] for row, same in zip(found, near, strict=True) if not same]


def backends(connection: psycopg.Connection, condition: str = "true") -> int:
    """Counts the workers' connections to this database that fulfil a condition on pg_stat_activity."""
    return int(
        value(
            connection,
            "select count(*) from pg_stat_activity where datname = current_database() "
            f"and application_name like 'pgembedd%' and ({condition})",
        )
    )

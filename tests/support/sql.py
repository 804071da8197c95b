"""The SQL interface from a test: pipelines of three dimensions, jobs worked with made-up vectors.

The worker's own statements (worker/pgembedd/database/statements) are what calls claim, read, store and fail here, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import psycopg
from pgvector import Vector
from pgvector.psycopg.halfvec import register_halfvec_info
from pgvector.psycopg.sparsevec import register_sparsevec_info
from pgvector.psycopg.vector import register_vector_info
from psycopg import sql
from psycopg.types import TypeInfo

from pgembedd.database.jobs import job_of
from pgembedd.database.own_version import sql_files
from pgembedd.database.queries import query
from pgembedd.database.records import BACKFILL as BACKFILL
from pgembedd.database.records import FRESH as FRESH
from tests.support.databases import Database

LANES = (FRESH, BACKFILL)

VECTOR_TYPES = """
    select t.typname, t.oid, t.typarray from pg_catalog.pg_extension e
    join pg_catalog.pg_type t on t.typnamespace = e.extnamespace and t.typname in ('vector', 'halfvec', 'sparsevec')
    where e.extname = 'vector'
"""

Embed = Callable[[str], list[float]]


@dataclass(frozen=True)
class Job:
    """One claimed message, as the worker sees it."""

    queue: str
    msg_id: int
    read_ct: int
    key: str
    suspect: bool
    pipeline_id: int
    pipeline: str
    chunked: bool = False

    @property
    def id(self) -> Any:
        """The key that `key` is the JSON of."""
        return json.loads(self.key)


@dataclass(frozen=True)
class Content:
    """The result of read() for a job: state ok, blank or gone; text only when ok; a hash of the content.

    With an embedding table also what is put around each chunk, and the hashes of those that are there.
    """

    state: str
    text: str | None
    hash: bytes
    before: str | None = None
    after: str | None = None
    known: list[bytes] | None = None


def rows(connection: psycopg.Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    return connection.execute(statement, values or None).fetchall()


def value(connection: psycopg.Connection, statement: str, *values: Any) -> Any:
    """The first column of the only row."""
    (row,) = rows(connection, statement, *values)
    return row[0]


def column(connection: psycopg.Connection, statement: str, *values: Any) -> list[Any]:
    """The first column of all rows."""
    return [row[0] for row in rows(connection, statement, *values)]


def end_sessions(connection: psycopg.Connection, condition: str) -> int:
    """Ends the other sessions of this database that fulfil a condition on pg_stat_activity; returns their number.

    They are gone on return: pg_terminate_backend() without a timeout is done once the signal is sent. It is false, too,
    of one that a client closed in the meantime, as a worker does with its others after the first.
    """
    theirs = f"datname = current_database() and pid <> pg_backend_pid() and ({condition})"
    pids = column(connection, f"select pid from pg_stat_activity where {theirs}")
    for pid in pids:
        value(connection, "select pg_terminate_backend(%s, 30000)", pid)
    connection.execute("select pg_stat_clear_snapshot()")
    assert not set(pids) & set(column(connection, f"select pid from pg_stat_activity where {theirs}"))
    return len(pids)


@contextmanager
def connected(database: Database) -> Iterator[psycopg.Connection]:
    """An autocommit connection that knows pgvector's types, whatever schema they live in."""
    with database.connect() as connection:
        learn_vector(connection)
        yield connection


def learn_vector(connection: psycopg.Connection) -> None:
    """Register pgvector's types on a connection to a database that has them: register_vector() with one statement."""
    infos = {name: TypeInfo(name, oid, array_oid) for name, oid, array_oid in rows(connection, VECTOR_TYPES)}
    register_vector_info(connection, infos["vector"])
    register_halfvec_info(connection, infos["halfvec"])
    register_sparsevec_info(connection, infos["sparsevec"])


def make_documents(connection: psycopg.Connection, count: int = 0, key: str = "id int primary key") -> None:
    """Table `documents` (key, title, content, other) with rows 1 to `count`, before any pipeline."""
    connection.execute(f"create table documents ({key}, title text, content text, other int)")
    connection.execute(
        "insert into documents (id, title, content) select i, 'title ' || i, 'content ' || i"
        f" from generate_series(1, {count}) i"
    )


def owned_table(connection: psycopg.Connection, owner: str) -> None:
    """`documents` of another role's, created by that role."""
    connection.execute(f"grant create on schema public to {owner}")
    connection.execute(f"set role {owner}")
    make_documents(connection)
    connection.execute("reset role")


def create_pipeline(connection: psycopg.Connection, **options: Any) -> Any:
    """create_pipeline() with three dimensions and `title, content` of `documents` unless told otherwise."""
    if "content_function" not in options:
        options.setdefault("content_columns", ["title", "content"])
    defaults: dict[str, Any] = {"pipeline": "documents", "source": "documents", "dimensions": 3, "index_type": "none"}
    return call(connection, "create_pipeline", **defaults | options)


@cache
def _schemas() -> dict[str, str]:
    """The schema of each of our routines and views, by name."""
    defined = re.compile(r"^create or replace (?:function|procedure|view) (\w+)\.(\w+)", re.MULTILINE)
    found = (defined.findall(path.read_text(encoding="utf-8")) for path in sql_files())
    return {name: schema for schema, name in chain.from_iterable(found)}


def qualified(call: str) -> str:
    """A call of one of our routines, a view or a table, with its schema."""
    return f"{_schemas().get(call.partition('(')[0], 'pgembedd_internal')}.{call}"


def call(connection: psycopg.Connection, function: str, **options: Any) -> Any:
    """A function of the interface with named arguments."""
    arguments = ", ".join(f"{name} => %({name})s" for name in options)
    rows = connection.execute(f"select {qualified(function)}({arguments})", options).fetchall()
    return rows[0][0]


def look_twice(connection: psycopg.Connection, look: str = "sweep()") -> Any:
    """The result of the second of two looks, the first of which was two seconds ago, and stopped nothing."""
    value(connection, f"select {qualified(look)}")
    assert column(connection, "select name from pgembedd_internal.pipeline where state = 'stopped'") == []
    connection.execute("update pgembedd_internal.pipeline set problem_since = problem_since - interval '2 s'")
    return value(connection, f"select {qualified(look)}")


def queued(connection: psycopg.Connection, queue: str = FRESH) -> list[Any]:
    """The ids in a queue, in order of arrival."""
    return column(connection, f"select message -> 'id' from pgmq.q_{queue} order by msg_id")


def empty(connection: psycopg.Connection) -> None:
    """Throw away all jobs."""
    for queue in LANES:
        connection.execute(f"delete from pgmq.q_{queue}")


def let_leases_run_out(connection: psycopg.Connection, queue: str = FRESH) -> None:
    """Move time on: every waiting or claimed job may be claimed now."""
    connection.execute(f"update pgmq.q_{queue} set vt = clock_timestamp()")


@dataclass
class Wait:
    """The delay of the only message of the fresh lane, in s, as bounds that differ by the statement's duration."""

    at_least_s: float = 0.0
    at_most_s: float = 0.0


@contextmanager
def postponing(connection: psycopg.Connection) -> Iterator[Wait]:
    """Measures by how much the block postpones the message. The machine may be slow."""
    wait, began = Wait(), value(connection, "select clock_timestamp()")
    yield wait
    due, ended = rows(connection, f"select vt, clock_timestamp() from pgmq.q_{FRESH}")[0]
    wait.at_least_s, wait.at_most_s = (due - ended).total_seconds(), (due - began).total_seconds()


def claim(
    connection: psycopg.Connection,
    queue: str = FRESH,
    size: int = 100,
    lease_s: int = 60,
    *,
    pipeline: int | None = None,
) -> list[Job]:
    """Claim from one queue: of the pipeline, or of each that has jobs due there."""
    jobs: list[Job] = []
    for pipeline_id in due(connection, queue) if pipeline is None else [pipeline]:
        values = {"pipeline_id": pipeline_id, "queue": queue, "claim_size": size - len(jobs), "lease_s": lease_s}
        found = [job_of(row) for row in connection.execute(query("claim"), values)]
        jobs += [
            Job(
                queue,
                job.msg_id,
                job.read_ct,
                job.id,
                job.suspect,
                job.pipeline.id,
                job.pipeline.name,
                job.pipeline.chunking is not None,
            )
            for job in found
        ]
    return jobs


def due(connection: psycopg.Connection, queue: str = FRESH, task: str = "embed") -> list[int]:
    """The pipelines of a task that have jobs due in a queue."""
    found = connection.execute(
        query("due"), {"names": None, "poll_s": 0, "unserved": [], "queue": None, "idle": False, "task": task}
    ).fetchall()
    return sorted(pipeline_id for pipeline_id, of in found if of == queue)


def claim_one(connection: psycopg.Connection, queue: str = FRESH) -> Job:
    """The only job there is to claim."""
    (job,) = claim(connection, queue)
    return job


def read(connection: psycopg.Connection, jobs: Sequence[Job]) -> list[Content]:
    """The content of each job's row; all of one pipeline."""
    ids = [job.key for job in jobs]
    statement = query("read_chunks" if jobs[0].chunked else "read")
    found = connection.execute(statement, {"pipeline_id": jobs[0].pipeline_id, "ids": ids}).fetchall()
    return [Content(*row) for row in found]


def made_up(text: str) -> list[float]:
    """A vector that tells texts apart: three numbers that halfvec holds exactly."""
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:3]]


def store(
    connection: psycopg.Connection,
    jobs: Sequence[Job],
    contents: Sequence[Content] | None = None,
    *,
    embed: Embed = made_up,
    dropped: int | Sequence[int] = 0,
) -> list[str]:
    """Store vectors for what was read (read now, if not given); one outcome per job. Chunks are paragraphs.

    `dropped` is the number of tokens that were cut off: of each job, or the same of all.
    """
    contents = read(connection, jobs) if contents is None else contents
    values = {
        "queue": jobs[0].queue,
        "pipeline_id": jobs[0].pipeline_id,
        "msg_ids": [job.msg_id for job in jobs],
        "read_cts": [job.read_ct for job in jobs],
        "hashes": [content.hash for content in contents],
        "dropped": [dropped for _ in jobs] if isinstance(dropped, int) else list(dropped),
        "recalled": 0,
    }
    if jobs[0].chunked:
        values |= _chunks(contents, embed)
    else:
        values["embeddings"] = [None if content.text is None else Vector(embed(content.text)) for content in contents]
    name = "store_chunks" if jobs[0].chunked else "store"
    statement = sql.SQL(query(name)).format(vector=_vector_type(connection))
    outcomes: dict[int, str] = dict(connection.execute(statement, values).fetchall())
    return [outcomes[job.msg_id] for job in jobs]


def paragraphs(text: str) -> list[re.Match[str]]:
    """Splits at paragraphs; replaces the worker's splitter."""
    return list(re.finditer(r"\S(?:.|\n(?!\n))*", text))


def _chunks(contents: Sequence[Content], embed: Embed) -> dict[str, Any]:
    """The paragraphs of all contents, a vector for those whose text is not there yet."""
    arrays: dict[str, list[Any]] = {
        name: [] for name in ("jobs", "nos", "texts", "starts", "ends", "hashes", "embeddings", "tokens")
    }
    for job, content in enumerate(contents, start=1):
        for no, found in enumerate(paragraphs(content.text or "")):
            text = (content.before or "") + found[0] + (content.after or "")
            digest = hashlib.sha256(text.encode()).digest()
            new = digest not in (content.known or [])
            vector = Vector(embed(text)) if new else None
            values = (job, no, found[0], found.start(), found.end(), digest, vector, len(text.split()) if new else None)
            for array, one in zip(arrays.values(), values, strict=True):
                array.append(one)
    return {
        "chunk_jobs": arrays["jobs"],
        "chunk_indexes": arrays["nos"],
        "chunks": arrays["texts"],
        "start_offsets": arrays["starts"],
        "end_offsets": arrays["ends"],
        "chunk_hashes": arrays["hashes"],
        "embeddings": arrays["embeddings"],
        "tokens": arrays["tokens"],
        "tokens_kept": arrays["tokens"],
    }


def _vector_type(connection: psycopg.Connection) -> sql.Identifier:
    return sql.Identifier(value(connection, query("vector_schema")), "vector")


def fail(
    connection: psycopg.Connection, job: Job, reason: str = "content", error: str = "no", permanent: bool = False
) -> tuple[str, int | None, float | None]:
    """Record a failed attempt: outcome, attempts so far, seconds until the next."""
    values = {"queue": job.queue, "msg_id": job.msg_id, "read_ct": job.read_ct, "key": job.key}
    (row,) = connection.execute(
        query("fail"), {**values, "reason": reason, "error": error, "permanent": permanent}
    ).fetchall()
    return row[0], row[1], row[2]


def fence(jobs: Sequence[Job]) -> dict[str, Any]:
    """Returns the parameters by which extend and release identify a claim."""
    msg_ids, read_cts = [job.msg_id for job in jobs], [job.read_ct for job in jobs]
    return {"queue": jobs[0].queue, "msg_ids": msg_ids, "read_cts": read_cts}


def release(connection: psycopg.Connection, jobs: Sequence[Job], delay_s: float = 0.0) -> int:
    """Give jobs back; how many were ours."""
    (row,) = connection.execute(query("release"), {**fence(jobs), "delay_s": delay_s, "why": None}).fetchall()
    return int(row[0])


def extend(connection: psycopg.Connection, jobs: Sequence[Job], lease_s: int = 60) -> list[int]:
    """Keep jobs; the ids of those that are ours."""
    return [row[0] for row in connection.execute(query("extend"), {**fence(jobs), "lease_s": lease_s}).fetchall()]


def mark_alone(connection: psycopg.Connection, job: Job) -> bool:
    """Note that the job is worked alone; whether it is ours."""
    values = {"queue": job.queue, "msg_id": job.msg_id, "read_ct": job.read_ct}
    return bool(connection.execute(query("mark_alone"), values).fetchall()[0][0])


def work(connection: psycopg.Connection, lanes: Iterable[str] = LANES, *, embed: Embed = made_up) -> dict[Any, str]:
    """Work both lanes until nothing can be claimed; id → last outcome."""
    done: dict[Any, str] = {}
    for lane in lanes:
        for round_ in range(20):
            jobs = claim(connection, lane, size=20_000)
            if not jobs:
                break
            assert round_ < 19, f"the same jobs come back for ever: {done}"
            for pipeline_id in {job.pipeline_id for job in jobs}:
                mine = [job for job in jobs if job.pipeline_id == pipeline_id]
                outcomes = store(connection, mine, embed=embed)
                done.update((_hashable(job.id), outcome) for job, outcome in zip(mine, outcomes, strict=True))
    return done


def _hashable(key: Any) -> Any:
    return json.dumps(key) if isinstance(key, dict | list) else key


def vectors(connection: psycopg.Connection, table: str = "documents", order: str = "id") -> list[list[float] | None]:
    """The embedding column, in key order."""
    found = column(connection, f"select embedding from {table} order by {order}")
    return [None if one is None else [float(x) for x in one.to_list()] for one in found]


def state(connection: psycopg.Connection, name: str = "documents") -> str:
    """The pipeline's state: running, paused or stopped."""
    return str(value(connection, "select state from pgembedd.status where pipeline = %s", name))


def reason(connection: psycopg.Connection, name: str = "documents") -> str:
    """Returns the reason why the pipeline does not run."""
    return str(value(connection, "select reason from pgembedd.status where pipeline = %s", name))

"""The Edge Function of Supabase's guide: embeds the rows that messages of the guide's own queue name, without state."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.queries import query
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.loop.deadline import STOP_CHECK_S, Deadline
from pgembedd.loop.pushed_request import UNFINISHED, Outcome, stored_outcome
from pgembedd.model.embedder import Embedder

NO_JOB = Outcome("failed", "This is no job: it has no pipeline, and no jobId of a message of the guide's queue.")
OTHER = Outcome("failed", "The message of this jobId is about something else than what was posted.")
DONE = Outcome("done")
DENIED = ": connect the service as the owner of the table and of the queue, or run `pgembedd import supabase`."


Found = TypeVar("Found")


@dataclass(frozen=True)
class _Row:
    """A row that a message names: the parts of its statements, their values, and its content."""

    names: Mapping[str, sql.Composable]
    values: Mapping[str, Any]
    content: str | None


def process(service: ServiceContext, jobs: Sequence[tuple[str, Any]]) -> list[Outcome]:
    """Embeds the rows of jobs, each given as JSON text and parsed; returns the outcome of each.

    Runs with the rights of the service's role; a transaction for each read and each write, none while the model works.
    Refusal 502 or 503 without a connection, PgembeddError without the default model: then nothing was done.
    """
    assert service.database is not None
    embedder = service.served.get(None)
    deadline = Deadline(service.stopping, service.http.http_push_timeout_s)
    with service.database.connection() as connection:
        rows = [
            UNFINISHED if deadline.is_set() else _attempt(connection, partial(_read, connection, *job, embedder))
            for job in jobs
        ]
    texts = {row.content for row in rows if isinstance(row, _Row) and row.content and row.content.strip()}
    vectors = dict(_embed(service, embedder, sorted(texts), deadline))
    outcomes = [row if isinstance(row, Outcome) else UNFINISHED for row in rows]
    with suppress(Refusal), service.database.connection() as connection:  # lost by then: those rows are unfinished
        for n, row in enumerate(rows):
            if isinstance(row, _Row) and not deadline.is_set():
                outcomes[n] = _finish(connection, row, vectors)
    return outcomes


def _finish(connection: psycopg.Connection, row: _Row, vectors: Mapping[str, str | Outcome]) -> Outcome:
    """Writes the vector of a row, null where it has no text; or returns the outcome of the model."""
    vector = vectors.get(row.content or "")
    return vector if isinstance(vector, Outcome) else _attempt(connection, partial(_write, connection, row, vector))


def _attempt(connection: psycopg.Connection, work: Callable[[], Found | Outcome]) -> Found | Outcome:
    """Runs one transaction. An error of the database fails the job, in a sentence without content."""
    try:
        with connection.transaction():
            connection.execute(query("guide_limits"))
            return work()
    except psycopg.errors.LockNotAvailable:
        return stored_outcome("locked")
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        remedy = DENIED if isinstance(error, psycopg.errors.InsufficientPrivilege) else "; it waits in the queue."
        return Outcome("failed", f"It failed ({type(error).__name__}){remedy}")


def _read(connection: psycopg.Connection, text: str, parsed: Any, embedder: Embedder) -> _Row | Outcome:
    """Reads the content of the row that a posted job is about; an outcome where there is nothing to embed."""
    msg_id = parsed.get("jobId")
    if type(msg_id) is not int or not 0 <= msg_id < 2**63:
        return NO_JOB
    found = connection.execute(query("guide_message"), {"job": text, "msg_id": msg_id}).fetchone()
    if found is None:
        return DONE
    same, row_id, schema, table, function, column = found
    if not same:
        return OTHER
    named = {"schema": schema, "table": table, "function": function, "column": column}
    model = {"model": embedder.name, "dimensions": embedder.dims}
    target = connection.execute(query("guide_target"), {**named, **model}).fetchone()
    assert target is not None
    problem, function_schema, function_name, id_type, vector_type = target
    if problem is not None:
        return Outcome("failed", problem)
    names = {
        "source": sql.Identifier(schema, table),
        "function": sql.Identifier(function_schema, function_name),
        "column": sql.Identifier(column),
        "id_type": sql.SQL(id_type),
        "vector_type": sql.SQL(vector_type),
    }
    values = {"msg_id": msg_id, "id": row_id}
    content = connection.execute(sql.SQL(query("guide_content")).format(**names), values).fetchone()
    if content is None:
        connection.execute(query("guide_done"), values)
        return DONE
    return _Row(names, values, content[0])


def _embed(
    service: ServiceContext, embedder: Embedder, texts: Sequence[str], deadline: Deadline
) -> Iterator[tuple[str, str | Outcome]]:
    """Yields each text with its vector as Postgres reads it, or the outcome; after an error each is tried alone."""
    if not texts:
        return
    try:
        future = service.batcher.ask(embedder, texts, kind="document")
        while not future.done() and not deadline.is_set():
            wait([future], STOP_CHECK_S)
        vectors = future.result(0).vectors
    except TimeoutError:
        future.cancel()
        yield from ((text, UNFINISHED) for text in texts)
    except Exception as error:
        if len(texts) > 1:
            for text in texts:
                yield from _embed(service, embedder, [text], deadline)
        else:
            yield texts[0], Outcome("failed", f"The model failed ({type(error).__name__}); it waits in the queue.")
    else:
        yield from ((text, json.dumps(vector.tolist())) for text, vector in zip(texts, vectors, strict=True))


def _write(connection: psycopg.Connection, row: _Row, vector: str | None) -> Outcome:
    """Writes the vector, or null, and deletes the message, if the content is the same as before or the row is gone."""
    values = {**row.values, "vector": vector, "content": row.content}
    written = connection.execute(sql.SQL(query("guide_write")).format(**row.names), values).rowcount
    there = connection.execute(sql.SQL(query("guide_row")).format(**row.names), values).fetchone()
    if not written and there == (True,):
        return stored_outcome("changed")
    connection.execute(query("guide_done"), values)
    return DONE

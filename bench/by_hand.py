"""What a worker does to rows, by hand: pgmq's read, the texts, their vectors and words, pgmq's delete.

Each batch is two transactions, as the lease has to be committed before a model would run. There is one table, and
nothing is checked. In one session (`by_hand_s`) the same `checked` is the least that any worker takes that keeps the
promises of bench/carry.py. With a model (`embed_by_hand`) one thread claims and reads, and another one writes, so that
the model is never waited for.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from bench.null_worker import DIMS
from pgembedd.database.queries import query
from pgembedd.database.vector_codec import BigIntegers, Blobs, Vectors, find_vector_type
from pgembedd.model import Session

BATCH, LEASE_S = 256, 60
INDEXED_ROWS = 10_000
SETUP = """
    create table {table}_words (id bigint primary key, words tsvector not null);
    select pgmq.create('{table}');
"""
QUEUE = """
    select pgmq.send_batch('{table}', array_agg(jsonb_build_object('id', id))) from {table} where embedding is null
"""
CLAIM = "select msg_id, read_ct, (message ->> 'id')::bigint from pgmq.read('{table}', %s, %s)"
READ = "select id, body from {table} where id = any (%s)"
HASH = "int8send(hashtextextended(coalesce(s.body, '') collate \"C\", 0))"
READ_HASHED = f"select id, body, {HASH} from {{table}} s where id = any (%s)"
LOCK = """
    select q.msg_id from pgmq.q_{table} q join unnest(%s::bigint[], %s::integer[]) as h(msg_id, read_ct)
    using (msg_id, read_ct) order by q.msg_id for update of q
"""
UPDATE = """
    update {table} s set embedding = i.embedding::halfvec(384)
    from unnest(%s::bigint[], %s) as i(id, embedding) where s.id = i.id
"""
UPDATE_CHECKED = f"""
    with input as materialized (
        select i.msg_id, i.id, i.hash, i.embedding::halfvec(384)
        from unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s) as i(msg_id, id, hash, embedding)),
    locked as materialized (
        select s.id, {HASH} = i.hash as current, row(s.embedding)::record *<> row(i.embedding)::record as differs
        from {{table}} s join input i using (id) for no key update of s skip locked),
    written as (
        update {{table}} s set embedding = i.embedding
        from input i join locked l using (id) where l.current and l.differs and s.id = i.id
        returning s.id, {HASH} = i.hash and s.embedding is not null as current)
    select i.msg_id, case
        when l.id is null and exists (select from {{table}} s where s.id = i.id) then 'locked'
        when l.id is null then 'gone'
        when not l.current or not w.current then 'changed'
        when w.id is null and l.differs then 'refused' else 'written' end
    from input i left join locked l using (id) left join written w using (id)
"""
WORDS = """
    insert into {table}_words (id, words)
    select id, to_tsvector('pg_catalog.english', body) from {table} where id = any (%s)
    on conflict (id) do update set words = excluded.words
"""
DELETE = "select pgmq.delete('{table}', %s::bigint[])"


def make_bare_table(connection: psycopg.Connection, table: str, *, index: bool) -> None:
    """A table without a pipeline; with `index` it has an HNSW index, which holds INDEXED_ROWS random vectors."""
    run(
        connection,
        "create table {table} (id bigint generated always as identity primary key, body text, embedding halfvec(384))",
        table,
    )
    if index:
        run(
            connection,
            "insert into {table} (embedding) select (select array_agg(random() - 0.5) from generate_series(1, 384)"
            " where g > 0)::halfvec(384) from generate_series(1, %s) g",
            table,
            INDEXED_ROWS,
        )
        run(connection, "create index on {table} using hnsw (embedding halfvec_cosine_ops)", table)


def set_up(connection: psycopg.Connection, table: str = "by_hand", *, index: bool = False) -> None:
    """Makes the tables and the queue; the vectors of this connection are binary then."""
    make_bare_table(connection, table, index=index)
    run(connection, SETUP, table)
    if index:
        run(connection, "create index on {table}_words using gin (words)", table)
    run(connection, "vacuum analyze {table}", table)
    find_vector_type(connection)


def run(connection: psycopg.Connection, statement: str, table: str, *values: object) -> psycopg.Cursor[Any]:
    """Executes a statement on a table and its queue, which has the same name."""
    return connection.execute(statement.format(table=table).encode(), values or None)


def claim(connection: psycopg.Connection, table: str, size: int) -> list[list[int]]:
    """Up to `size` messages, how often each was read, and the ids of their rows; nothing where none is queued."""
    return [list(each) for each in zip(*run(connection, CLAIM, table, LEASE_S, size).fetchall(), strict=True)]


def by_hand_s(connection: psycopg.Connection, rows: int, body: str, *, words: bool, checked: bool = False) -> float:
    """Seconds in which so many rows, all queued before, get vector and words; `body` is SQL that makes a text of g.

    A connection on which it is `checked` prepares no statement.
    """
    table = "by_hand"
    run(connection, "truncate {table}, {table}_words, pgmq.q_{table}", table)
    run(connection, f"insert into {{table}} (body) select {body} from generate_series(1, %s) g", table, rows)
    run(connection, QUEUE, table)
    connection.execute("checkpoint")
    vector = np.full(DIMS, DIMS**-0.5, np.float32)
    started = time.perf_counter()
    while claimed := claim(connection, table, BATCH):
        if checked:
            _store_checked(connection, table, claimed, vector, words=words)
            continue
        messages, _, ids = claimed
        with connection.transaction():
            run(connection, READ, table, ids).fetchall()
            run(connection, UPDATE, table, ids, Vectors([vector] * len(ids)))
            if words:
                run(connection, WORDS, table, ids)
            run(connection, DELETE, table, messages)
    return time.perf_counter() - started


def _store_checked(
    connection: psycopg.Connection,
    table: str,
    claimed: Sequence[list[int]],
    vector: npt.NDArray[np.float32],
    *,
    words: bool,
) -> None:
    messages, reads, ids = claimed
    hashes = {id: digest for id, _, digest in run(connection, READ_HASHED, table, ids).fetchall()}
    with connection.transaction():
        held = {message for (message,) in run(connection, LOCK, table, messages, reads).fetchall()}
        jobs = [(message, id) for message, id in zip(messages, ids, strict=True) if message in held]
        of_messages, ids = [message for message, _ in jobs], [id for _, id in jobs]
        digests = Blobs([hashes.get(id, b"") for id in ids])
        given = BigIntegers(of_messages), BigIntegers(ids), digests, Vectors([vector] * len(ids))
        outcomes = dict(run(connection, UPDATE_CHECKED, table, *given).fetchall())
        if words:
            run(connection, WORDS, table, [id for message, id in jobs if outcomes[message] == "written"])
        run(connection, DELETE, table, [one for one in of_messages if outcomes[one] in ("written", "gone")])
    connection.execute(sql.SQL(f"{query('clean_session')}; reset search_path").format(limit_ms=sql.Literal(None)))


def embed_by_hand(sessions: Sequence[psycopg.Connection], table: str, model: Session, size: int) -> None:
    """The rows that have no vector get vector and words, claimed `size` at a time, two claims ahead of the model."""
    reader, writer = sessions
    started: Queue[Any] = Queue(1)

    def read() -> None:
        try:
            while claimed := claim(reader, table, size):
                messages, _, queued = claimed
                ids, texts = zip(*run(reader, READ, table, queued).fetchall(), strict=True)
                started.put((messages, list(ids), model.start(texts)))
        finally:
            started.put(None)

    run(reader, QUEUE, table)
    with ThreadPoolExecutor(1) as reading:
        ended = reading.submit(read)
        while batch := started.get():
            messages, ids, pending = batch
            vectors = pending.result().vectors
            with writer.transaction():
                run(writer, UPDATE, table, ids, Vectors(vectors))
                run(writer, WORDS, table, ids)
                run(writer, DELETE, table, messages)
        ended.result()

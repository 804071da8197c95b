"""What a worker does to rows, by hand in one session: pgmq's read, the texts, their vectors and words, pgmq's delete.

Each batch is two transactions, as the lease has to be committed before a model would run. There is one table and one
session, and nothing is checked: not that the lease is still held, nor that a text is the one that was embedded. The
same with these two `checked` is the least that any worker takes that keeps both promises.
"""

import time

import numpy as np
import psycopg

from bench.null_worker import DIMS
from pgembedd.database.vector_codec import Vectors, find_vector_type

BATCH, LEASE_S = 256, 60
SETUP = """
    create table by_hand (id bigint generated always as identity primary key, body text, embedding halfvec(384));
    create table by_hand_words (id bigint primary key, words tsvector not null);
    select pgmq.create('by_hand');
"""
CLAIM = "select msg_id, read_ct, (message ->> 'id')::bigint from pgmq.read('by_hand', %s, %s)"
READ = "select id, body from by_hand where id = any (%s)"
READ_HASHED = "select id, body, sha256(convert_to(body, 'UTF8')) from by_hand where id = any (%s)"
LOCK = """
    select q.msg_id from pgmq.q_by_hand q join unnest(%s::bigint[], %s::integer[]) as h(msg_id, read_ct)
    using (msg_id, read_ct) order by q.msg_id for update of q
"""
UPDATE = """
    update by_hand s set embedding = i.embedding::halfvec(384)
    from unnest(%s::bigint[], %s) as i(id, embedding) where s.id = i.id
"""
UPDATE_CHECKED = """
    with input as materialized (select * from unnest(%s::bigint[], %s::bytea[], %s) as i(id, hash, embedding)),
    locked as materialized (
        select s.id, sha256(convert_to(s.body, 'UTF8')) = i.hash as current
        from by_hand s join input i using (id) for no key update of s skip locked)
    update by_hand s set embedding = i.embedding::halfvec(384)
    from input i join locked l using (id) where l.current and s.id = i.id
"""
WORDS = """
    insert into by_hand_words (id, words)
    select id, to_tsvector('pg_catalog.english', body) from by_hand where id = any (%s)
    on conflict (id) do update set words = excluded.words
"""
DELETE = "select pgmq.delete('by_hand', %s::bigint[])"


def set_up(connection: psycopg.Connection) -> None:
    """Makes the tables and the queue; the vectors of this connection are binary then."""
    connection.execute(SETUP)
    find_vector_type(connection)


def by_hand_s(connection: psycopg.Connection, rows: int, body: str, *, words: bool, checked: bool = False) -> float:
    """Seconds in which so many rows, all queued before, get vector and words; `body` is SQL that makes a text of g."""
    connection.execute("truncate by_hand, by_hand_words, pgmq.q_by_hand")
    connection.execute(f"insert into by_hand (body) select {body} from generate_series(1, %s) g".encode(), (rows,))
    connection.execute("select pgmq.send_batch('by_hand', array_agg(jsonb_build_object('id', id))) from by_hand")
    connection.execute("checkpoint")
    vector = np.full(DIMS, DIMS**-0.5, np.float32)
    started = time.perf_counter()
    while claimed := connection.execute(CLAIM, (LEASE_S, BATCH)).fetchall():
        messages, reads, ids = (list(each) for each in zip(*claimed, strict=True))
        with connection.transaction():
            if checked:
                read = connection.execute(READ_HASHED, (ids,)).fetchall()
                connection.execute(LOCK, (messages, reads)).fetchall()
                ids, hashes = [id for id, _, _ in read], [digest for _, _, digest in read]
                connection.execute(UPDATE_CHECKED, (ids, hashes, Vectors([vector] * len(ids))))
            else:
                connection.execute(READ, (ids,)).fetchall()
                connection.execute(UPDATE, (ids, Vectors([vector] * len(ids))))
            if words:
                connection.execute(WORDS, (ids,))
            connection.execute(DELETE, (messages,))
    return time.perf_counter() - started

"""wait_for_row(): returns with its vector, or says why there will be none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    claim_one,
    create_pipeline,
    empty,
    fail,
    make_documents,
    queued,
    read,
    store,
    value,
    work,
)
from tests.support.waiting import eventually

ASLEEP = "select wait_event = 'PgSleep' from pg_stat_activity where pid = %s"
STILL = 'The row {} of the pipeline "documents" still waits after 00:00:00.'


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows that wait."""
    make_documents(connection, 2)
    create_pipeline(connection)


def wait_for(connection: psycopg.Connection, key: Any, timeout: str = "0 s") -> None:
    connection.execute("call pgembedd.wait_for_row('documents', %s, %s)", [Jsonb(key), timeout])


@contextmanager
def waiting(connection: psycopg.Connection, other: psycopg.Connection, key: Any) -> Iterator[None]:
    """While the block runs, `connection` waits for the row; afterwards it must have come back."""
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            wait_for(connection, key, "1 min")
        except psycopg.Error as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: other.execute(ASLEEP, [connection.info.backend_pid]).fetchall() == [(True,)])
    yield
    thread.join()
    if caught:
        raise caught[0]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_it_returns_with_the_vector_whatever_else_waits(
    documents: psycopg.Connection, other: psycopg.Connection, isolation: str
) -> None:
    documents.execute(f"set default_transaction_isolation = '{isolation}'")
    first, second = claim(other, BACKFILL)
    with waiting(documents, other, 2):
        store(other, [second])
    assert value(other, "select embedding is not null from documents where id = 2")
    assert queued(other, BACKFILL) == [first.id]
    wait_for(documents, 2)


def test_a_job_that_is_released_for_another_read_is_still_waited_for(
    documents: psycopg.Connection, other: psycopg.Connection
) -> None:
    job = claim(other, BACKFILL)[1]
    contents = read(other, [job])
    other.execute("update documents set title = 'new' where id = 2")
    empty_fresh = "delete from pgmq.q_pgembedd_fresh"
    other.execute(empty_fresh)  # so that only the released one is left
    with waiting(documents, other, 2):
        assert store(other, [job], contents) == ["changed"]
        assert claim(other, BACKFILL, size=2)[0].id == 2
        other.execute("update pgmq.q_pgembedd_backfill set vt = now()")
        work(other)


def test_an_update_of_a_row_with_a_vector(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("update documents set title = 'new' where id = 1")
    wait_for(documents, 2)
    with refused(STILL.format(1), "is a worker running?"):
        wait_for(documents, 1)


@pytest.mark.parametrize(
    ("type_", "literal", "keys"),
    [
        ("int", "7", [7, "7"]),
        ("numeric(9, 2)", "7.5", ["7.50", 7.5]),
        ("text", "'7'", ["7"]),
        ("varchar(9)", "'it''s'", ["it's"]),
        (
            "uuid",
            "'00000000-0000-0000-0000-00000000000a'",
            [str(UUID(int=10)), "{0000000000000000000000000000000A}"],
        ),
        ("timestamptz", "'2026-01-02 03:04 UTC'", ["2026-01-02 05:04+02"]),
        ("jsonb", "'{\"a\": 1}'", [{"a": 1}]),
    ],
)
def test_a_key_is_written_as_in_sql(connection: psycopg.Connection, type_: str, literal: str, keys: list[Any]) -> None:
    connection.execute(f"create table documents (id {type_} primary key, title text, content text)")
    create_pipeline(connection)
    connection.execute(f"insert into documents values ({literal}, 'title')")
    carried = value(connection, "select message ->> 'id' from pgmq.q_pgembedd_fresh")
    for key in keys:
        with pytest.raises(psycopg.errors.QueryCanceled, match="still waits") as caught:
            wait_for(connection, key)
        assert carried in str(caught.value)
    work(connection)
    for key in keys:
        wait_for(connection, key)


def test_a_composite_key_is_a_json_object(connection: psycopg.Connection) -> None:
    connection.execute(
        'create table documents ("Tenant" text, id int, title text, content text, primary key ("Tenant", id))'
    )
    create_pipeline(connection)
    connection.execute("insert into documents values ('a', 1, 'x'), ('a', 2, 'y')")
    empty(connection)
    connection.execute("update documents set title = 'z' where id = 2")
    for one in ({"Tenant": "a", "id": 2}, {"id": "2", "Tenant": "a"}):
        with refused(STILL.format('{"id": 2, "Tenant": "a"}')):
            wait_for(connection, one)
    in_words = "A row is named by its key as a JSON object: Tenant (text), id (integer)."
    with refused('public.documents has no row {"id": 2}.', in_words):
        wait_for(connection, {"id": 2})


def test_a_mistyped_key(documents: psycopg.Connection) -> None:
    with refused("public.documents has no row 3.", "A row is named by its key, id (integer)."):
        wait_for(documents, 3)
    with refused(
        '"one" is no key of "documents": invalid input syntax for type integer: "one".',
        "id (integer)",
    ):
        wait_for(documents, "one")
    with refused('NULL is no key of "documents".'):
        documents.execute("call pgembedd.wait_for_row('documents', null)")
    with refused('There is no pipeline "nope".'):
        documents.execute("call pgembedd.wait_for_row('nope', '1')")


@pytest.mark.slow
def test_a_dead_letter(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    first, _ = claim(other, BACKFILL)
    message = 'The row 1 of the pipeline "documents" failed for good (content): no'
    with refused(message, "pgembedd.retry_dead_letters('documents')"), waiting(documents, other, 1):
        fail(other, first, permanent=True)
    with refused(message):
        wait_for(documents, 1)
    call(documents, "retry_dead_letters")
    with refused(STILL.format(1)):
        wait_for(documents, 1)
    work(documents)
    wait_for(documents, 1)


def test_a_pipeline_that_does_not_run(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("select pgembedd.pause('documents')")
    wait_for(documents, 1)
    documents.execute("update documents set title = 'new' where id = 1")
    reason = "paused by postgres; call pgembedd.resume('documents') to go on"
    with refused(f'The pipeline "documents" is paused, and the row 1 waits: {reason}'):
        wait_for(documents, 1, "1 min")


def test_a_row_that_nobody_queued_is_queued_once(documents: psycopg.Connection) -> None:
    empty(documents)
    for _ in range(2):
        with refused(STILL.format(2)):
            wait_for(documents, 2)
    assert queued(documents) == [2]
    work(documents)
    wait_for(documents, 2)


def test_a_blank_row_is_done(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents (id, title) values (3, ' ')")
    with refused(STILL.format(3)):
        wait_for(documents, 3)
    work(documents)
    wait_for(documents, 3)
    assert queued(documents) == []


def test_a_row_that_is_deleted_meanwhile_needs_no_vector(
    documents: psycopg.Connection, other: psycopg.Connection
) -> None:
    with waiting(documents, other, 2):
        other.execute("delete from documents where id = 2")
        work(other)


def test_a_number_as_a_string_names_the_same_row(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("""select pgmq.send('pgembedd_fresh', '{"id": "2", "pipeline": 1}')""")
    wait_for(documents, 1)
    with refused(STILL.format(2)):
        wait_for(documents, 2)


def test_the_row_of_another_pipeline_is_not_waited_for(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("create table others (id int primary key, title text, content text)")
    create_pipeline(documents, pipeline="others", source="others")
    documents.execute("insert into others values (1, 'x')")
    wait_for(documents, 1)
    assert claim_one(documents).pipeline == "others"


def test_rows_in_chunks(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("select pgembedd_internal.pin_model(1, 'model')")
    work(connection)
    wait_for(connection, 1)
    connection.execute("delete from chunks where id = 1")
    with refused(STILL.format(1)):
        wait_for(connection, 1)
    work(connection)
    wait_for(connection, 1)


def test_it_refuses_to_wait_for_rows_that_nobody_sees(documents: psycopg.Connection) -> None:
    sentence = "A wait in a transaction that has written would never end: no worker sees its rows yet."
    with refused(sentence, "COMMIT first."), documents.transaction():
        documents.execute("insert into documents values (5)")
        wait_for(documents, 5)

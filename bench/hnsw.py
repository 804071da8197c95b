"""What the HNSW index costs, when it is made before the load and when after it, and what it finds.

The rows are there, their vectors are written 32 at a time, as a worker does: without an index; with the index made
before ("first"); and without, the index built CONCURRENTLY afterwards ("after") with the memory and the parallel
workers that `pgembedd` asks for. Then it is searched, with the index and exactly, as until the index is there.
Loads of over 50,000 rows are done once. Recall@10 is of 200 questions that are not among the rows, against an exact
search over float32 vectors, among real vectors only.
"""

import argparse
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import connect

from bench.report import Result, compare, interleave, publish, timed, versions
from bench.vectors import Vectors, filled_up, real_vectors
from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.loop.index_builder import BuildLimits, Size, build_index, memory_mb
from pgembedd.settings import Settings

BATCH = 32
QUESTIONS = 200
SEARCHES = 20
DIMS = 384
SHORT, FULL = (50, 250, 1_000, 5_000), (50, 250, 1_000, 5_000, 20_000, 100_000)
LARGE = 50_000
LIMITS = BuildLimits(Settings.index_memory_mb, Settings.index_workers)
TYPES: dict[str, type[HalfVector] | type[Vector]] = {"halfvec": HalfVector, "vector": Vector}

SEARCH = b"select id from documents order by embedding <=> %s limit 10"
WRITE = """
    update documents d set embedding = v.embedding from unnest(%b::int[], %b::{0}[]) as v(id, embedding)
    where d.id = v.id
"""


class Bench:
    """A private server and the vectors to be loaded into it."""

    def __init__(self, connection: psycopg.Connection, vectors: Vectors) -> None:
        self._connection, self._vectors = connection, vectors

    def fresh(self, rows: int, when: str, vector_type: str = "halfvec") -> None:
        """An empty vector column with a pipeline, whose index is made `when` create_pipeline() is told."""
        self._connection.execute("drop table if exists documents")
        self._connection.execute("select pgembedd.drop_pipeline(name) from pgembedd.pipeline")
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

    def write(self, rows: int, vector_type: str = "halfvec") -> float:
        """Seconds to write the first `rows` vectors."""
        made = [TYPES[vector_type](vector) for vector in self._vectors[:rows]]
        statement = WRITE.format(vector_type).encode()
        seconds = 0.0
        for start in range(0, rows, BATCH):
            ids = list(range(start, min(start + BATCH, rows)))
            seconds += timed(lambda: self._connection.execute(statement, (ids, made[start : start + BATCH])))  # noqa: B023
        return seconds

    def build(self) -> float:
        """Seconds to build the index that was put off."""

        def work() -> None:
            if not build_index(self._connection, "bench", LIMITS, threading.Event()):
                raise RuntimeError("somebody else holds the index's lock")

        return timed(work)

    def without(self, rows: int) -> float:
        self.fresh(rows, "later")
        return self.write(rows)

    def first(self, rows: int) -> float:
        self.fresh(rows, "now")
        return self.write(rows)

    def after(self, rows: int) -> float:
        self.fresh(rows, "later")
        return self.write(rows) + self.build()

    def loads(self, rows: int, rounds: int) -> list[Result]:
        """Seconds to load so many rows, three ways."""
        ways: dict[str, Callable[[int], float]] = {"first": self.first, "without": self.without, "after": self.after}
        cases: dict[str, Callable[[], float]] = {
            f"load of {rows} rows, index {way}": partial(work, rows) for way, work in ways.items()
        }
        values = interleave(cases, 1 if rows > LARGE else rounds)
        return compare("hnsw", "s", values, f"load of {rows} rows, index first") + self.searches(rows)

    def searches(self, rows: int) -> list[Result]:
        """Milliseconds that a search takes in what was loaded last, with the index and without."""
        questions = [HalfVector(question) for question in self._vectors[:SEARCHES]]

        def search(setting: bytes, indexed: bool) -> list[float]:
            with self._connection.transaction():
                self._connection.execute(setting)
                self._require(SEARCH, questions[0], indexed=indexed)
                # Not prepared: a plan that is kept would not follow the setting.
                work = partial(self._connection.execute, SEARCH, prepare=False)
                return [1000 * timed(partial(work, [question])) for question in questions]

        values = {
            f"search of {rows} rows, exact": search(b"set local enable_indexscan = off", False),
            f"search of {rows} rows, with the index": search(b"set local enable_seqscan = off", True),
        }
        return compare("hnsw", "ms", values, f"search of {rows} rows, exact")

    def _require(self, statement: bytes, question: HalfVector | Vector, *, indexed: bool) -> None:
        """RuntimeError unless the index is used, or is not."""
        plan = self._connection.execute(b"explain " + statement, [question], prepare=False).fetchall()
        if any("documents_embedding_hnsw" in line for (line,) in plan) is not indexed:
            raise RuntimeError(f"not the plan that was to be measured: {plan}")

    def room(self, rows: int) -> list[Result]:
        """MB that pgvector's graph takes for so many rows, by where it says that the room given is full."""
        results = []
        for vector_type in TYPES:
            self.fresh(rows, "later", vector_type)
            self.write(rows, vector_type)
            fitted = self._fitted(given_mb=2)
            values = {
                f"memory for 100000 rows, {vector_type}, pgvector": [2.0 * 100_000 / fitted],
                f"memory for 100000 rows, {vector_type}, asked for": [
                    float(memory_mb(Size(100_000, DIMS, vector_type, 16)))
                ],
            }
            results += compare("hnsw", "MB", values, next(iter(values)))
        return results

    def _fitted(self, given_mb: int) -> int:
        notices: list[str] = []
        note = lambda diagnostic: notices.append(diagnostic.message_primary or "")  # noqa: E731
        self._connection.add_notice_handler(note)
        self._connection.execute("set max_parallel_maintenance_workers = 0")
        self._connection.execute(f"set maintenance_work_mem = '{given_mb}MB'".encode())
        for (statement,) in self._connection.execute("select pgembedd.index_statements('bench')").fetchall():
            self._connection.execute(statement)
        self._connection.remove_notice_handler(note)
        self._connection.execute("reset all")
        (notice,) = (text for text in notices if "maintenance_work_mem" in text)
        return next(int(word) for word in notice.split() if word.isdigit())

    def found(self, rows: int, questions: Vectors) -> list[Result]:
        """Recall@10 and size of the index, for each type, made first and after."""
        truth = nearest(self._vectors[:rows], questions)
        results = []
        for vector_type in TYPES:
            for way, when in (("after", "later"), ("first", "now")):
                self.fresh(rows, when, vector_type)
                self.write(rows, vector_type)
                if when == "later":
                    self.build()
                results += self._searched(vector_type, way, rows, questions, truth)
        return results

    def _searched(
        self, vector_type: str, way: str, rows: int, questions: Vectors, truth: list[set[int]]
    ) -> list[Result]:
        case = f"{rows} rows, {vector_type}, index {way}"
        size = self._connection.execute("select pg_relation_size('documents_embedding_hnsw')").fetchone()
        results = [Result("hnsw", f"size of the index, {case}", size[0] / 1e6 if size else 0, "MB", (0, 0), None, None)]
        for breadth in (40, 100):
            shares = [
                len(a & b) / 10 for a, b in zip(truth, self._answers(vector_type, questions, breadth), strict=True)
            ]
            mean = float(np.mean(shares))
            results.append(
                Result(
                    "hnsw", f"recall@10, {case}, ef_search {breadth}", mean, "", (min(shares), max(shares)), None, None
                )
            )
        return results

    def _answers(self, vector_type: str, questions: Vectors, breadth: int) -> list[set[int]]:
        """Ids of the ten rows that the index finds for each question."""
        statement = f"select id from documents order by embedding <=> %s::{vector_type} limit 10".encode()
        with self._connection.transaction():
            self._connection.execute(f"set local hnsw.ef_search = {breadth}".encode())
            self._connection.execute("set local enable_seqscan = off")
            self._require(statement, TYPES[vector_type](questions[0]), indexed=True)
            return [
                {row[0] for row in self._connection.execute(statement, [TYPES[vector_type](one)], prepare=False)}
                for one in questions
            ]


def nearest(vectors: Vectors, questions: Vectors) -> list[set[int]]:
    """Positions of the ten vectors nearest to each question by cosine, computed exactly in float32."""
    return [set(np.argpartition(-(vectors @ question), 10)[:10].tolist()) for question in questions]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each load")
    parser.add_argument("--full", action="store_true", help="up to 100,000 rows")
    parser.add_argument("--sizes", type=int, nargs="+", help="loads of these sizes; without --full nothing else")
    return parser.parse_args()


def run(connection: psycopg.Connection, options: argparse.Namespace) -> list[Result]:
    """All cases; with --sizes alone only the loads."""
    real = real_vectors(100_000 if options.full or options.sizes else 2_500)
    questions, rows = real[:QUESTIONS], real[QUESTIONS:]
    sizes = options.sizes or (FULL if options.full else SHORT)
    bench = Bench(connection, filled_up(rows, max(*sizes, len(rows))))
    results = [result for size in sizes for result in bench.loads(size, options.rounds)]
    if options.full or not options.sizes:
        results += bench.room(len(rows)) + bench.found(len(rows), questions)
    return results


def main() -> None:
    """Run it on a private Postgres with Postgres's own defaults for durability."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="pgembedd-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            migrate(server.conninfo())
            with connect(server.conninfo(), autocommit=True) as connection:
                register_vector(connection)
                results = run(connection, options)
    publish(results, versions("pgembedd", "psycopg", "pgvector", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()

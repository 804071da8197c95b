"""Asks a pipeline every question in each mode of search, and measures what it finds."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from pgembedd.database.queries import query
from pgembedd.errors import SearchError
from pgembedd.evaluation.metrics import METRICS
from pgembedd.evaluation.questions import Question, key_text
from pgembedd.model.reranker import Reranker
from pgembedd.search.hits import Hits
from pgembedd.search.passages import READ_CHARACTERS
from pgembedd.search.rerank import MAX_CANDIDATES, fuse
from pgembedd.search.run import search

MODES = ("semantic", "text", "hybrid")
MOST_LOOKED_UP = 1_000  # relevant keys, a fraction of a millisecond each


@dataclass(frozen=True)
class Measured:
    """The metrics of one way to search, as `hybrid, reranked`. Means over all questions, 0 to 1."""

    name: str
    values: dict[str, float]


def available_modes(
    connection: psycopg.Connection, pipeline: str, asked: Question, vector: Sequence[float]
) -> dict[str, str]:
    """Returns the sentence that refuses each mode, "" for a mode that this pipeline can be searched in.

    Raises SearchError for what is refused in every mode.
    """
    refused: dict[str, str] = {}
    for mode in MODES:
        try:
            _search(connection, pipeline, asked.query, mode, vector, k=1)
            refused[mode] = ""
        except SearchError as error:
            if mode == MODES[0] or not _is_refused(error):
                raise
            refused[mode] = error.sentence
    return refused


def _search(
    connection: psycopg.Connection, pipeline: str, text: str, mode: str, vector: Sequence[float], k: int
) -> Hits:
    """Returns the best `k` rows, with the texts for a reranker."""
    length = READ_CHARACTERS
    return search(
        connection, pipeline, text, mode=mode, k=k, embedding=vector, snippet_length=length, snippet_marks=("", "")
    )


def _is_refused(error: SearchError) -> bool:
    return error.is_refusal and error.sqlstate in (
        psycopg.errors.InvalidParameterValue.sqlstate,
        psycopg.errors.ObjectNotInPrerequisiteState.sqlstate,  # a pipeline without a search by words
    )


def evaluate(
    connection: psycopg.Connection,
    pipeline: str,
    questions: Sequence[Question],
    vectors: Sequence[Sequence[float]],
    modes: Sequence[str],
    reranker: Reranker | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Measured]:
    """Measures each mode, and each with reranking where there is a reranker; `progress` gets the questions done.

    A query that a mode refuses, such as one that only excludes words, finds nothing in it.
    """
    results: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for number, (question, vector) in enumerate(zip(questions, vectors, strict=True), start=1):
        for mode in modes:
            try:
                found = _search(connection, pipeline, question.query, mode, vector, MAX_CANDIDATES)
            except SearchError as error:
                if not _is_refused(error):
                    raise
                found = Hits()
            keys = [key_text(hit.key) for hit in found]
            results[mode].append(measure(keys, question))
            if reranker:
                scores = reranker.score(question.query, [hit.snippet or "" for hit in found])
                order = fuse(scores.tolist(), len(found))
                results[f"{mode}, reranked"].append(measure([keys[hit.position] for hit in order], question))
        progress(number)
    return [Measured(name, means(values)) for name, values in results.items()]


def keys_without_row(
    connection: psycopg.Connection, pipeline: str, questions: Sequence[Question]
) -> tuple[list[str], int]:
    """Returns the relevant keys that are of no row that the caller may read, and how many keys were looked up."""
    keys = list(dict.fromkeys(key for question in questions for key in question.relevant))[:MOST_LOOKED_UP]
    values = [Jsonb(json.loads(key) if key.lstrip().startswith("{") else key) for key in keys]
    rows = connection.execute(query("keys_without_row"), {"pipeline": pipeline, "keys": values}).fetchall()
    return [keys[nth - 1] for (nth,) in rows], len(keys)


def measure(keys: Sequence[str], question: Question) -> dict[str, float]:
    """Returns every metric of one result."""
    return {name: metric(keys, question.relevant) for name, metric in METRICS.items()}


def means(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each metric over the questions."""
    return {name: sum(each[name] for each in values) / len(values) for name in METRICS}

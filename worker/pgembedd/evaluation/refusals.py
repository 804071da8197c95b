"""Measures whether questions are refused that a table has no answer to, and no others: from which similarity on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError
from pgembedd.evaluation.questions import Question
from pgembedd.search.run import search
from pgembedd.text.quantities import counted

ANSWER_SOURCES = 6  # that ask() looks for


@dataclass(frozen=True)
class Refusals:
    """The effect of a threshold: shares, from 0 to 1, of the questions with an answer and of those without one."""

    threshold: float
    answered: float
    refused: float

    @property
    def right(self) -> float:
        """The mean of both shares, so that neither kind counts more where it has more questions."""
        return (self.answered + self.refused) / 2


@dataclass(frozen=True)
class Separated:
    """The best similarity that each question finds, in ascending order, and what the thresholds do."""

    with_answer: list[float]
    without: list[float]
    now: Refusals
    best: Refusals

    def to_json(self) -> dict[str, Any]:
        """Returns what is printed with --json."""
        return {
            "with_answer": [round(each, 4) for each in self.with_answer],
            "without_answer": [round(each, 4) for each in self.without],
            "now": vars(self.now),
            "best": vars(self.best),
        }

    def lines(self) -> list[str]:
        """Returns what is printed."""
        found = []
        for name, values in (("with an answer", self.with_answer), ("without one", self.without)):
            low, middle, high = values[0], values[len(values) // 2], values[-1]
            found.append(
                f"{counted(len(values), 'question')} {name}: similarity {low:.3f} to {high:.3f}, median {middle:.3f}"
            )
        for name, at in (("set", self.now), ("best", self.best)):
            shares = f"answers {at.answered:.0%} of the first, refuses {at.refused:.0%} of the second"
            found.append(f"threshold {at.threshold:.3f} ({name}): {shares}")
        return found


def separate(
    connection: psycopg.Connection, pipeline: str, questions: Sequence[Question], vectors: Sequence[Sequence[float]]
) -> Separated:
    """Searches for each question as ask() does; one without relevant rows has no answer in the table."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for question, vector in zip(questions, vectors, strict=True):
        hits = search(connection, pipeline, question.query, k=ANSWER_SOURCES, per="chunk", embedding=vector)
        similarities = [hit.similarity for hit in hits if hit.similarity is not None]
        found[bool(question.relevant)].append(max(similarities, default=-1.0))
    set_to = connection.execute(query("answer_threshold"), {"pipeline": pipeline}).fetchone()
    assert set_to is not None
    return judge(sorted(found[True]), sorted(found[False]), float(set_to[0]))


def judge(with_answer: list[float], without: list[float], threshold: float) -> Separated:
    """Returns what `threshold` does, and the one that is right most often. ConfigurationError where a kind is missing.

    The best threshold lies in the middle between two similarities that were found.
    """
    if not with_answer or not without:
        raise ConfigurationError(
            'The threshold needs questions of both kinds: {"query": "words", "relevant": [1]} where the table has an '
            'answer, and "relevant": [] where it has none.'
        )
    seen = sorted({*with_answer, *without})
    middles = [seen[0] - 0.01, *((low + high) / 2 for low, high in pairwise(seen)), seen[-1] + 0.01]
    each = [_at(round(middle, 3), with_answer, without) for middle in middles]
    return Separated(with_answer, without, _at(threshold, with_answer, without), max(each, key=lambda one: one.right))


def _at(threshold: float, with_answer: Sequence[float], without: Sequence[float]) -> Refusals:
    answered = sum(similarity >= threshold for similarity in with_answer) / len(with_answer)
    return Refusals(threshold, answered, sum(similarity < threshold for similarity in without) / len(without))

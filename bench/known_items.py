"""Known-item retrieval over the standard library's documentation: each question has one right document.

A question is the first sentence of a documentation string, and its document is the rest of that string, without the
name and the signature of what it documents. The same Python gives the same collection.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.corpus import evenly
from pgembedd.cli.demo_documents import Document, standard_library
from pgembedd.evaluation.evaluate import means, measure
from pgembedd.evaluation.metrics import TOP
from pgembedd.evaluation.questions import Question

FEWEST_WORDS = 4
"""Of a question: fewer are a label rather than a sentence."""

SHORTEST_CHARS = 100
"""Of a document: less says too little to be found by."""

Matrix = NDArray[np.float64]
Scores = dict[str, float]
"""Means over all questions by the name of the metric, each from 0 to 1."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n")


@dataclass(frozen=True)
class Collection:
    """The answer to the question at a position is the document at the same position."""

    questions: tuple[str, ...]
    documents: tuple[str, ...]

    def sample(self, count: int) -> "Collection":
        """At most `count` of the pairs, evenly spread."""
        return Collection(tuple(evenly(self.questions, count)), tuple(evenly(self.documents, count)))


def load_collection() -> Collection:
    """Every documentation string of a sentence and more; questions and documents each once; about a second."""
    found: dict[str, str] = {}
    documents: set[str] = set()
    for question, rest in map(_split, standard_library()):
        if len(question.split()) >= FEWEST_WORDS and len(rest) >= SHORTEST_CHARS and rest not in documents:
            documents.add(found.setdefault(question, rest))
    return Collection(tuple(found), tuple(found.values()))


def _split(document: Document) -> tuple[str, str]:
    """The first sentence on one line, and what follows it."""
    docstring = document.text if document.name == document.module else document.text.partition("\n\n")[2]
    sentence = _SENTENCE_END.split(docstring, maxsplit=1)[0]
    return " ".join(sentence.split()), docstring[len(sentence) :].strip()


def ranks(questions: Matrix, documents: Matrix) -> Matrix:
    """The rank from 1 of each question's own document, by dot product with (n, dims) of both; (n,).

    Of documents that are equally near the first in the collection comes first.
    """
    nearness = questions @ documents.T
    own = np.diagonal(nearness)[:, None]
    before = np.tri(len(nearness), k=-1, dtype=bool)
    return np.asarray(1.0 + ((nearness > own) | ((nearness == own) & before)).sum(axis=1))


def scores(ranks: Matrix) -> Scores:
    """The mean of each metric over questions with one right document; one that was not found has the rank infinity."""
    asked = Question("", {"right": 1.0})
    found = (["right" if rank == place else "" for place in range(1, TOP + 1)] for rank in ranks)
    return means([measure(keys, asked) for keys in found])

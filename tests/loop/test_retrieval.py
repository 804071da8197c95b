"""Vectors find rows by meaning, better than matching words does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import psycopg
import pytest

from bench.known_items import Collection, Matrix, ranks, scores
from pgembedd.model import Session, default_model
from tests.support.databases import Database
from tests.support.library import whole_collection


@pytest.fixture(scope="module")
def session() -> Any:
    """gte-small, or where it cannot be had its stand-in, which is then named."""
    name, notice = default_model(notify=print)
    if notice:
        print(notice)
    with Session(name) as loaded:
        yield loaded


def by_meaning(session: Session, collection: Collection) -> Matrix:
    """The rank of each question's document by cosine."""
    questions = session.embed(collection.questions, kind="query").vectors
    return ranks(questions.astype(np.float64), session.embed(collection.documents).vectors.astype(np.float64))


def by_words(connection: psycopg.Connection[Any], collection: Collection) -> Matrix:
    """The same among the ten best by PostgreSQL's full-text search: English stems, any of the question's words.

    Asking for all of them would find next to nothing, as the questions are whole sentences.
    """
    connection.execute("CREATE TEMP TABLE words (number int PRIMARY KEY, lexemes tsvector)")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO words VALUES (%s, to_tsvector('english', %s))", enumerate(collection.documents))
    search = """
        SELECT number FROM words,
            (SELECT replace(plainto_tsquery('english', %s)::text, '&', '|')::tsquery AS any_word) AS asked
        WHERE lexemes @@ any_word ORDER BY ts_rank(lexemes, any_word, 1) DESC, number LIMIT 10"""
    found = [[number for (number,) in connection.execute(search, [text])] for text in collection.questions]
    return np.array([hits.index(own) + 1 if own in hits else math.inf for own, hits in enumerate(found)])


@pytest.mark.parametrize(
    "sample",
    [pytest.param(130, marks=pytest.mark.slow), pytest.param(1_000, marks=pytest.mark.release)],
    ids=["part", "thousand"],
)
def test_meaning_beats_full_text_search(session: Session, database: Database, sample: int) -> None:
    collection = whole_collection().sample(sample)
    with database.connect() as connection:
        words = scores(by_words(connection, collection))["nDCG@10"]
    meaning = scores(by_meaning(session, collection))["nDCG@10"]
    print(
        f"nDCG@10 of the document that a sentence was taken from, among {len(collection.documents)}:"
        f" {session.name} {meaning:.3f}, full-text search {words:.3f}"
    )
    assert meaning > words + 0.03

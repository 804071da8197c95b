"""Vectors find rows by meaning, better than matching words does."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest

from pgembedd.model import Session, default_model
from pgembedd.model.retrieval import Collection, load_cranfield, mean_ndcg_at_10, subset
from tests.support.databases import Database

Rankings = dict[int, list[int]]


@pytest.fixture(scope="module")
def session() -> Any:
    """gte-small, or where it cannot be had its stand-in, which is then named."""
    name, notice = default_model(notify=print)
    if notice:
        print(notice)
    with Session(name) as loaded:
        yield loaded


def by_meaning(session: Session, collection: Collection) -> Rankings:
    """For each query the ten nearest documents by cosine."""
    numbers = np.array(list(collection.documents))
    documents = session.embed(list(collection.documents.values())).vectors
    queries = session.embed(list(collection.queries.values()), kind="query").vectors
    nearest = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    return {query: numbers[row].tolist() for query, row in zip(collection.queries, nearest, strict=True)}


def by_words(connection: psycopg.Connection[Any], collection: Collection) -> Rankings:
    """For each query the ten best by PostgreSQL's full-text search: English stems, any of the query's words.

    Asking for all of them would find next to nothing, as the questions are whole sentences.
    """
    connection.execute("CREATE TEMP TABLE words (number int PRIMARY KEY, lexemes tsvector)")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO words VALUES (%s, to_tsvector('english', %s))", collection.documents.items())
    search = """
        SELECT number FROM words,
            (SELECT replace(plainto_tsquery('english', %s)::text, '&', '|')::tsquery AS any_word) AS asked
        WHERE lexemes @@ any_word ORDER BY ts_rank(lexemes, any_word, 1) DESC, number LIMIT 10"""
    return {
        query: [number for (number,) in connection.execute(search, [text])]
        for query, text in collection.queries.items()
    }


@pytest.mark.parametrize(
    ("queries", "documents"),
    [(15, 130), pytest.param(225, 1400, marks=pytest.mark.slow)],
    ids=["part", "whole collection"],
)
def test_meaning_beats_full_text_search(session: Session, database: Database, queries: int, documents: int) -> None:
    collection = subset(load_cranfield(), queries=queries, documents=documents)
    with database.connect() as connection:
        words = mean_ndcg_at_10(by_words(connection, collection), collection)
    meaning = mean_ndcg_at_10(by_meaning(session, collection), collection)
    print(
        f"nDCG@10 on Cranfield, {len(collection.queries)} queries over {len(collection.documents)} documents:"
        f" {session.name} {meaning:.3f}, full-text search {words:.3f}"
    )
    assert meaning > words + 0.03

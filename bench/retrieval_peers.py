"""Hybrid searches as other projects publish them, over the vectors of the same table; rewritten, with their numbers.

The table has `fts`, a generated tsvector of title and text in English, as their guides make it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg

TOP = 10

DENSE = "select id, embedding <=> %(vector)s as distance from documents order by 2 limit %(limit)s"

SUPABASE = """
    with words as (
        select d.id, row_number() over (order by ts_rank_cd(d.fts, q) desc) as place
        from documents d, websearch_to_tsquery('english', %(query)s) q where d.fts @@ q
        order by place limit 2 * least(%(limit)s, 30)
    ), meaning as (
        select d.id, row_number() over (order by d.embedding <#> %(vector)s) as place
        from documents d order by place limit 2 * least(%(limit)s, 30)
    )
    select id from words full join meaning using (id)
    order by coalesce(1.0 / (50 + words.place), 0) + coalesce(1.0 / (50 + meaning.place), 0) desc limit %(limit)s
"""
"""Supabase's guide on hybrid search: every word must occur; ranks fused with k = 50, windows of twice the limit."""

LANGCHAIN_WORDS = """
    select d.id, ts_rank_cd(d.fts, q) as rank from documents d, plainto_tsquery('english', %(query)s) q
    where d.fts @@ q order by rank desc limit %(limit)s
"""

LLAMAINDEX_WORDS = """
    select d.id, ts_rank(d.fts, q) as rank
    from documents d, to_tsquery('english', nullif(
        replace(plainto_tsquery('english', %(query)s)::text, '&', '|'), '')) q
    where d.fts @@ q order by rank desc limit %(limit)s
"""

PG_VECTORIZE = """
    with words as (
        select d.id, row_number() over (order by ts_rank_cd(d.fts, q) desc) as place
        from documents d, to_tsquery('english', nullif(
            replace(plainto_tsquery('english', %(query)s)::text, ' & ', ' | '), '')) q
        where d.fts @@ q order by ts_rank_cd(d.fts, q) desc limit 5 * %(limit)s
    ), meaning as (
        select id, row_number() over (order by distance) as place
        from (select id, embedding <=> %(vector)s as distance from documents) d order by distance limit 5 * %(limit)s
    )
    select id from words full join meaning using (id)
    order by coalesce(1.0 / (60 + words.place), 0) + coalesce(1.0 / (60 + meaning.place), 0) desc limit %(limit)s
"""
"""pg_vectorize: any word may occur; ranks fused with k = 60, from windows of five times the limit."""

Ask = Callable[[psycopg.Connection, str, str], list[str]]
"""Takes a connection, the query and its vector in pgvector's text form; returns ids, best first."""


def _rows(connection: psycopg.Connection, statement: str, text: str, vector: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode(), {"query": text, "vector": vector, "limit": TOP}).fetchall()


def _ids(statement: str, connection: psycopg.Connection, text: str, vector: str) -> list[str]:
    return [row[0] for row in _rows(connection, statement, text, vector)]


def langchain(connection: psycopg.Connection, text: str, vector: str) -> list[str]:
    """LangChain's PGVectorStore: both lists scaled to 0 to 1 between their own worst and best, and added by half."""
    nearness = [(name, -distance) for name, distance in _rows(connection, DENSE, text, vector)]
    scores: dict[str, float] = {}
    for ranked in (nearness, _rows(connection, LANGCHAIN_WORDS, text, vector)):
        for (name, _), scaled in zip(ranked, _scaled([score for _, score in ranked]), strict=True):
            scores[name] = scores.get(name, 0.0) + scaled / 2
    return sorted(scores, key=lambda name: -scores[name])[:TOP]


def _scaled(scores: Sequence[float]) -> list[float]:
    """From 0 for the lowest to 1 for the highest; all 1 where they are equal."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def llamaindex(connection: psycopg.Connection, text: str, vector: str) -> list[str]:
    """LlamaIndex's PGVectorStore: the nearest first, then those found by words that were not among them."""
    legs = (_ids(statement, connection, text, vector) for statement in (DENSE, LLAMAINDEX_WORDS))
    return list(dict.fromkeys(found for leg in legs for found in leg))[:TOP]


PEERS: dict[str, Ask] = {
    "Supabase": partial(_ids, SUPABASE),
    "LangChain": langchain,
    "LlamaIndex": llamaindex,
    "pg_vectorize": partial(_ids, PG_VECTORIZE),
}

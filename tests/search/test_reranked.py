"""A search from Python with its first hits reranked, by the real reranker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from pgembedd import AsyncDatabase, Hit, Reranker, SearchError
from pgembedd import Database as Searches
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ModelUnavailableError
from tests.support.databases import Database, fresh_database
from tests.support.search import make_source

NEAR = [1.0, 0.5, 0.25]
RERANKER, QUERY = "ms-marco-minilm-l12", "how do I reset my password"
ANSWER = "To reset your password, open the settings and choose Security."


@pytest.fixture(scope="module")
def source(server: EmbeddedPostgres, template: Database) -> Iterator[Database]:
    """`documents` with 40 rows with made-up vectors; the eighth nearest answers the question."""
    try:
        Reranker(RERANKER, notify=print).close()
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    with fresh_database(server, template.name) as database:
        with database.connect() as connection:
            make_source(connection, 40)
            answer(connection, eighth(database))
        yield database


def eighth(database: Database) -> int:
    with Searches(database.conninfo) as searches:
        return int(searches.search("documents", None, embedding=NEAR, k=8)[7].key)


def answer(connection: psycopg.Connection, key: int) -> None:
    connection.execute("set session_replication_role = replica")
    connection.execute("update documents set content = %s where id = %s", (ANSWER, key))


@pytest.mark.slow
def test_the_answer_rises_and_both_orders_count(source: Database) -> None:
    with Searches(source.conninfo) as searches:
        first = searches.search("documents", QUERY, embedding=NEAR, k=30, mode="semantic")
        hits = searches.search("documents", QUERY, embedding=NEAR, k=30, mode="semantic", rerank=RERANKER)
        few = searches.search("documents", QUERY, embedding=NEAR, k=3, mode="semantic", rerank=RERANKER)
    assert sorted(hit.key for hit in hits) == sorted(hit.key for hit in first)
    best = max(hits[:20], key=lambda hit: hit.rerank_score or -100)
    assert "reset" in (best.snippet or "")
    assert hits.index(best) < 7 == [hit.key for hit in first].index(best.key)
    assert best.score == pytest.approx(1 / 61 + 1 / 68)
    assert [hit.key for hit in hits[20:]] == [hit.key for hit in first[20:]]
    assert [hit.rerank_score for hit in hits[20:]] == [None] * 10
    assert [hit.key for hit in few] == [hit.key for hit in hits[:3]], "twenty are reranked whatever k is"


@pytest.mark.slow
def test_it_can_be_used_again_after_its_end(source: Database) -> None:
    searches = Searches(source.conninfo)
    for _ in range(2):
        hits = searches.search("documents", QUERY, embedding=NEAR, k=3, mode="semantic", rerank=RERANKER)
        assert len(hits) == 3
        searches.close()


@pytest.mark.slow
def test_from_asyncio(source: Database) -> None:
    async def ask() -> list[Hit]:
        async with AsyncDatabase(source.conninfo) as searches:
            return await searches.search("documents", QUERY, embedding=NEAR, mode="semantic", rerank=RERANKER)

    with Searches(source.conninfo) as searches:
        assert asyncio.run(ask()) == searches.search(
            "documents", QUERY, embedding=NEAR, mode="semantic", rerank=RERANKER
        )


@pytest.mark.slow
def test_what_cannot_be_reranked_is_said(source: Database) -> None:
    with Searches(source.conninfo) as searches:
        with pytest.raises(SearchError, match="A search without words cannot be reranked"):
            searches.search("documents", None, embedding=NEAR, mode="semantic", rerank=RERANKER)
        with pytest.raises(SearchError, match="choose ms-marco-minilm-l12"):
            searches.search("documents", QUERY, embedding=NEAR, mode="semantic", rerank="nope")
        with pytest.raises(SearchError, match="k 0 is out of range"):
            searches.search("documents", QUERY, embedding=NEAR, mode="semantic", k=0, rerank=RERANKER)

"""The search engine over its two ports: how often it asks the database, the vector, and what a reranker reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from pgembedd.errors import ModelMismatchError, SearchError
from pgembedd.search.engine import SearchEngine
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.search.hits import Pipeline
from pgembedd.search.run import in_transactions
from tests.support.search import make_source
from tests.support.transaction import connection

__all__ = ["connection"]

NEAR = [1.0, 0.5, 0.25]
LONG = "the reset of a password " * 200
SNIPPET: dict[str, Any] = {"snippet_length": 30, "snippet_marks": ["<", ">"]}


@dataclass
class Port:
    """Both ports of an engine: a connection whose works are counted, and models by name."""

    connection: psycopg.Connection
    vectors: dict[str, list[float]] = field(default_factory=lambda: {"gte-small": NEAR})
    embeds: bool = True
    works: int = 0
    read: Sequence[str] = ()

    def run_as(self, work: Any) -> Any:
        self.works += 1
        return in_transactions(self.connection)(work)

    def vector(self, pipeline: Pipeline, text: str) -> list[float]:  # noqa: ARG002  a model would read it
        check_fingerprint(pipeline, "x")
        return self.vectors[pipeline.model]

    def scores(self, reranker: str, query: str, texts: Sequence[str]) -> list[float]:
        """The more relevant, the later it came."""
        assert (reranker, query) == ("backwards", "password")
        self.read = texts
        return [float(position) for position, _ in enumerate(texts)]


@pytest.fixture
def port(connection: psycopg.Connection) -> Port:
    """`documents` with 30 rows, whose contents are long and hold the query's word."""
    make_source(connection, 30, text_config="english")
    connection.execute("set session_replication_role = replica")
    connection.execute("update documents set content = %s", [LONG])
    connection.execute("set session_replication_role = origin")
    return Port(connection)


def test_a_search_asks_once_and_knows_the_pipeline(port: Port) -> None:
    searches = SearchEngine(port.run_as, port)
    first = searches.search("documents", "password", mode="semantic", k=3)
    assert port.works == 2, "what the pipeline is, and the search"
    assert searches.search("documents", "password", mode="semantic", k=3) == first
    assert port.works == 3
    assert [hit.semantic_rank for hit in first] == [1, 2, 3]
    told = searches.explain("documents", "password", mode="semantic", k=2, with_hits=True)
    assert told["semantic"]["hits"][0]["key"] == first[0].key


def test_a_reranked_search_is_one_search(port: Port) -> None:
    """The reranker reads long parts of the texts, without marks; the hits have the snippets that were asked for."""
    searches = SearchEngine(port.run_as, port)
    found = searches.search("documents", "password", k=30, **SNIPPET)
    snippets, before = {hit.key: hit.snippet for hit in found}, port.works
    hits = searches.search("documents", "password", k=5, rerank="backwards", **SNIPPET)

    assert port.works == before + 1
    assert len(port.read) == 20
    assert all(1900 < len(text) <= 2004 and text.count("password") > 50 and "<" not in text for text in port.read)
    assert [hit.rerank_score for hit in hits] == [0.0, 19.0, 1.0, 18.0, 2.0]
    assert [hit.key for hit in hits] == [found[position].key for position in (0, 19, 1, 18, 2)]
    assert [hit.snippet for hit in hits] == [snippets[hit.key] for hit in hits]
    assert all(hit.snippet is not None and "<password>" in hit.snippet and len(hit.snippet) < 50 for hit in hits)
    plain = searches.search("documents", "password", rerank="backwards", snippet_length=0)
    assert [hit.snippet for hit in plain] == [None] * 10
    assert len(port.read[0]) > 1900


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"k": 0}, "k 0 is out of range."),
        ({"snippet_length": -1}, "The option snippet_length is -1."),
        ({"snippet_marks": ["x"]}, 'The option snippet_marks is ["x"].'),
        ({"snippet_marks": ["x", "y" * 65]}, "snippet_marks has 65 characters"),
        ({"snippet_marks": ["x", "\0"]}, "The member of snippet_marks holds a character"),
        ({"semantic_weight": 0, "text_weight": 0}, "Both semantic_weight and text_weight are 0."),
    ],
    ids=str,
)
def test_what_sql_refuses_is_refused_where_it_is_reranked(port: Port, wrong: Any, sentence: str) -> None:
    with pytest.raises(SearchError) as refused:
        SearchEngine(port.run_as, port).search("documents", "password", rerank="backwards", **wrong)
    assert refused.value.sentence.startswith(sentence)
    assert not port.read


def test_another_model_since_is_noticed_even_if_its_vectors_are_longer(port: Port) -> None:
    searches = SearchEngine(port.run_as, port)
    (now,) = searches.pipelines()
    port.vectors["of-before"] = [1.0, 0.5]
    hits = searches.search("documents", "password", mode="semantic", k=2)
    for before in (replace(now, model="of-before"), replace(now, fingerprint="y"), replace(now, model="gte-small@1")):
        port.vectors["gte-small@1"] = [1.0, 0.5, 0.2]
        searches = SearchEngine(port.run_as, port, {"documents": before})
        assert searches.search("documents", "password", mode="semantic", k=2) == hits
        assert searches.search(before, "password", mode="semantic", k=2) == hits


def test_a_pipeline_whose_vectors_are_of_another_model_is_refused(port: Port) -> None:
    port.connection.execute("update pgembedd_internal.pipeline set fingerprint = 'y'")
    with pytest.raises(ModelMismatchError, match="holds vectors of y"):
        SearchEngine(port.run_as, port).search("documents", "password")


def test_without_a_vector_no_pipeline_is_looked_up(port: Port) -> None:
    searches = SearchEngine(port.run_as, port)
    assert len(searches.search("documents", "password", mode="text")) == 0
    assert len(searches.search("documents", "password", mode="semantic", embedding=NEAR)) == 10
    with pytest.raises(SearchError, match="The query is empty"):
        searches.search("documents", "  ")
    assert port.works == 3
    with pytest.raises(SearchError, match='There is no pipeline "gone"'):
        searches.search("gone", "password")

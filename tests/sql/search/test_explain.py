"""explain_search() tells what search() does."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.refusals import refused
from tests.support.search import QUERY, make_source, search
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection"]

EXPLAIN = "select pgembedd.explain_search('documents', null, embedding => %s::vector{})"


def explained(connection: psycopg.Connection, more: str = "") -> Any:
    return value(connection, EXPLAIN.format(more), QUERY)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_each_path(connection: psycopg.Connection, options: dict[str, str]) -> None:
    make_source(connection, 6000, **options)
    by_index = explained(connection)
    assert by_index["semantic"]["path"] == "index"
    assert by_index["semantic"]["index"] == ("chunks" if options else "documents") + "_embedding_hnsw"
    assert by_index["semantic"]["rows_visited"] < 100
    assert (by_index["semantic"]["ef_search"], by_index["semantic"]["iterative_scan"]) == (100, "relaxed_order")
    few = explained(connection, """, filter => '{"id": {"$lt": 30}}'""")
    assert few["semantic"]["path"] == "exact"
    assert few["semantic"]["index"] is None
    assert few["semantic"]["rows_visited"] == (87 if options else 29)  # three chunks each
    assert few["filter"] == "(s.id::pg_catalog.int4 operator(pg_catalog.<) '30'::pg_catalog.int4)"


@pytest.mark.slow
def test_its_list_begins_with_the_hits_of_the_search(connection: psycopg.Connection) -> None:
    make_source(connection, 200)
    plan = explained(connection, ", k => 7, per => 'chunk', min_similarity => 0.1, with_hits => true")
    assert (plan["k"], plan["per"], plan["mode"], plan["row_security"], plan["waiting"]) == (
        7,
        "chunk",
        "semantic",
        False,
        0,
    )
    assert [(hit["key"], hit["rank"], hit["similarity"]) for hit in plan["semantic"]["hits"][:7]] == [
        (hit.key, hit.semantic_rank, hit.similarity) for hit in search(connection, k=7, min_similarity=0.1)
    ]


@pytest.mark.parametrize(("rows", "ef_search"), [(400_000, 400), (1e9, 1000)])
def test_among_more_rows_more_candidates_are_kept(connection: psycopg.Connection, rows: float, ef_search: int) -> None:
    make_source(connection, 20)
    connection.execute("update pg_class set reltuples = %s where oid = 'documents'::regclass", [rows])
    assert explained(connection)["semantic"]["ef_search"] == ef_search
    connection.execute("set local hnsw.ef_search = 777")
    assert explained(connection)["semantic"]["ef_search"] == max(777, ef_search)


def test_without_an_index_the_path_is_exact(connection: psycopg.Connection) -> None:
    make_source(connection, 200, index_type="none")
    assert explained(connection)["semantic"] == {
        "path": "exact",
        "index": None,
        "ef_search": 100,
        "iterative_scan": None,
        "candidates": 10,
        "steps": None,
        "rows_visited": 200,
        "expected_matches": None,
        "expected_costs": None,
    }


def test_it_says_what_the_paths_were_expected_to_cost(connection: psycopg.Connection) -> None:
    make_source(connection, 3000)
    connection.execute("analyze documents")
    for most, cheaper in ((2900, "index"), (2, "exact")):
        near = explained(connection, f""", filter => '{{"id": {{"$lt": {most}}}}}'""")["semantic"]
        assert near["expected_matches"] == pytest.approx(most, rel=0.1, abs=2)
        assert min(near["expected_costs"], key=near["expected_costs"].get) == cheaper
    assert near["path"] == "exact"


def test_a_filter_of_a_table_of_few_rows_is_explained(connection: psycopg.Connection) -> None:
    """There the planner expects an exact scan to cost less than the first visit of the index."""
    make_source(connection, 3)
    connection.execute("analyze documents")
    near = explained(connection, """, filter => '{"id": {"$lt": 3}}'""")["semantic"]
    assert (near["path"], near["expected_matches"]) == ("exact", 2)


def test_a_line_break_in_the_name_of_a_table_hides_no_cost(connection: psycopg.Connection) -> None:
    make_source(connection, 3000)
    connection.execute("analyze documents")
    filtered = """, filter => '{"id": {"$lt": 2500}}'"""
    before = explained(connection, filtered)["semantic"]
    connection.execute('alter table documents rename to "two\nlines"')
    assert explained(connection, filtered)["semantic"] == before


def test_an_exact_scan_compares_each_match(connection: psycopg.Connection) -> None:
    make_source(connection, 3000)
    connection.execute("analyze documents")
    filtered = explained(connection, """, filter => '{"id": {"$lt": 2500}}'""")["semantic"]
    plan = value(connection, "explain (format json) select from documents where embedding is not null and id < 2500")
    compared = filtered["expected_costs"]["exact"] - plan[0]["Plan"]["Total Cost"]
    assert compared == pytest.approx(0.2 * filtered["expected_matches"], rel=0.05)


def test_a_visit_is_dearer_where_a_page_has_few_rows(connection: psycopg.Connection) -> None:
    make_source(connection, 3000)
    connection.execute("analyze documents")
    costs = []
    for pages in (30, 3000):
        connection.execute("update pg_class set relpages = %s where oid = 'documents'::regclass", [pages])
        filtered = explained(connection, """, filter => '{"id": {"$lt": 300}}'""")
        costs.append(filtered["semantic"]["expected_costs"]["index"])
    assert costs[1] > 5 * costs[0]


def test_a_visit_is_dearer_where_the_graph_has_more_links(connection: psycopg.Connection) -> None:
    make_source(connection, 300)
    costs = []
    for links in ("", "with (m = 64, ef_construction = 128)"):
        connection.execute("drop index documents_embedding_hnsw")
        index = f"create index documents_embedding_hnsw on documents using hnsw (embedding halfvec_cosine_ops) {links}"
        connection.execute(index.encode())
        filtered = explained(connection, """, filter => '{"id": {"$lt": 200}}'""")
        costs.append(filtered["semantic"]["expected_costs"]["index"])
    assert costs[1] == pytest.approx(2 * costs[0], rel=0.05)


def test_a_visit_is_dearer_where_the_index_does_not_fit_into_shared_buffers(connection: psycopg.Connection) -> None:
    make_source(connection, 300)
    costs = []
    for pages in (10, 100_000_000):
        index = "update pg_class set relpages = %s where oid = 'documents_embedding_hnsw'::regclass"
        connection.execute(index, [pages])
        filtered = explained(connection, """, filter => '{"id": {"$lt": 200}}'""")
        costs.append(filtered["semantic"]["expected_costs"]["index"])
    assert costs[0] == pytest.approx(0.65 * costs[1], rel=0.05)


def test_it_refuses_what_the_search_refuses(connection: psycopg.Connection) -> None:
    make_source(connection, 1)
    with refused("min_similarity needs the query's vector, and the mode text asks for none."):
        connection.execute("select pgembedd.explain_search('documents', 'x', mode => 'text', min_similarity => 0.1)")

"""What a search by index finds by default, from what `python -m bench.recall` measured with real vectors."""

from __future__ import annotations

import re

import psycopg
import pytest

from bench.page.results import load_runs
from tests.support.search import QUERY, make_source
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection"]

CASE = r"recall@10, (\d+) rows, halfvec, m=(\d+), ef_construction=(\d+), ef_search (\d+)"
MEASURED = {
    tuple(map(int, match.groups())): result.value
    for run in load_runs()
    if run.bench == "recall"
    for result in run.results
    if (match := re.fullmatch(CASE, result.case))
}
EF_SEARCH = (
    "select pgembedd.explain_search('documents', null, mode => 'semantic', embedding => %s::vector)"
    " #> '{semantic,ef_search}'"
)


@pytest.mark.parametrize("rows", sorted({rows for rows, *_ in MEASURED}))
def test_the_ten_nearest_are_found_by_default(connection: psycopg.Connection, rows: int) -> None:
    make_source(connection, 20)
    connection.execute("update pg_class set reltuples = %s where oid = 'documents'::regclass", [rows])
    m = value(connection, "select g.m from pgembedd_internal.pipeline p, pgembedd_internal._graph(p) g")
    ef_search = value(connection, EF_SEARCH, QUERY)
    found = {case: recall for case, recall in MEASURED.items() if case[:2] == (rows, m) and case[3] <= ef_search}
    assert max(found.items(), default=(0, 0), key=lambda each: each[0][3])[1] >= 0.95, found

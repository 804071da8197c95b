"""All pages of a search are cut from one order, whatever their lengths."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.prepared import prepared_for
from tests.support.search import QUERY, make_source, search
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection"]

ROWS = 2000
MODES = ["semantic", "text", "hybrid"]
FILTERS = {"all": None, "some": {"share": {"$lt": 400}}, "few": {"share": {"$lt": 40}}}
WEIGHTS = '{"text_weight": 3, "rrf_k": 10}'
# On either side of each length that a list is made of, and between them.
ENDS = [1, 4, 10, 11, 20, 33, 50, 51, 75, 100, 101, 150, 200, 201, 350, 500, 501, 800, 999, 1000]
# Words of which some are rare, in texts that repeat; a third of the rows have their vector from another.
_TEXTS = """
    update documents set title = case when id % 50 = 0 then 'needle' else 'word' end,
                         content = repeat('word ', 1 + id % 7) || case when id % 9 = 0 then ' common' else '' end
"""
_CHUNKS = "update chunks c set chunk = d.content from documents d where d.id = c.id and c.chunk_index <> 1"
SCANS = """select sum(pg_stat_get_xact_numscans(x.oid)) from pg_class x join pg_am a on a.oid = x.relam
           where a.amname = 'hnsw'"""
_TIED = "update {0} set embedding = (select embedding from {0} o where o.id = {0}.id / 3 * 3 + 1 limit 1) where id > 2"


@prepared_for("column", "table")
def source(connection: psycopg.Connection, destination: str) -> None:
    """Rows with a vector each, or with chunks, many of which are equal, and their words."""
    make_source(
        connection, ROWS, text_config="english", **({"embedding_table": "chunks"} if destination == "table" else {})
    )
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(_TEXTS)
        if destination == "table":
            connection.execute(_CHUNKS)
        connection.execute(_TIED.format("documents" if destination == "column" else "chunks"))
    connection.execute(
        "select pgembedd_internal._fill_words(p, 100000), pgembedd_internal._note_words(p) "
        "from pgembedd_internal.pipeline p"
    )


@pytest.mark.parametrize("per", ["row", "chunk"])
@pytest.mark.parametrize("kept", FILTERS)
@pytest.mark.parametrize("mode", MODES)
def test_pages_of_any_lengths_are_the_parts_of_one(source: psycopg.Connection, mode: str, kept: str, per: str) -> None:
    for options in ("{}", WEIGHTS) if mode == "hybrid" else ("{}",):
        asked: dict[str, Any] = {"query": "needle common word", "mode": mode, "filter": FILTERS[kept], "per": per}
        asked |= {"embedding": None if mode == "text" else QUERY, "options": options}
        whole = search(source, **asked, k=1000)
        assert len({(hit.key, hit.chunk_index) for hit in whole}) == len(whole) > 30
        ends = [0, *(end for end in ENDS if end < len(whole)), min(len(whole) + 1, 1000)]
        pages = [search(source, **asked, k=end - skip, skip=skip) for skip, end in pairwise(ends)]
        assert [hit for page in pages for hit in page] == whole


def test_an_index_scan_under_a_filter_is_made_once_for_a_page(source: psycopg.Connection) -> None:
    connection, kept = source, {"share": {"$lt": 900}}
    connection.execute("analyze; set local cpu_tuple_cost = 5")  # an exact scan costs as much as among many more rows
    asked: dict[str, Any] = {"mode": "semantic", "filter": kept, "per": "chunk", "embedding": QUERY}
    explain = """select pgembedd.explain_search('documents', null, k => %s, mode => 'semantic', per => 'chunk',
                                                filter => %s, embedding => %s::vector) -> 'semantic'"""
    lengths = {10: [10], 20: [10, 20], 45: [10, 20, 50], 100: [10, 20, 50, 100]}
    whole = search(connection, **asked, k=100)
    for k, steps in lengths.items():
        plan = value(connection, explain, k, Jsonb(kept), QUERY)
        assert (plan["path"], plan["steps"], plan["candidates"]) == ("index", steps, steps[-1])
        assert search(connection, **asked, k=k) == whole[:k]
        before = value(connection, SCANS)
        search(connection, **asked, k=k)
        assert value(connection, SCANS) == before + 1

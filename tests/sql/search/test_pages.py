"""All pages of a search are cut from one order, whatever their lengths."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from tests.support.prepared import prepared_for
from tests.support.search import QUERY, make_source, search
from tests.support.transaction import connection

__all__ = ["connection"]

ROWS = 2000
MODES = ["semantic", "text", "hybrid"]
FILTERS = {"all": None, "some": {"share": {"$lt": 400}}, "few": {"share": {"$lt": 40}}}
WEIGHTS = '{"text_weight": 3, "rrf_k": 10}'
# Words of which some are rare, in texts that repeat; a third of the rows have their vector from another.
_TEXTS = """
    update documents set title = case when id % 50 = 0 then 'needle' else 'word' end,
                         content = repeat('word ', 1 + id % 7) || case when id % 9 = 0 then ' common' else '' end
"""
_CHUNKS = "update chunks c set chunk = d.content from documents d where d.id = c.id and c.chunk_index <> 1"
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
    for options in ("{}", WEIGHTS):
        asked: dict[str, Any] = {"query": "needle common word", "mode": mode, "filter": FILTERS[kept], "per": per}
        asked |= {"embedding": None if mode == "text" else QUERY, "options": options}
        whole = search(source, **asked, k=1000)
        assert len({(hit.key, hit.chunk_index) for hit in whole}) == len(whole) > 30
        chosen = random.Random(8)
        starts = [0]
        while starts[-1] < len(whole):
            starts.append(starts[-1] + chosen.choice([1, 3, 10, 20, 50, 200]))
        pages = [search(source, **asked, k=after - skip, skip=skip) for skip, after in pairwise(starts)]
        assert [hit for page in pages for hit in page] == whole

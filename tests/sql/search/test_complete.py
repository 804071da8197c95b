"""A search finds what an exact search finds: as many rows as match, up to k, whatever the filter and the policies."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared_for
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY, fill, make_source, search
from tests.support.sql import column, create_pipeline, value
from tests.support.transaction import connection

__all__ = ["connection"]

ROWS = 4000
KEPT = {"100 %": 1024, "10 %": 102, "1 %": 10, "0.1 %": 1, "nothing": 0}

VISITED = "select pg_stat_get_xact_tuples_returned(%s::regclass)"
BLOCKS = "select pg_stat_get_xact_blocks_fetched(%s::regclass)"
EXACT = {
    "column": "select id from documents where share < %s order by (embedding <=> %s) + 0 limit %s",
    "table": "select id from chunks join documents using (id) where share < %s group by id"
    " order by min(embedding <=> %s) limit %s",
}


@prepared_for("column", "table")
def source(connection: psycopg.Connection, destination: str) -> None:
    """Rows with a vector each, or with chunks."""
    make_source(connection, ROWS, **({"embedding_table": "chunks"} if destination == "table" else {}))


def exact_search(connection: psycopg.Connection) -> str:
    return EXACT["column" if value(connection, "select to_regclass('chunks') is null") else "table"]


@pytest.mark.slow
def test_every_filter_is_complete(source: psycopg.Connection) -> None:
    connection, statement = source, exact_search(source)
    for k in (1, 10, 100):
        for name, share in KEPT.items():
            matches = value(connection, "select count(*) from documents where share < %s", share)
            exact = column(connection, statement, share, QUERY, k)
            found = [hit.key for hit in search(connection, k=k, filter={"share": {"$lt": share}})]
            assert len(found) == len(set(found)) == min(k, matches), name
            assert len(set(found) & set(exact)) >= 0.95 * len(exact), name


@pytest.mark.slow
def test_a_filter_far_from_the_query_is_complete(connection: psycopg.Connection) -> None:
    """The index meets what is near the query first; what passes the filter lies on the other side of the sphere."""
    make_source(connection, 12000)
    far = column(connection, f"select id from documents order by (embedding <=> '{QUERY}') + 0 offset 6000")
    connection.execute("alter table documents disable trigger user")
    connection.execute("update documents set share = -1 where id = any(%s)", [far])
    connection.execute("analyze documents")
    explain = "select pgembedd.explain_search('documents', null, filter => %s, embedding => %s::vector)"
    plan = value(connection, explain, '{"share": -1}', QUERY)
    assert plan["semantic"]["path"] == "index, then exact"
    assert [hit.key for hit in search(connection, filter={"share": -1})] == far[:10]


@pytest.mark.slow
def test_few_matches_are_looked_for_in_the_index_while_it_meets_them(connection: psycopg.Connection) -> None:
    """They are fewer than the index is good for, but may be near; where they are far it stops soon."""
    make_source(connection, 6000)
    nearest_first = column(connection, EXACT["column"], 1024, QUERY, 6000)
    connection.execute("alter table documents disable trigger user")
    few = {-1: nearest_first[10:22], -2: nearest_first[3000:3012]}
    for share, ids in few.items():
        connection.execute("update documents set share = %s where id = any(%s)", [share, ids])
    connection.execute("analyze documents; set local seq_page_cost = 40")
    explain = "select pgembedd.explain_search('documents', null, filter => %s, embedding => %s::vector) -> 'semantic'"
    index = "documents_embedding_hnsw"
    for share, path, most in ((-1, "index", 100), (-2, "index, then exact", 600)):
        plan = value(connection, explain, f'{{"share": {share}}}', QUERY)
        assert plan["expected_costs"]["exact"] < plan["expected_costs"]["index"]
        assert plan["path"] == path
        before = value(connection, VISITED, index)
        found = [hit.key for hit in search(connection, filter={"share": share})]
        visited = value(connection, VISITED, index) - before
        assert 10 < visited < most
        assert len(set(found) & set(few[share][:10])) >= 9, path
    assert visited % 200 == 0, "the index gives so many at once, and walked through its graph for another one"
    assert found == few[-2][:10]


@pytest.mark.slow
def test_an_index_scan_that_meets_more_than_expected_goes_on(connection: psycopg.Connection) -> None:
    """A page of a hundred costs less by the index only where the matches are near, which the first twenty tell."""
    make_source(connection, 6000)
    nearest_first = column(connection, EXACT["column"], 1024, QUERY, 6000)
    connection.execute("alter table documents disable trigger user")
    spread, far = nearest_first[:600:15], nearest_first[3000:3210]
    near = [one for one in nearest_first[:140] if one not in spread][:120]
    kinds = {-1: near, -2: nearest_first[200:210] + far[:110], -3: spread + far[110:190]}
    for share, ids in kinds.items():
        connection.execute("update documents set share = %s where id = any(%s)", [share, ids])
    connection.execute("analyze documents; set local seq_page_cost = 20")
    explain = "select pgembedd.explain_search('documents', null, k => 100, filter => %s, embedding => %s::vector)"
    explain += " -> 'semantic'"
    exactly = ("index, then exact", [10, 20])
    for share, (path, steps) in ((-1, ("index", [10, 20, 50, 100])), (-2, exactly), (-3, exactly)):
        plan = value(connection, explain, f'{{"share": {share}}}', QUERY)
        assert plan["expected_costs"]["index"] < plan["expected_costs"]["exact"] < 5 * plan["expected_costs"]["index"]
        assert (plan["path"], plan["steps"]) == (path, steps)
        whole = [hit.key for hit in search(connection, filter={"share": share}, k=100)]
        assert len(set(whole) & set(kinds[share][:100])) >= 95
        for k in (10, 20, 50):
            assert [hit.key for hit in search(connection, filter={"share": share}, k=k)] == whole[:k]


@pytest.mark.slow
def test_policies_leave_it_complete(roles: Roles, database: Database, source: psycopg.Connection) -> None:
    connection, statement = source, exact_search(source)
    reader = roles.make("reader")
    connection.execute(f"grant select on documents to {reader}; alter table documents enable row level security")
    connection.execute("create policy few on documents using (share < 10)")
    connection.execute("select pgembedd.tick(0, 0)")
    connection.execute("select pgembedd.grant_search(%s)", [reader])
    matches = value(connection, "select count(*) from documents where share < 10")
    with connect_as(database, reader) as theirs:
        found = search(theirs, k=1000)
        assert len(found) == matches
        assert all(hit.record["share"] < 10 for hit in found)
        exact = column(connection, statement, 10, QUERY, 10)
        assert [hit.key for hit in search(theirs, k=10)] == exact
        connection.execute("drop policy few on documents")
        assert search(theirs, k=10) == []


@pytest.mark.slow
def test_a_policy_may_search(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    """The scan under way finds its own settings again."""
    make_source(connection, 2000)
    reader = roles.make("reader")
    connection.execute(
        "create table topics (id int primary key, title text, content text);"
        "insert into topics select i, 'x', 'y' from generate_series(1, 100) i"
    )
    create_pipeline(connection, pipeline="topics", source="topics", index_type="hnsw", backfill=False)
    connection.execute("update topics set embedding = '[1,0,0]'")
    connection.execute(
        "create function has_topics(int) returns boolean language plpgsql stable set search_path = public as $$ begin"
        " return exists (select from pgembedd.search('topics', null, mode => 'semantic', embedding => '[1,0,0]'));"
        " end $$;"
        f"grant select on documents, topics to {reader}; alter table documents enable row level security;"
        "create policy topical on documents using (has_topics(id) and share < 900)"
    )
    connection.execute("select pgembedd.tick(0, 0), pgembedd.grant_search(%s)", [reader])
    exact = column(connection, EXACT["column"], 500, QUERY, 10)
    with connect_as(database, reader) as theirs, theirs.transaction():
        theirs.execute("set local pgembedd.scan_until = 'a caller''s own'")
        found = [hit.key for hit in search(theirs, filter={"share": {"$lt": 500}})]
        assert len(set(found) & set(exact)) >= 9
        assert 10 <= value(theirs, VISITED, "documents_embedding_hnsw") < 100  # the index was used
        assert value(theirs, "show pgembedd.scan_until") == "a caller's own"


def test_without_an_index_it_is_exact(connection: psycopg.Connection) -> None:
    make_source(connection, 500, index_type="none")
    assert [hit.key for hit in search(connection, k=20)] == column(connection, EXACT["column"], 1024, QUERY, 20)
    assert len(search(connection, k=1000)) == 500


def test_an_index_of_other_vectors_is_none_of_these(connection: psycopg.Connection) -> None:
    make_source(connection, 500)
    create_pipeline(connection, pipeline="others", embedding_column="other", backfill=False)
    explain = "select pgembedd.explain_search(%s, null, filter => %s, embedding => %s::vector) #> %s"
    for pipeline, has in (("documents", True), ("others", False)):
        cost = value(connection, explain, pipeline, '{"share": 1}', QUERY, ["semantic", "expected_costs", "index"])
        assert (cost is not None) == has


def make_partitions(connection: psycopg.Connection, count: int, names: Sequence[str] = ("one", "two")) -> None:
    connection.execute(
        "create table documents (id int, part int, title text, content text, primary key (part, id))"
        " partition by list (part)"
    )
    for part, name in enumerate(names, 1):
        connection.execute(f"create table {name} partition of documents for values in ({part})")
    rows = f"select i, i %% %s + 1, 'x', 'y' from generate_series(1, {count}) i"
    connection.execute(f"insert into documents {rows}", [len(names)])
    create_pipeline(connection, index_type="hnsw", backfill=False)
    fill(connection, count)


@pytest.mark.slow
def test_partitions_are_searched_together(connection: psycopg.Connection) -> None:
    make_partitions(connection, 400)
    exact = column(connection, "select id from documents order by (embedding <=> %s) + 0 limit 30", QUERY)
    assert [hit.key["id"] for hit in search(connection, k=30)] == exact
    assert {hit.key["part"] for hit in search(connection, k=30, filter={"part": 2})} == {2}


def test_each_partition_gives_as_many_as_its_own_rows_need(connection: psycopg.Connection) -> None:
    make_partitions(connection, 4)
    for table, rows in (("documents", 2e6), ("one", 600_000), ("two", 400_000)):
        connection.execute("update pg_class set reltuples = %s where oid = %s::regclass", [rows, table])
    explained = "select pgembedd.explain_search('documents', null, embedding => %s::vector)"
    assert value(connection, explained, QUERY)["semantic"]["ef_search"] == 490  # 200 * sqrt(6)


def test_a_table_whose_partitions_are_gone(connection: psycopg.Connection) -> None:
    make_partitions(connection, 0)
    connection.execute("drop table one, two")
    assert search(connection, filter={"title": "x"}) == search(connection) == []


def test_a_filter_that_keeps_all_rows_of_large_partitions(connection: psycopg.Connection) -> None:
    make_partitions(connection, 40)
    for table, rows in (("documents", 4e6), ("one", 2e6), ("two", 2e6)):
        connection.execute("update pg_class set reltuples = %s where oid = %s::regclass", [rows, table])
    assert len(search(connection, filter={"title": "x"})) == 10
    assert len(search(connection, filter={"title": "x"}, k=40)) == 40


RANKED = """
    with ranked as (select id, row_number() over (order by (embedding <=> %s) + 0) as rank from documents)
    update documents d set
        title = case when rank > 3000 then 'other' else 'x' end,
        part = case when rank > 3000 then 13 when rank > 24 then 10 + rank %% 3 when rank > 9 then 1 else rank end
    from ranked r where r.id = d.id
"""


@pytest.mark.slow
def test_of_a_scan_of_partitions_that_was_given_up_nothing_is_believed(connection: psycopg.Connection) -> None:
    """Twelve parts have given a match when the last one, which has none, ends the scan: they are not the nearest."""
    names = [f"part_{n}" for n in range(13)]
    make_partitions(connection, 12000, names)
    connection.execute("alter table documents disable trigger user")
    connection.execute(RANKED, [QUERY])
    connection.execute("analyze documents; set local seq_page_cost = 60")
    exact = "select id from documents where title = 'x' order by (embedding <=> %s) + 0 limit 30"
    pages = [[hit.key["id"] for hit in search(connection, filter={"title": "x"}, skip=skip)] for skip in (0, 10, 20)]
    assert sum(value(connection, VISITED, f"{name}_embedding_idx") for name in names) > 3 * 1000
    assert [id for page in pages for id in page] == column(connection, exact, QUERY)


@pytest.mark.slow
def test_an_index_of_each_partition_is_read_where_all_cost_less_than_the_table(connection: psycopg.Connection) -> None:
    """Each gives its first match only after all that it gives at once, here 200 rows."""
    make_partitions(connection, 6000, names=[f"part_{n}" for n in range(30)])
    paths = []
    for cost in (20, 50, 100, 200, 400, 1000):
        connection.execute(f"set local seq_page_cost = {cost}")
        filtered = """select pgembedd.explain_search('documents', null, filter => '{"title": "x"}',
                                                     embedding => %s::vector)"""
        paths.append(value(connection, filtered, QUERY)["semantic"]["path"])
    assert paths == sorted(paths)
    assert set(paths) == {"exact", "index"}


@pytest.mark.slow
def test_a_search_of_partitions_stops_where_the_matches_are_far(connection: psycopg.Connection) -> None:
    """The first of them tell how far; of the further ones each gives a row without a search for more."""
    names = [f"part_{n}" for n in range(10)]
    make_partitions(connection, 12000, names)
    exact = "select id from documents order by (embedding <=> %s) + 0 offset 10800"
    far = column(connection, exact, QUERY)
    connection.execute("alter table documents disable trigger user")
    connection.execute("update documents set title = 'far' where id = any(%s)", [far])
    connection.execute("analyze documents; set local seq_page_cost = 60")
    before = [value(connection, BLOCKS, f"{name}_embedding_idx") for name in names]
    assert [hit.key["id"] for hit in search(connection, filter={"title": "far"})] == far[:10]
    visited = [value(connection, VISITED, f"{name}_embedding_idx") for name in names]
    assert 200 <= sum(visited) < 3000  # of 12,000
    blocks = [value(connection, BLOCKS, f"{name}_embedding_idx") - n for name, n in zip(names, before, strict=True)]
    assert max(blocks[1:]) < blocks[0] / 5


@pytest.mark.slow
@pytest.mark.parametrize("part", ["current_setting('app.part')::int", "(select current_setting('app.part')::int)"])
def test_a_policy_leaves_out_partitions_when_the_search_begins(
    roles: Roles, database: Database, connection: psycopg.Connection, part: str
) -> None:
    make_partitions(connection, 6000)
    reader = roles.make("reader")
    connection.execute(f"grant select on documents to {reader}; alter table documents enable row level security")
    connection.execute(f"create policy own on documents using (part = {part})")
    connection.execute("select pgembedd.tick(0, 0), pgembedd.grant_search(%s)", [reader])
    exact = column(connection, "select id from documents where part = 2 order by (embedding <=> %s) + 0", QUERY)
    with connect_as(database, reader) as theirs:
        theirs.execute("set app.part = 2; set seq_page_cost = 40")
        found = [hit.key["id"] for hit in search(theirs)]
        assert len(set(found) & set(exact[:10])) >= 9
        theirs.execute("set app.part = 7")
        assert search(theirs) == []


@pytest.mark.slow
def test_a_filter_keeps_partitions_out_of_an_index_scan(connection: psycopg.Connection) -> None:
    """A scan of all of them begins with a match of each."""
    make_partitions(connection, 6000)
    connection.execute("set local seq_page_cost = 40")
    exact = "select id from documents where part = %s order by (embedding <=> %s) + 0 limit 10"
    for part, other in ((1, "two"), (2, "one")):
        before = value(connection, VISITED, f"{other}_embedding_idx")
        found = [hit.key["id"] for hit in search(connection, filter={"part": part})]
        assert len(set(found) & set(column(connection, exact, part, QUERY))) >= 9
        assert value(connection, VISITED, f"{other}_embedding_idx") == before
    assert before > 0  # the index was used
    assert search(connection, filter={"part": 7}) == []  # none is left


@pytest.mark.slow
def test_an_index_of_what_a_filter_keeps_is_used(connection: psycopg.Connection) -> None:
    make_source(connection, 6000)
    connection.execute("drop index documents_embedding_hnsw")
    connection.execute("create index few on documents using hnsw (embedding halfvec_cosine_ops) where share < 300")
    connection.execute("set local seq_page_cost = 40")
    exact = column(connection, "select id from documents where share < 300 order by (embedding <=> %s) + 0", QUERY)
    found = [hit.key for hit in search(connection, filter={"share": {"$lt": 300}})]
    assert len(set(found) & set(exact[:10])) >= 9
    assert value(connection, VISITED, "few") > 0

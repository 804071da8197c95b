"""search() in its two forms: what it returns, of which rows, and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from pgvector import Vector
from psycopg.types.json import Jsonb

from pgembedd.database.migrate import migrate
from tests.support.databases import Database
from tests.support.embed_requests import Hand
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY, Hit, make_source, search
from tests.support.sql import call, column, connected, create_pipeline, made_up, make_documents, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]


def test_a_hit_has_key_scores_snippet_and_row(connection: psycopg.Connection) -> None:
    make_source(connection, 20)
    nearest = value(connection, "select id from documents order by embedding <=> %s limit 1", QUERY)
    distance = value(connection, "select embedding <=> %s from documents where id = %s", QUERY, nearest)
    hit = search(connection, k=3)[0]
    assert (hit.key, hit.chunk_index, hit.semantic_rank, hit.text_rank) == (nearest, None, 1, None)
    assert hit.similarity == hit.score == pytest.approx(1 - distance)
    assert hit.snippet == f"title {nearest}\n\ncontent {nearest}"
    assert set(hit.record) == {"id", "title", "content", "share"}


def test_the_typed_form_gives_rows_of_the_table(connection: psycopg.Connection) -> None:
    make_source(connection, 20)
    found = rows(
        connection,
        "select hit.key, s.id, s.title, hit.score from pgembedd.search(null::documents, null, k => 4, embedding => %s)"
        " hit, unnest(array[hit.record]) s",
        QUERY,
    )
    assert [(key, id_, title) for key, id_, title, _ in found] == [
        (hit.key, hit.record["id"], hit.record["title"]) for hit in search(connection, k=4)
    ]


def test_the_query_is_embedded_by_a_worker(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    make_source(connection, 20)
    hand = Hand(other)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(search, connection, query="some words", embedding=None)
        hand.answer(hand.take_one(), QUERY)
        assert asked.result() == search(connection)


@pytest.mark.parametrize("index_type", ["hnsw", "none"])
def test_vectors_at_right_angles_have_a_similarity_of_0_and_not_of_minus_0(
    connection: psycopg.Connection, index_type: str
) -> None:
    make_source(connection, 1, index_type=index_type, distance="ip")
    connection.execute("set local session_replication_role = replica; update documents set embedding = '[1,0,0]'")
    (hit,) = search(connection, embedding="[0,1,0]")
    assert str(hit.similarity) == "0.0"


@pytest.mark.parametrize("distance", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("vector_type", ["halfvec", "vector"])
def test_similarity_falls_with_the_distance(connection: psycopg.Connection, distance: str, vector_type: str) -> None:
    make_source(connection, 200, distance=distance, vector_type=vector_type)
    operator = {"cosine": "<=>", "l2": "<->", "ip": "<#>"}[distance]
    exact = column(connection, f"select id from documents order by (embedding {operator} %s) + 0 limit 20", QUERY)
    found = search(connection, k=20)
    assert [hit.key for hit in found] == exact
    similarities = [hit.similarity or 0 for hit in found]
    assert similarities == sorted(similarities, reverse=True)
    assert [hit.key for hit in search(connection, k=20, min_similarity=similarities[4])] == exact[:5]
    most = {"cosine": 1, "l2": 1, "ip": 1000}[distance]
    assert search(connection, min_similarity=most) == []


@pytest.mark.parametrize(
    ("distance", "good", "bad", "hint"),
    [
        ("cosine", (-1, 1), (-1.01, 1.01, "NaN", "-Infinity"), "With the cosine distance it goes from -1 to 1."),
        ("l2", (0, 1), (-0.01, 1.01, "NaN", "Infinity"), "With the distance l2 it goes from 0 to 1."),
        ("ip", (-1e9, 1e9), ("NaN", "Infinity", "-Infinity"), "With the distance ip it is any finite number."),
    ],
)
def test_a_similarity_that_no_vectors_have_is_refused(
    connection: psycopg.Connection, distance: str, good: tuple[float, ...], bad: tuple[object, ...], hint: str
) -> None:
    make_source(connection, 3, distance=distance)
    asked = ", 'x', embedding => '[1,0,0]', min_similarity => %s)"
    calls = (
        f"select pgembedd.search('documents'{asked}",
        f"select pgembedd.search(null::documents{asked}",
        f"select pgembedd.explain_search('documents'{asked}",
        "select pgembedd.similar('documents', '1', min_similarity => %s)",
        "select pgembedd.search_many('{documents}', 'x', min_similarity => %s)",
        "select pgembedd.configure_answers('documents', min_similarity => %s)",
    )
    for statement in calls:
        for least in bad:
            with refused(f"min_similarity {least} is out of range.", hint), connection.transaction():
                connection.execute(statement, [least])
    for statement in (*calls[:4], *calls[5:]):
        for least in good:
            connection.execute(statement, [least])


def test_chunks_of_one_row_are_one_hit(connection: psycopg.Connection) -> None:
    make_source(connection, 200, embedding_table="chunks")
    by_chunk = search(connection, k=60, per="chunk")
    assert len(by_chunk) == 60
    assert len({(hit.key, hit.chunk_index) for hit in by_chunk}) == 60
    by_row = search(connection, k=12)
    best: dict[Any, Hit] = {}
    for hit in by_chunk:
        best.setdefault(hit.key, hit)
    assert [(hit.key, hit.chunk_index, hit.similarity) for hit in by_row] == [
        (hit.key, hit.chunk_index, hit.similarity) for hit in list(best.values())[:12]
    ]
    assert by_row[0].snippet == value(
        connection, "select chunk from chunks where id = %s and chunk_index = %s", by_row[0].key, by_row[0].chunk_index
    )


def test_one_row_with_very_many_chunks_leaves_room_for_others(connection: psycopg.Connection) -> None:
    make_source(connection, 30, embedding_table="chunks")
    connection.execute(
        "insert into chunks select 7, i, 'c', 0, 1, %s::vector, '', 'x', 1, 1 from generate_series(10, 900) i", [QUERY]
    )
    found = search(connection, k=30)
    assert found[0].key == 7
    assert len({hit.key for hit in found}) == 30


def test_what_is_gone_is_not_found(connection: psycopg.Connection) -> None:
    make_source(connection, 50, embedding_table="chunks")
    connection.execute("delete from documents where id <= 20")
    connection.execute("alter table documents disable trigger user; delete from documents where id <= 30")  # orphans
    found = search(connection, k=50)
    assert {hit.key for hit in found} == set(range(31, 51))


def test_rows_without_a_vector_are_told_of_while_they_wait(connection: psycopg.Connection) -> None:
    make_documents(connection, 5)
    create_pipeline(connection)
    told: list[str | None] = []
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
    assert search(connection) == []
    rest = "in the backfill: rows without a vector are not found yet, others by their old one."
    assert told == [f'5 jobs of "documents" wait {rest}']
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    assert len(search(connection)) == 5
    assert len(told) == 1


ODD = """
    create schema "odd {schema}";
    create domain "odd {schema}"."a key" as text;
    create type "odd {schema}".colour as enum ('red', 'green');
    create table "odd {schema}"."my ""odd"" table" (
        "s" "odd {schema}"."a key", "k %s" "odd {schema}".colour, "v" int, "{source}" text, "row" text, i jsonb,
        primary key ("s", "k %s"));
    insert into "odd {schema}"."my ""odd"" table" values
        ('a''b', 'red', 1, 'one', 'r', '{"a": 1}'), ('a''b', 'green', 2, 'two', 'r', null),
        ('{key}', 'red', 3, '%s', 'r', '[]')
"""


@pytest.mark.own_database
@pytest.mark.parametrize("options", [{}, {"embedding_table": '"my chunks"'}], ids=["column", "table"])
def test_odd_names_and_keys(connection: psycopg.Connection, options: dict[str, Any]) -> None:
    connection.execute(ODD.encode())
    create_pipeline(connection, source='"odd {schema}"."my ""odd"" table"', content_columns=["{source}"], **options)
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    found = search(connection, embedding=Vector(made_up("%s")))
    assert found[0].key == {"s": "{key}", "k %s": "red"}
    assert found[0].record == {"s": "{key}", "k %s": "red", "v": 3, "{source}": "%s", "row": "r", "i": []}
    assert found[0].snippet == "%s"
    assert {hit.record["v"] for hit in found} == {1, 2, 3}
    assert [hit.record["v"] for hit in search(connection, filter={"s": "a'b", "k %s": {"$gt": "red"}})] == [2]
    assert [hit.record["v"] for hit in search(connection, filter={"i.a": 1, "row": "r"})] == [1]
    typed = """select (hit.record)."v" from pgembedd.search(null::"odd {schema}"."my ""odd"" table", null,
               embedding => %s) hit"""
    assert sorted(column(connection, typed, QUERY)) == [1, 2, 3]


def test_hits_are_in_the_order_of_their_similarity(connection: psycopg.Connection) -> None:
    make_source(connection, 3000)
    connection.execute("set local enable_seqscan = off; set local enable_sort = off")  # as among many more rows
    found = [hit.similarity for hit in search(connection, k=1000)]
    assert len(found) == 1000
    for began, ended in ((0, 100), (100, 250), (250, 1000)):
        part = found[began:ended]
        assert part == sorted(part, key=lambda one: -(one or 0)), "the index gives them in the order of rounded vectors"


SETTINGS = ["hnsw.ef_search", "hnsw.iterative_scan", "hnsw.max_scan_tuples", "search_path"]


def test_settings_are_the_callers_again(connection: psycopg.Connection) -> None:
    make_source(connection, 50)
    settings = "select array_agg(current_setting(n)) from unnest(%s::text[]) n"
    scan = """select pgembedd_internal._search_nearest(pgembedd_internal._search_target('documents', null),
                                              jsonb_populate_record(null::pgembedd_internal._asked, %s))"""
    asked = {"wanted": 10, "per": "row", "embedding": QUERY, "near_condition": "1 / (s.id - s.id) = 0"}
    asked |= {"matches": 50, "exact_cost": 1e6, "parts": 1}
    connection.execute("set hnsw.ef_search = 77; set hnsw.iterative_scan = strict_order")
    before = value(connection, settings, SETTINGS)
    with connection.transaction():
        search(connection, k=1000)
        assert value(connection, settings, SETTINGS) == before
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute(scan, [Jsonb(asked)])
        assert value(connection, settings, SETTINGS) == before
    assert value(connection, settings, SETTINGS) == before


def test_a_change_of_model_while_the_query_is_embedded_is_refused(
    connection: psycopg.Connection, other: psycopg.Connection, database: Database
) -> None:
    make_source(connection, 10)
    hand = Hand(other)
    with ThreadPoolExecutor() as pool, connected(database) as third:
        asked = pool.submit(search, connection, query="some words", embedding=None)
        question = hand.take_one()
        third.execute("update pgembedd_internal.pipeline set name = 'previous'")
        hand.answer(question, QUERY)
        with refused('The model of "documents" was changed at this moment.', "again"):
            asked.result()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("'documents', ' '", "The query is empty.", "words"),
        ("'documents', null", "The query is empty.", "words"),
        ("'documents', 'x', k => 0", "k 0 is out of range.", "1 to 1000"),
        ("'documents', 'x', k => 1000000", "k 1000000 is out of range.", "1 to 1000"),
        ("'documents', 'x', k => null", "k NULL is out of range.", "1 to 1000"),
        ("'documents', 'x', mode => 'magic'", "The mode 'magic' is not known.", "semantic"),
        ("'documents', 'x', per => 'table'", "per 'table' is not known.", "chunk"),
        ("'documents', 'x', min_similarity => 'NaN'", "min_similarity NaN is out of range.", "-1 to 1"),
        ("'documents', 'x', min_similarity => 1.01", "min_similarity 1.01 is out of range.", "-1 to 1"),
        ("'documents', 'x', min_similarity => -1.5", "min_similarity -1.5 is out of range.", "-1 to 1"),
        ("'documents', 'x', skip => -1", "skip -1 is out of range.", "first page"),
        ("'nope', 'x'", 'There is no pipeline "nope".', "There are: documents."),
        ("null::text, 'x'", "There is no pipeline NULL.", "There are: documents."),
        ("null::integer, 'x'", "integer is not the type of a table's rows.", "by its name"),
        ("null::bare, 'x'", "public.bare has no pipeline, so there is nothing to search.", "create_pipeline"),
        (
            "null::bare, 'x', pipeline => 'documents'",
            'The pipeline "documents" is of public.documents, not of public.bare.',
            "leave",
        ),
        (
            "'documents', 'x', embedding => '[1,2]'",
            'The vector has 2 dimensions, and those of the pipeline "documents" have 3.',
            "model",
        ),
        (
            "'documents', 'x', embedding => '[0,0,0]'",
            "The vector has zeros alone, and the cosine of that is not defined.",
            "model",
        ),
        ("'documents', 'x'", "No worker is connected that could embed the text.", "pgembedd run"),
    ],
)
def test_refusals(connection: psycopg.Connection, arguments: str, message: str, hint: str) -> None:
    make_documents(connection)
    connection.execute("create table bare (id int primary key)")
    create_pipeline(connection)
    with refused(message, hint):
        connection.execute(f"select pgembedd.search({arguments})")


@pytest.mark.own_database
def test_a_table_with_several_pipelines_needs_a_name(connection: psycopg.Connection) -> None:
    make_source(connection, 10)
    create_pipeline(connection, pipeline="second", embedding_column="second", backfill=False)
    typed = "select count(*) from pgembedd.search(null::documents, null, embedding => %s{})"
    with refused("public.documents has several pipelines: documents, second.", "pipeline => 'documents'"):
        connection.execute(typed.format(""), [QUERY])
    assert value(connection, typed.format(", pipeline => 'documents'"), QUERY) == 10


def test_a_table_that_was_dropped_is_told_of(connection: psycopg.Connection) -> None:
    make_source(connection, 10)
    connection.execute("drop table documents")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="was dropped"):
        search(connection)


def test_a_paused_pipeline_can_be_searched(connection: psycopg.Connection) -> None:
    make_source(connection, 10)
    call(connection, "pause", pipeline="documents")
    assert len(search(connection)) == 10


@pytest.mark.parametrize(
    ("content", "length", "snippet"),
    [
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two …"),
        ("one two three", 7, "one two …"),
        ("one two three", 6, "one …"),
        ("one\ntwo\tthree", 8, "one\ntwo …"),
        ("onetwothree", 3, "one …"),
        ("ünï cödé", 4, "ünï …"),
        ("one   two", 5, "one …"),
        ("", 5, ""),
        (None, 5, None),
    ],
)
def test_a_snippet_is_cut_at_a_word(
    connection: psycopg.Connection, content: str | None, length: int, snippet: str | None
) -> None:
    assert value(connection, "select pgembedd_internal._beginning(%s::text, %s)", content, length) == snippet


def test_a_column_that_was_dropped_leaves_the_rows_whole(connection: psycopg.Connection) -> None:
    make_source(connection, 5)
    connection.execute("alter table documents drop column share")
    connection.execute("alter table documents add column later text default 'z'")
    typed = (
        "select (hit.record).later, (hit.record).title from pgembedd.search(null::documents, null, embedding => %s) hit"
    )
    assert {later for later, _ in rows(connection, typed, QUERY)} == {"z"}
    assert search(connection)[0].record.keys() == {"id", "title", "content", "later"}


@pytest.mark.slow
def test_vector_may_live_in_any_schema(roles: Roles, empty_database: Database) -> None:
    reader = roles.make("reader")
    with empty_database.connect() as admin:
        admin.execute('create schema "my extensions"; create extension vector schema "my extensions"')
    migrate(empty_database.conninfo)
    path = 'set search_path to public, "my extensions"'
    with connected(empty_database) as connection, connect_as(empty_database, reader) as theirs:
        connection.execute(path)
        make_source(connection, 200)
        connection.execute("select pgembedd.grant_search(%s)", [reader])
        connection.execute(f"grant select on documents to {reader}")
        theirs.execute(path)
        assert [hit.key for hit in search(theirs, filter={"id": {"$lte": 7}})] != []
        assert len(search(theirs, k=200)) == 200
        assert "embedding" not in search(theirs)[0].record


def test_a_key_of_floats_is_found_with_any_number_of_digits(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id float8 primary key, title text, content text)")
    connection.execute("insert into documents select i / 7.0, 'title', 'content' from generate_series(1, 10) i")
    create_pipeline(connection)
    connection.execute("select pgembedd_internal.pin_model(1, 'x')")
    work(connection)
    connection.execute("set extra_float_digits = 0")
    assert len(search(connection, k=10)) == 10


def test_a_key_of_a_domain_is_not_checked_with_the_callers_rights(connection: psycopg.Connection) -> None:
    connection.execute("""
        create table seen (who text);
        create function look(int) returns boolean language plpgsql as
            'begin insert into public.seen values (current_user); return true; end';
        create domain checked as int check (public.look(value));
        create table documents (id checked primary key, title text, content text);
        insert into documents values (1, 'title', 'content')""")
    create_pipeline(connection)
    connection.execute("select pgembedd_internal.pin_model(1, 'x')")
    work(connection)
    connection.execute("truncate seen")
    assert [hit.key for hit in search(connection)] == [1]
    assert connection.execute("select * from seen").fetchall() == []

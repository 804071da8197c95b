"""Filters: data that is compiled with the types and operators of the columns, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.support.refusals import refused
from tests.support.search import search
from tests.support.sql import create_pipeline, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

SOURCE = """
    create extension if not exists citext;
    create type colour as enum ('red', 'green', 'blue');
    create domain year as int check (value > 0);
    create table documents (
        id int primary key, content text, section varchar(20), published year, price numeric(8, 2), at timestamptz,
        day date, tint colour, tags text[], sizes int[], metadata jsonb, old json, span int4range, flag boolean,
        name citext, code char(5), place point, secret text);
    insert into documents values
        (1, 'a', 'faq', 2019, 9.5, '2024-01-01 12:00Z', '2024-01-01', 'red', '{new,"a b"}', '{1,2}',
         '{"year": 2019, "by": {"name": "Ann"}, "tags": ["x", "y"], "ok": true}', '{"n": 1}', '[1,5)', true,
         'Alpha', 'ab', '(1,1)'),
        (2, 'b', 'faq', 2021, 20, '2024-06-01 12:00Z', '2024-06-01', 'green', '{old}', '{3}',
         '{"year": 2021, "by": {"name": "Bob"}, "tags": [], "ok": false}', '{"n": 2}', '[5,9)', false,
         'beta', 'cd', '(2,2)'),
        (3, 'c', 'guide', 2023, 30.25, '2025-01-01 12:00Z', '2025-01-01', 'blue', '{}', '{}',
         '{"year": "2023", "note": null}', null, null, null, 'GAMMA', 'ef', null),
        (4, 'd', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)
"""

FILTERS: list[tuple[Any, str]] = [
    (None, "true"),
    ({}, "true"),
    ({"section": "faq"}, "section = 'faq'"),
    ({"section": None}, "section is null"),
    ({"section": {"$ne": "faq"}}, "section is distinct from 'faq'"),
    ({"section": {"$ne": None}}, "section is not null"),
    ({"published": {"$gte": 2021}}, "published >= 2021"),
    ({"published": {"$gt": 2019, "$lt": 2023}}, "published > 2019 and published < 2023"),
    ({"published": {"$lte": 2021.0}}, "published <= 2021"),
    ({"published": "2021"}, "published = 2021"),
    ({"published": {"$in": [2019, 2023]}}, "published in (2019, 2023)"),
    ({"published": {"$in": [2019, None]}}, "published = 2019 or published is null"),
    ({"published": {"$in": []}}, "false"),
    ({"published": {"$nin": [2019, 2023]}}, "published = 2021 or published is null"),
    ({"published": {"$nin": []}}, "true"),
    ({"published": {"$between": [2020, 2023]}}, "published between 2020 and 2023"),
    ({"price": {"$gt": 9.49}}, "price > 9.49"),
    ({"at": {"$lt": "2024-06-01T12:00:00Z"}}, "at < '2024-06-01 12:00Z'"),
    ({"day": {"$between": ["2024-01-01", "2024-12-31"]}}, "extract(year from day) = 2024"),
    ({"tint": {"$gt": "red"}}, "tint > 'red'"),
    ({"tint": {"$in": ["red", "blue"]}}, "tint in ('red', 'blue')"),
    ({"tags": {"$contains": "new"}}, "'new' = any (tags)"),
    ({"tags": {"$contains": ["a b", "new"]}}, "tags @> '{new,\"a b\"}'"),
    ({"tags": ["old"]}, "tags = '{old}'"),
    ({"sizes": {"$contains": [3]}}, "3 = any (sizes)"),
    ({"sizes": {"$in": [[3], []]}}, "sizes in ('{3}', '{}')"),
    ({"span": "[1,5)"}, "span = '[1,5)'"),
    ({"flag": True}, "flag"),
    ({"flag": {"$ne": True}}, "flag is not true"),
    ({"name": "ALPHA"}, "name = 'alpha'"),
    ({"name": {"$gte": "b"}}, "name >= 'b'"),
    ({"code": "ab"}, "code = 'ab'"),
    ({"section": {"$like": "f%"}}, "section like 'f%'"),
    ({"section": {"$ilike": "F_Q"}}, "section = 'faq'"),
    ({"place": {"$exists": True}}, "place is not null"),
    ({"place": {"$exists": False}}, "place is null"),
    ({"metadata.year": 2019}, "metadata ->> 'year' = '2019'"),
    ({"metadata.year": "2023"}, "metadata ->> 'year' = '2023'"),
    ({"metadata.year": {"$gte": 2000}}, "metadata ->> 'year' in ('2019', '2021')"),
    ({"metadata.year": {"$between": [2020, 2022]}}, "metadata ->> 'year' = '2021'"),
    ({"metadata.by.name": {"$in": ["Ann", "Eve"]}}, "metadata #>> '{by,name}' = 'Ann'"),
    ({"metadata.by.name": {"$ilike": "B%"}}, "metadata #>> '{by,name}' = 'Bob'"),
    ({"metadata.by": {"$exists": True}}, "metadata ? 'by'"),
    ({"metadata.note": None}, "metadata ->> 'note' is null"),
    ({"metadata.tags.0": "x"}, "metadata #>> '{tags,0}' = 'x'"),
    ({"metadata.tags": {"$contains": ["y"]}}, "metadata -> 'tags' ? 'y'"),
    ({"metadata": {"$contains": {"ok": True}}}, "(metadata ->> 'ok')::boolean"),
    ({"metadata.ok": {"$ne": True}}, "(metadata ->> 'ok')::boolean is not true"),
    ({"old.n": {"$gt": 1}}, "(old ->> 'n')::int > 1"),
    ({"$and": [{"section": "faq"}, {"flag": False}]}, "section = 'faq' and not flag"),
    ({"$or": [{"section": "guide"}, {"flag": True}]}, "section = 'guide' or flag"),
    ({"$not": {"section": "faq"}}, "section is distinct from 'faq'"),
    ({"$not": {"$or": [{"section": "faq"}, {"id": {"$gt": 3}}]}}, "id = 3"),
    ({"section": "faq", "$or": [{"id": 1}, {"id": 3}]}, "id = 1"),
    ({"section": "x' or true --"}, "false"),
    ({"section": {"$like": "' or '' like '"}}, "false"),
    ({"metadata.by'.name": "x"}, "false"),
    ({"tags": {"$contains": ["}', 'x"]}}, "false"),
]

REFUSED = [
    ([], "The filter [] is no object.", "For example"),
    ("x", 'The filter "x" is no object.', "For example"),
    ({"yeer": 1}, 'public.documents has no column "yeer" that you may filter by.', "There are: id, content, section"),
    ({"embedding": 1}, 'public.documents has no column "embedding" that you may filter by.', "There are: id"),
    ({"section.x": 1}, 'public.documents has no column "section.x" that you may filter by.', "There are: id"),
    ({"ctid": 1}, 'public.documents has no column "ctid" that you may filter by.', "There are: id"),
    ({"id": {"$gte": "x"}}, 'The filter compares "id", which is integer, with "x".', "invalid input syntax"),
    ({"id": 1.5}, 'The filter compares "id", which is integer, with 1.5.', "invalid input syntax"),
    ({"id": 99999999999}, 'The filter compares "id", which is integer, with 99999999999.', "out of range"),
    ({"at": "soon"}, 'The filter compares "at", which is timestamp with time zone, with "soon".', "invalid input"),
    ({"tint": "pink"}, 'The filter compares "tint", which is public.colour, with "pink".', "pink"),
    ({"id": [1, 2]}, 'The filter compares "id", which is integer, with [1, 2].', "$in"),
    ({"tags": "x"}, 'The filter compares "tags", which is text[], with "x".', "malformed array"),
    ({"id": {"gte": 1}}, "The filter's operator gte is not known.", "$gte"),
    ({"id": {"$regex": "x"}}, "The filter's operator $regex is not known.", "$ilike"),
    ({"$nor": []}, "The filter's operator $nor is not known here.", "$and, $or and $not"),
    ({"id": {}}, 'The filter says nothing about "id".', "$gte"),
    ({"$and": []}, "$and takes an array of filters, not [].", "For example"),
    ({"$or": {}}, "$or takes an array of filters, not {}.", "For example"),
    ({"$not": 5}, "The filter 5 is no object.", "For example"),
    ({"id": {"$in": 5}}, "$in takes an array, not 5.", None),
    ({"id": {"$between": [1]}}, "$between takes an array of two values, not [1].", None),
    ({"id": {"$gt": None}}, "$gt takes a value, not null.", None),
    ({"section": {"$like": 5}}, "$like takes a string, not 5.", None),
    ({"id": {"$exists": 5}}, "$exists takes true or false, not 5.", None),
    ({"id": {"$like": "1%"}}, '$like does not go with "id", which is integer.', "for texts"),
    ({"id": {"$contains": 1}}, '$contains does not go with "id", which is integer.', "for arrays"),
    (
        {"tags": [["a"]]},
        'The filter compares "tags", which is text[], with [["a"]].',
        "Arrays and objects within an array",
    ),
    (json.loads(99 * '{"$not": ' + "{}" + 99 * "}"), "The filter is nested more than 64 levels deep.", "arrays count"),
    (
        json.loads(99 * '{"$or": [{"n": 1}, ' + '{"n": 2}' + 99 * "]}"),
        "The filter is nested more than 64 levels deep.",
        "arrays count",
    ),
    ({"$or": 1001 * [{"id": 1}]}, "The filter has more than 1000 columns and operators.", "$in takes any number"),
    ({"place": "(1,1)"}, '$eq does not go with "place", which is point.', "with an order"),
]


@pytest.fixture(params=[{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def documents(connection: psycopg.Connection, request: pytest.FixtureRequest) -> psycopg.Connection:
    """Four rows of many types with their vectors, or chunks."""
    connection.execute(SOURCE)
    create_pipeline(connection, content_columns=["content"], **request.param)
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    return connection


def test_the_condition_of_a_filter_is_that_of_its_sql(connection: psycopg.Connection) -> None:
    """The short form of the next one, without the searches."""
    connection.execute(SOURCE)
    for filter, condition in FILTERS:
        made = value(
            connection, "select pgembedd_internal._search_filter('documents'::regclass, %s)", json.dumps(filter)
        )
        kept = [
            {id_ for (id_,) in rows(connection, f"select id from documents s where {one}")} for one in (made, condition)
        ]
        assert kept[0] == kept[1], filter


PLAIN: list[dict[str, Any]] = [
    {"id": 1},
    {"id": "2"},
    {"content": {"$gte": "b'\\"}},
    {"id": {"$gt": -1}, "content": {"$lte": "c"}, "price": {"$lt": 20}},
]
OTHERS: list[Any] = [
    *({}, "x", [1], {"id": {}}, {"id": {"$gt": 1, "$lt": 3}}, {"id": {"$in": [1]}}, {"id": {"$nope": 1}}, {"id": None}),
    *(
        {"id": 1.5},
        {"id": 10_000_000_000},
        {"id": [1]},
        {"content": 1},
        {"content": True},
        {"nope": 1},
        {"day": "2024-01-01"},
    ),
    *({"$and": [{"id": 1}]}, {"id": 1, "tags": "new"}, {"content": "x" * 1000}),
]


def test_a_plain_filter_has_the_same_condition(connection: psycopg.Connection) -> None:
    connection.execute(SOURCE)
    create_pipeline(connection, content_columns=["content"])
    plain = "select pgembedd_internal._search_plain_filter(pgembedd_internal._search_target('documents', null), %s)"
    condition = "select pgembedd_internal._search_filter('documents'::regclass, %s)"
    for filter in PLAIN:
        made = value(connection, plain, json.dumps(filter))
        assert made == value(connection, condition, json.dumps(filter)), filter
    for other in OTHERS:
        assert value(connection, plain, json.dumps(other)) is None, other


@pytest.mark.slow
def test_a_filter_means_what_its_sql_means(documents: psycopg.Connection) -> None:
    for filter, condition in FILTERS:
        kept = {id_ for (id_,) in rows(documents, f"select id from documents where {condition}".replace("%", "%%"))}
        assert {hit.key for hit in search(documents, filter=filter)} == kept, filter


def test_what_makes_no_sense_is_refused(documents: psycopg.Connection) -> None:
    for filter, message, hint in REFUSED:
        with refused(message, hint):
            search(documents, filter=json.dumps(filter))


@pytest.mark.own_database
def test_an_index_on_the_column_serves(documents: psycopg.Connection) -> None:
    documents.execute("create index on documents (published); create index on documents using gin (metadata)")
    documents.execute("set enable_seqscan = off")
    for filter, index in (
        ({"published": {"$gte": 2023}}, "documents_published_idx"),
        ({"published": {"$in": [2019, 2021]}}, "documents_published_idx"),
        ({"metadata.year": 2019}, "documents_metadata_idx"),
    ):
        (condition,) = documents.execute(
            "select pgembedd_internal._search_filter('documents'::regclass, %s)", [json.dumps(filter)]
        ).fetchone() or ("",)
        plan = rows(documents, "explain (format json) select from documents s where " + condition)
        assert index in json.dumps(plan), condition

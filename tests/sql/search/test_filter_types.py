"""Filters on columns of rarer types: what is read back from a hit may be searched for, or is refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.support.refusals import refused
from tests.support.search import QUERY, search
from tests.support.sql import create_pipeline
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.fixture
def typed(connection: psycopg.Connection) -> psycopg.Connection:
    """Two rows, and a third one of nulls."""
    connection.execute("""
        create type pair as (a int, b int);
        create domain positive as int check (value > 0);
        create type mood as enum ('sad', 'happy');
        create table documents (id int primary key, content text, language regconfig, kin regclass, docs json[],
            more jsonb[], spots point[], p pair, counts positive[], words text[],
            feeling mood);
    """)
    create_pipeline(connection, content_columns=["content"], dimensions=3)
    connection.execute("""
        insert into documents values
            (1, 'a', 'english', 'documents', '{"{}"}', array['{"a": 1}'::jsonb], '{}', row(1, null), '{1,2}', '{x}'),
            (2, 'b', 'german', 'pg_class', '{}', '{}', '{}', row(null, null), '{3}', '{y}'),
            (3, 'c', null, null, null, null, null, null, null, null);
    """)
    connection.execute(f"update documents set embedding = '{QUERY}'")
    return connection


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"language": "english"}, {1}),
        ({"language": {"$in": ["german", "pg_catalog.english"]}}, {1, 2}),
        ({"kin": "pg_class"}, {2}),
        ({"kin": "public.documents"}, {1}),
        ({"p": {"$exists": True}}, {1, 2}),
        ({"p": {"$exists": False}}, {3}),
        ({"p": None}, {3}),
        ({"p": {"$ne": None}}, {1, 2}),
        ({"docs": {"$exists": False}}, {3}),
        ({"words": {"$contains": "x"}}, {1}),
        ({"content": {"$like": "a\\\\"}}, set()),
    ],
)
def test_what_a_column_holds_is_found(typed: psycopg.Connection, filter: Any, found: set[int]) -> None:
    assert {hit.key for hit in search(typed, filter=json.dumps(filter))} == found


@pytest.mark.parametrize(
    ("column", "filter", "matches"),
    [
        ("insensitive", {"$like": "how%"}, True),
        ("insensitive", {"$like": "hot%"}, False),
        ("insensitive", {"$ilike": "HOW%"}, True),
        ("domain_of_it", {"$like": "how%"}, True),
        ("short", {"$like": "how%"}, False),
        ("short", {"$like": "How%"}, True),
        ("short", {"$ilike": "how%"}, True),
        ("named", {"$like": "How_"}, True),
        ("padded", {"$like": "How?"}, True),  # without the blanks at its end, unlike SQL
    ],
)
def test_like_is_that_of_the_type(
    connection: psycopg.Connection, column: str, filter: dict[str, str], matches: bool
) -> None:
    connection.execute("""
        create schema extensions; create extension citext schema extensions;
        create domain phrase as extensions.citext; create domain word as varchar(9);
        create table documents (id int primary key, content text, insensitive extensions.citext, domain_of_it phrase,
                                short word, named name, padded char(9));
    """)
    create_pipeline(connection, content_columns=["content"], dimensions=3)
    connection.execute("insert into documents values (1, 'a', 'How?', 'How?', 'How?', 'How?', 'How?')")
    connection.execute(f"update documents set embedding = '{QUERY}'")
    connection.execute("create function no(extensions.citext, extensions.citext) returns bool return false")
    connection.execute("""
        create operator ~~ (function = no, leftarg = extensions.citext, rightarg = extensions.citext);
        create operator ~~* (function = no, leftarg = extensions.citext, rightarg = extensions.citext);
    """)  # not of the extension, though
    assert bool(search(connection, filter={column: filter})) is matches


@pytest.mark.parametrize(
    ("filter", "message", "hint"),
    [
        ({"language": "klingon"}, 'The filter compares "language", which is regconfig, with "klingon".', "klingon"),
        ({"id": "1'2"}, 'The filter compares "id", which is integer, with "1\'2".', "invalid input syntax"),
        ({"docs": ["{}"]}, '$eq does not go with "docs", which is json[].', "types with an order"),
        ({"docs": {"$contains": "{}"}}, '$contains does not go with "docs", which is json[].', "types with an order"),
        ({"spots": {"$contains": "(1,1)"}}, '$contains does not go with "spots", which is point[].', "order"),
        ({"counts": {"$contains": -1}}, '$contains does not go with "counts", which is public.positive[].', "order"),
        ({"more": {"$contains": {"a": 1}}}, 'The filter compares "more", which is jsonb[], with [{"a": 1}].', "object"),
        ({"feeling": {"$like": "s%"}}, '$like does not go with "feeling", which is public.mood.', "are for texts"),
        ({"content": {"$like": "Reset\\"}}, 'The pattern "Reset\\\\" for "content" ends with a backslash.', "twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(typed: psycopg.Connection, filter: Any, message: str, hint: str) -> None:
    with refused(message, hint):
        search(typed, filter=json.dumps(filter))

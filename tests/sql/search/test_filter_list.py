"""Lists in a filter: as many values as one likes cost what one array costs, and mean what single values mean."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.sql.search.test_filter import documents
from tests.support.refusals import refused
from tests.support.search import search
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection", "documents"]

ODD = ['a"b', "c\\d", "{e,f}", "NULL", "", " ", "g,h", "(1)", "é"]
OTHERS = [-number for number in range(1, 301)]


def found(connection: psycopg.Connection, filter: dict[str, Any]) -> set[int]:
    return {hit.key for hit in search(connection, filter=filter)}


@pytest.mark.parametrize("more", [[], OTHERS], ids=["few", "many"])
def test_a_long_list_means_what_a_short_one_means(documents: psycopg.Connection, more: list[int]) -> None:
    texts = [str(number) for number in more]
    assert found(documents, {"id": {"$in": [1, 3, *more]}}) == {1, 3}
    assert found(documents, {"id": {"$nin": [1, 3, *more]}}) == {2, 4}
    assert found(documents, {"published": {"$nin": [2019, None, *more]}}) == {2, 3}
    assert found(documents, {"published": {"$in": [None, *more]}}) == {4}
    assert found(documents, {"name": {"$in": ["ALPHA", "Beta", *texts]}}) == {1, 2}
    assert found(documents, {"section": {"$in": ["faq", *texts]}}) == {1, 2}
    assert found(documents, {"metadata.year": {"$in": [2019.0, "2023", [], {"a": 1}, *more]}}) == {1, 3}
    assert found(documents, {"metadata.year": {"$nin": [2019, None, *more]}}) == {2, 3}
    assert found(documents, {"$not": {"metadata.year": {"$in": [2019, None, *more]}}}) == {2, 3}
    assert found(documents, {"sizes": {"$in": [[1, 2], [], None, *([number] for number in more)]}}) == {1, 3, 4}


def test_any_text_may_be_in_a_list(documents: psycopg.Connection) -> None:
    for text in ODD:
        documents.execute("update documents set name = %s where id = 2", [text])
        assert found(documents, {"name": {"$in": [*ODD, "x"]}}) == {2}
        assert found(documents, {"name": {"$in": [each for each in ODD if each != text]}}) == set()


def test_a_value_that_the_type_does_not_read_is_named_wherever_it_stands(documents: psycopg.Connection) -> None:
    for place in (0, 7, 1_000, 1_999):
        values: list[Any] = list(range(2_000))
        for wrong in ("x", 1.5, [1], {"a": 1}):
            values[place] = wrong
            with refused(f'The filter compares "id", which is integer, with {json.dumps(wrong)}.'):
                search(documents, filter={"id": {"$in": values}})


def test_a_list_is_one_condition(connection: psycopg.Connection) -> None:
    """And so are the plans of it, and the statements by which it is tried."""
    connection.execute("create extension if not exists citext")
    connection.execute("create table documents (id int primary key, name citext, metadata jsonb)")
    for column in ("id", "name", "metadata.year"):
        for operator in ("$in", "$nin"):
            filter = json.dumps({column: {operator: list(range(100_000))}})
            condition = value(connection, "select pgembedd_internal._search_filter('documents'::regclass, %s)", filter)
            assert condition.count("operator(") <= 3
            assert len(condition) < 2 * len(filter)


def test_lists_are_bounded_by_what_they_are_when_written_out(documents: psycopg.Connection) -> None:
    with refused('The values of "price" in the filter have 13107200 characters, more than 8000000.', "join"):
        documents.execute(
            "select count(*) from pgembedd.search('documents', null, embedding => '[1,1,1]', filter =>"
            " jsonb_build_object('price', jsonb_build_object('$in', array_fill(1e131071, array[100]))))"
        )
    with refused('"sizes" is compared with 1001 arrays, and at most 1000 are taken.'):
        search(documents, filter={"sizes": {"$in": [[number] for number in range(1_001)]}})

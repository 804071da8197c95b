"""Keys of any type and name: each that a search returns leads back to its row."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.sql.generated_code.test_keys import KEYS, TYPES, _names
from tests.sql.search.test_words import sample
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.search import Hit, search
from tests.support.sql import create_pipeline, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

OURS = ("pgembedd0", "pgembedd0_score", "%1$s", "50 %")


@prepared
def typed(connection: psycopg.Connection) -> None:
    """The types of the keys."""
    connection.execute(TYPES)


def found_in(connection: psycopg.Connection, columns: str, samples: list[str], names: str, **options: Any) -> list[Hit]:
    """The hits of a hybrid search that finds every row of a table with that key."""
    connection.execute(f"create table documents ({columns}, content text, primary key ({names}))")
    create_pipeline(connection, content_columns=["content"], text_config="english", **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    for one in samples:
        connection.execute(f"insert into documents values ({one}, 'an apple')")
    work(connection)
    sample(connection)
    by_mode = {mode: search(connection, query="apple", mode=mode) for mode in ("semantic", "text", "hybrid")}
    keys = [sorted(json.dumps(hit.key, sort_keys=True) for hit in hits) for hits in by_mode.values()]
    assert keys[0] == keys[1] == keys[2]
    return by_mode["hybrid"]


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_is_found_leads_to_its_row(connection: psycopg.Connection, kind: str) -> None:
    columns, samples = KEYS[kind]
    assert len(found_in(connection, columns, samples, _names(columns))) == len(samples)
    found = "select count(*) from pgembedd.search('documents', 'apple', mode => 'text') s"
    assert value(connection, f"{found} where pgembedd.search_row('documents', s.key) = s.record") == len(samples)
    # All others are like it: in Python a number of many digits would be another one.
    similar = f"{found}, pgembedd.similar('documents', s.key) o where o.key <> s.key"
    assert value(connection, similar) == len(samples) * (len(samples) - 1)


@pytest.mark.parametrize("destination", [{}, {"embedding_table": "chunks"}])
def test_a_column_of_the_key_that_was_renamed(connection: psycopg.Connection, destination: dict[str, str]) -> None:
    found_in(connection, "id int", ["1"], "id", **destination)
    connection.execute("alter table documents rename id to number")
    with (
        refused(
            "The primary key of public.documents changed. Change it back, or drop the pipeline "
            '"documents" and create it again.'
        ),
        connection.transaction(),
    ):
        search(connection, query="apple", mode="text")
    connection.execute("alter table documents rename number to id")
    assert len(search(connection, query="apple", mode="text")) == 1


@pytest.mark.parametrize("destination", [{}, {"embedding_column": "%s %"}, {"embedding_table": "chunks"}])
def test_columns_called_like_names_of_our_own(connection: psycopg.Connection, destination: dict[str, str]) -> None:
    names = ", ".join(f'"{name}"' for name in OURS)
    columns = ", ".join(f'"{name}" int' for name in OURS)
    (hit,) = found_in(connection, columns, ["1, 2, 3, 4"], names, **destination)
    assert hit.key == dict(zip(OURS, (1, 2, 3, 4), strict=True))


def test_a_column_called_like_that_of_the_words(connection: psycopg.Connection) -> None:
    with refused(
        'The key column "pgembedd_words" of public.documents is called like that of its words.', "text_config => 'none'"
    ):
        found_in(connection, "pgembedd_words int", [], "pgembedd_words")

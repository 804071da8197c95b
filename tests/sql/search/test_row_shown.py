"""What a hit shows of its row: 32 KB, with the largest values cut and named; the backend never holds the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.search import QUERY, Hit, make_source, search
from tests.support.sql import connected, qualified, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

MOST = 32_768
MEGABYTE = 1_000_000
ROWS = 60
# Values that compress to little, and one that has few bytes in JSON and many as text.
LARGE = """
    alter table documents add column note text, add column data jsonb, add column raw bytea, add column sizes numeric[],
        add column huge numeric;
    alter table documents alter column content set storage external;
    update documents set content = repeat(chr(1) || 'é', {0} / 3), note = 'short',
        data = jsonb_build_object('a', repeat('x', {0})), raw = decode(repeat('00', {0} / 2), 'hex'),
        sizes = array_fill(7::numeric, array[{0} / 20]), huge = '1e131071'
"""


def hit_of(connection: psycopg.Connection, **options: Any) -> Hit:
    return search(connection, k=1, **options)[0]


def test_a_row_is_shown_as_it_is_up_to_its_bound(connection: psycopg.Connection) -> None:
    make_source(connection, 1)
    connection.execute("update documents set content = repeat('x', 32000)")
    whole = hit_of(connection).record
    assert (len(whole["content"]), "pgembedd_cut" in whole) == (32_000, False)
    connection.execute("update documents set content = repeat('x', 33000)")
    cut = hit_of(connection).record
    assert cut["pgembedd_cut"] == ["content"]
    assert cut["content"].strip("x") == "…"
    assert 5_000 < len(cut["content"]) < 6_000
    assert cut | {"content": "", "pgembedd_cut": 0} == whole | {"content": "", "pgembedd_cut": 0}
    assert len(value(connection, "select pgembedd.search_row('documents', '1')")["content"]) == 33_000


def test_every_kind_of_large_value_is_cut_and_named(connection: psycopg.Connection) -> None:
    make_source(connection, 1)
    connection.execute(LARGE.format(MEGABYTE))
    for found in (
        hit_of(connection).record,
        value(connection, "select record from pgembedd.search('documents', null, embedding => %s::vector)", QUERY),
        value(connection, "select pgembedd.search_row('documents', '1', bytes => 32768)"),
    ):
        assert found["pgembedd_cut"] == ["content", "data", "huge", "raw", "sizes"]
        assert (found["note"], found["data"], found["sizes"], found["huge"]) == ("short", None, None, None)
        assert found["raw"].startswith("\\x0000")
        assert found["raw"].endswith("…")
        assert found["content"].startswith("\x01é")
        assert found["content"].endswith("…")
        assert len(json.dumps(found)) <= MOST + 1_000
    for wrong in (0, 10**9):
        with refused(f"bytes {wrong} is out of range."):
            connection.execute("select pgembedd.search_row('documents', '1', bytes => %s)", [wrong])


# Of the second, the row has few bytes in JSON, and many as text.
@pytest.mark.parametrize(("type_", "filled", "count"), [("text", "repeat('x', 1000)", 300), ("float8", "1e-300", 140)])
def test_many_small_values_are_cut_too(connection: psycopg.Connection, type_: str, filled: str, count: int) -> None:
    connection.execute("create table wide (id int primary key)")
    columns = [f"c{n}" for n in range(count)]
    connection.execute("alter table wide " + ", ".join(f"add {column} {type_}" for column in columns))
    connection.execute("insert into wide (id) values (1)")
    connection.execute("update wide set " + ", ".join(f"{column} = {filled}" for column in columns))
    connection.execute(
        "select pgembedd.create_pipeline('wide', 'wide', array['c0'], dimensions => 3, backfill => false)"
    )
    connection.execute("update wide set embedding = '[1,1,1]'")
    row = search(connection, "wide")[0].record
    assert set(row) == {"id", "pgembedd_cut", *columns}
    assert 0 < len(row["pgembedd_cut"]) < count
    assert value(connection, "select octet_length(%s::jsonb::text)", Jsonb(row)) < MOST + 16 * count


# More than a function takes arguments, of values that are told apart by their size, and of the texts of a snippet.
@pytest.mark.parametrize(("type_", "content"), [("numeric", "content_columns => '{title}'"), ("text", "of_all")])
def test_a_table_of_many_columns_is_shown(connection: psycopg.Connection, type_: str, content: str) -> None:
    columns = [f"c{n}" for n in range(120)]
    wide = ", ".join(f"{column} {type_} default '7'" for column in columns)
    connection.execute(f"create table wide (id int primary key, title text default 'It is seven.', {wide})")
    connection.execute("create function of_all(wide) returns text language sql as 'select $1.title'")
    content = content if "=>" in content else f"content_function => '{content}'"
    connection.execute(
        f"select pgembedd.create_pipeline('wide', 'wide', {content}, dimensions => 3, backfill => false)"
    )
    connection.execute("insert into wide (id, embedding) values (1, '[1,1,1]')")
    hit = search(connection, "wide")[0]
    assert set(hit.record) == {"id", "title", *columns}
    assert hit.snippet
    assert len(rows(connection, "select * from pgembedd.row_status('wide', '{1}')")) == 1


def test_a_snippet_marks_a_hundred_words(connection: psycopg.Connection) -> None:
    make_source(connection, 1, text_config="simple")
    connection.execute("update documents set content = repeat('x ', 6000)")
    connection.execute("select pgembedd_internal._fill_words(p, 10) from pgembedd_internal.pipeline p")
    for length in (300, 10_000):
        marked = hit_of(
            connection,
            query="x",
            mode="text",
            embedding=None,
            snippet_length=length,
            snippet_marks=["<" * 64, ">" * 64],
        )
        assert marked.snippet is not None
        assert marked.snippet.count("<") == marked.snippet.count(">") == 6_400
    for marks, sentence in (
        (["<" * 65, ""], "snippet_marks has 65 characters, and at most 64 are taken."),
        (["<"] * 3, 'The option snippet_marks is ["<", "<", "<"].'),
    ):
        with refused(sentence):
            hit_of(connection, query="x", mode="text", embedding=None, snippet_marks=marks)


def peak_mb(connection: psycopg.Connection) -> int:
    """Of the memory of the session's backend, shared buffers included."""
    status = Path(f"/proc/{connection.info.backend_pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


MARKED = "jsonb_build_object('snippet_marks', array[%(mark)s, %(mark)s], 'snippet_length', 10000)"
CALLS = [
    f"select {shown} from {qualified(function)}"
    for shown in ("count(*)", "jsonb_agg(record)")
    for function in (
        "search('documents', null, 1000, embedding => %(vector)s::vector)",
        f"search('documents', 'x', 1000, mode => 'text', options => {MARKED})",
        "similar('documents', '1', 1000)",
        "search_many(array['documents'], 'x', 1000, mode => 'text')",
        "search('documents', null, 1000, %(in)s, embedding => %(vector)s::vector)",
        "search('documents', null, 1000, %(in_json)s, embedding => %(vector)s::vector)",
        "search('documents', null, 1000, %(nin)s, embedding => %(vector)s::vector)",
    )
] + ["select pgembedd.explain_search('documents', null, 1000, %(in)s, embedding => %(vector)s::vector)"]


@pytest.mark.release
def test_the_memory_of_a_backend_is_bounded(database: Database) -> None:
    """Rows of two megabytes, and lists of 300,000 values in a filter."""
    with connected(database) as connection:
        make_source(connection, ROWS, text_config="simple")
        connection.execute(LARGE.format(2 * MEGABYTE))
        connection.execute("select pgembedd_internal._fill_words(p, 1000) from pgembedd_internal.pipeline p")
    many = list(range(0, 600_000, 2))
    values = {
        "vector": QUERY,
        "mark": "<" * 64,
        "in": Jsonb({"id": {"$in": many}}),
        "in_json": Jsonb({"data.a": {"$in": many}}),
        "nin": Jsonb({"$or": [{"id": {"$nin": many}}, {"title": {"$in": [f"title {n}" for n in many[:100_000]]}}]}),
    }
    for statement in CALLS:
        with connected(database) as connection:
            connection.execute(statement, values)
            assert peak_mb(connection) < 350, statement

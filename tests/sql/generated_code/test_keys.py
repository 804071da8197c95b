"""Any primary key, any name: every row is enqueued, read, written and acknowledged by its key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, LANES, call, column, create_pipeline, queued, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

# Key columns, and two rows of them.
KEYS: dict[str, tuple[str, list[str]]] = {
    "int": ("id int", ["1", "-2"]),
    "smallint": ("id smallint", ["1", "2"]),
    "bigint": ("id bigint", ["9223372036854775807", "-9223372036854775808"]),
    "uuid": ("id uuid", ["'6b1f0f3e-6a6c-4d0e-8a0e-0d8d2d9a9a01'", "gen_random_uuid()"]),
    "text": ("id text", ["'it''s \"quoted\" \\ ünï€ 😀 %s %% {1}'", "E'tab\\t newline\\n'"]),
    "empty text": ("id text", ["''", "' '"]),
    "json in text": ("id text", ["'null'", "'{\"id\": 1}'"]),
    "varchar": ("id varchar(5)", ["'a'", "'abcde'"]),
    "char": ("id char(5)", ["'a'", "'abcde'"]),
    "name": ("id name", ["'a'", "'b'"]),
    "boolean": ("id boolean", ["true", "false"]),
    "date": ("id date", ["'2024-02-01'", "'infinity'"]),
    "timestamptz": ("id timestamptz", ["'2024-02-01 12:13:14.123456+05'", "'-infinity'"]),
    "timestamp": ("id timestamp", ["'2024-02-01 12:13:14.123456'", "'4711-01-01 BC'"]),
    "interval": ("id interval", ["'-1 day 2 hours'", "'-1 day -2 hours'"]),
    "numeric": ("id numeric", ["1.50", "'NaN'"]),
    "long numeric": ("id numeric", ["12345678901234567890.123456789012345678901234567890", "-0.000"]),
    "float": ("id float8", ["0.1::float8 + 0.2::float8", "'Infinity'"]),
    "real": ("id real", ["0.1::real", "1e30"]),
    "bytea": ("id bytea", ["'\\x00ff5c'", "''"]),
    "inet": ("id inet", ["'10.0.0.1/8'", "'::1'"]),
    "bit": ("id bit varying", ["B'101'", "B''"]),
    "jsonb": ("id jsonb", ["'{\"a\": [1, null]}'", "'\"x\"'"]),
    "int array": ("id int[]", ["'{1,2}'", "'{}'"]),
    "two dimensions": ("id int[]", ["'{{1,2},{3,4}}'", "'{{1},{2}}'"]),
    "text array": ("id text[]", ['\'{"a,b","c\\"d"}\'', "array[null, 'null']"]),
    "range": ("id daterange", ["'[2024-02-01,2024-03-04)'", "'(,)'"]),
    "enum": ("id mood", ["'happy'", "'so ''so\"'"]),
    "enum array": ("id mood[]", ["'{happy}'", "array['so ''so\"']::mood[]"]),
    "domain": ("id positive", ["1", "2"]),
    "domain over an enum": ("id good_mood", ["'happy'"]),
    "composite type": ("id pair", ["row(1, 'a,\"b')::pair", "row(2, null)::pair"]),
    "citext": ("id citext", ["'Ab'", "'b'"]),
    "ltree": ("id ltree", ["'a.b'", "'a'"]),
    "composite key": ("a int, b text, c date", ["1, 'x', '2024-02-01'", "1, '', '2024-02-01'"]),
    "composite of user types": ("a mood, b citext", ["'happy', 'X'", "'happy', 'y'"]),
    "names like ours": (
        "n int, hash int, embedding_ int, id text, k int, i int, s int, l int, w int",
        ["1, 2, 3, 'a', 5, 6, 7, 8, 9", "1, 2, 3, 'b', 5, 6, 7, 8, 9"],
    ),
    "one name like ours": ("n int", ["1", "2"]),
    "a variable's name": ("affected int", ["1", "2"]),
    "new_rows": ("new_rows int", ["1", "2"]),
    "quoted": ('"Key ""of"" % 100$1" int', ["1", "2"]),
    "a dollar quote": ('"$q$ $body$" int', ["1", "2"]),
    "a reserved word": ('"select" int, "from" int', ["1, 2", "2, 1"]),
}

TYPES = """
    create extension citext; create extension ltree;
    create type mood as enum ('happy', 'so ''so"');
    create domain positive as int check (value > 0);
    create domain good_mood as mood check (value = 'happy');
    create type pair as (a int, b text);
"""


@prepared
def typed(connection: psycopg.Connection) -> None:
    """The types of the keys."""
    connection.execute(TYPES)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_goes_round(connection: psycopg.Connection, kind: str) -> None:
    columns, samples = KEYS[kind]
    names = _names(columns)
    connection.execute(f"create table documents ({columns}, content text, primary key ({names}))")
    first, *others = samples
    connection.execute(f"insert into documents values ({first}, 'old')")
    assert create_pipeline(connection, content_columns=["content"]) == 1
    for sample in others:
        connection.execute(f"insert into documents values ({sample}, 'new')")
    assert len(queued(connection, BACKFILL)) == 1
    assert len(queued(connection)) == len(others)
    # Found again as what is queued already, and by both ways of enqueueing alike.
    assert call(connection, "backfill", pipeline="documents") == 0
    assert set(work(connection).values()) == {"written"}
    assert value(connection, "select count(*) from documents where embedding is null") == 0
    assert [queued(connection, lane) for lane in LANES] == [[], []]
    connection.execute("update documents set content = 'changed'")
    assert len(queued(connection)) == len(samples)
    assert set(work(connection).values()) == {"written"}


def _names(columns: str) -> str:
    return ", ".join(part.rsplit(" ", 1)[0] if '"' in part else part.split()[0] for part in columns.split(", "))


@pytest.mark.parametrize("key", ["id jsonb", "id jsonb, n int default 1"])
def test_a_row_that_no_job_can_name_is_not_queued_again_and_again(connection: psycopg.Connection, key: str) -> None:
    connection.execute(f"create table documents ({key}, content text, primary key ({_names(key)}))")
    create_pipeline(connection, content_columns=["content"])
    connection.execute("""insert into documents (id, content) values ('null', 'a'), ('{"a": null}', 'b')""")
    work(connection)
    assert rows(connection, "select id from documents where embedding is not null") == [({"a": None},)]
    assert call(connection, "sweep") == call(connection, "backfill", pipeline="documents") == 0


# Keys that Postgres writes: the definition of `id`, and what an UPDATE does to it.
GENERATED = {
    "identity": ("bigint generated always as identity", "id = default"),
    "stored": ("text generated always as (upper(content)) stored", "content = 'other'"),
    "with a default": ("uuid default gen_random_uuid()", "id = default"),
}


@pytest.mark.parametrize("destination", [{}, {"embedding_table": "chunks"}])
@pytest.mark.parametrize("kind", GENERATED)
def test_keys_that_postgres_writes(connection: psycopg.Connection, kind: str, destination: dict[str, str]) -> None:
    made, change = GENERATED[kind]
    connection.execute(f"create table documents (id {made}, content text, primary key (id))")
    create_pipeline(connection, content_columns=["content"], **destination)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("insert into documents (content) values ('one')")
    first = value(connection, "select to_jsonb(id) from documents")
    assert work(connection) == {first: "written"}
    connection.execute(f"update documents set {change}")
    second = value(connection, "select to_jsonb(id) from documents")
    assert work(connection)[second] in ("written", "unchanged")
    if destination:
        assert column(connection, "select to_jsonb(id) from chunks") == [second]


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("kind", ["text", "citext", "composite key", "bytea", "composite type", "numeric", "enum"])
def test_a_blank_row_is_remembered_by_its_key(connection: psycopg.Connection, kind: str) -> None:
    columns, samples = KEYS[kind]
    connection.execute(f"create table documents ({columns}, content text, primary key ({_names(columns)}))")
    create_pipeline(connection, content_columns=["content"])
    for sample in samples:
        connection.execute(f"insert into documents values ({sample}, ' ')")
    work(connection)
    assert call(connection, "backfill", pipeline="documents") == 0
    assert value(connection, "select pgembedd.retention()") == 0
    connection.execute("delete from documents")
    assert value(connection, "select pgembedd.retention()") == len(samples)


# A row of which each value could be written down in several ways, and the function that inserts it.
SETTLED = """
    create type when_and_what as (at date, span interval, x float8);
    create table documents (
        a date, b timestamptz, c interval, d float8, e real, f bytea, g daterange, h tstzrange, i when_and_what,
        content text, primary key (a, b, c, d, e, f, g, h, i));
    create function put() returns void language sql as $$
        insert into public.documents values (
            '2024-02-01', '2024-02-03 04:05:06.789+00', '-1 day -2 hours', 0.1::float8 + 0.2::float8, 0.3::real / 7,
            decode('00ff5c', 'hex'), '[2024-02-03,2024-04-05)', '[2024-02-03 01:02:03+00,)',
            ('2024-02-01', '-1 day -2 hours', 1::float8 / 3), 'x')
    $$
"""


@pytest.mark.parametrize(
    "setting",
    [
        "datestyle = 'SQL, DMY'",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "timezone = 'Asia/Kathmandu'",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "search_path = ''",
    ],
)
def test_a_writers_settings_do_not_change_the_key(connection: psycopg.Connection, setting: str) -> None:
    connection.execute(SETTLED)
    create_pipeline(connection, content_columns=["content"])
    connection.execute(f"set {setting}")
    connection.execute("select public.put()")
    connection.execute("update public.documents set content = 'y'")
    connection.execute("reset all")
    assert set(work(connection).values()) == {"written"}
    assert value(connection, "select count(*) from documents where embedding is null") == 0


@pytest.mark.parametrize("key", ["timestamptz", "tstzrange", "moment", "timestamptz[]"])
def test_sessions_of_several_time_zones_mean_the_same_row(connection: psycopg.Connection, key: str) -> None:
    forms = {"tstzrange": "[%s,)", "timestamptz[]": "{%s}"}
    one = forms.get(key, "%s").replace("%s", "2024-02-03 04:05:06+00")
    connection.execute("create domain moment as timestamptz")
    connection.execute(f"create table documents (id {key} primary key, content text)")
    create_pipeline(connection, content_columns=["content"])
    connection.execute("set timezone = 'America/New_York'")
    connection.execute(f"insert into documents values ('{one}', ' ')")
    ids = queued(connection)
    connection.execute("set timezone = 'Asia/Kathmandu'")
    assert call(connection, "requeue", pipeline="documents", keys=[Jsonb(ids[0])]) == 0
    assert call(connection, "backfill", pipeline="documents") == 0
    work(connection)
    connection.execute("set timezone = 'America/New_York'")
    connection.execute("update documents set content = '  '")
    work(connection)
    assert call(connection, "backfill", pipeline="documents") == 0  # blank, which is known
    assert column(connection, "select key from pgembedd_internal.row_state") == ids


NAMES: list[dict[str, str]] = [
    {
        "schema": "My Schema",
        "table": 'My "Table"',
        "key": "The Key",
        "content": "some content",
        "embedding": "the vector",
    },
    {"schema": "100%", "table": "%s %I", "key": "%L", "content": "%1$s", "embedding": "%"},
    {"schema": "a.b", "table": "c.d", "key": "e.f", "content": "g.h", "embedding": "i.j"},
    {"schema": "it's", "table": "o'clock", "key": "'", "content": "''", "embedding": "';--"},
    {"schema": "$q$", "table": "$body$", "key": "$$", "content": "$q$;", "embedding": "$1"},
    {"schema": "back\\slash", "table": "\\", "key": "\\n", "content": "\\\\", "embedding": "E'\\'"},
    {"schema": "SELECT", "table": "from", "key": "where", "content": "order", "embedding": "user"},
    {"schema": "ünï", "table": "文書", "key": "ключ", "content": "ü", "embedding": "😀"},
    {"schema": "pgembedd2", "table": "q", "key": "n", "content": "content", "embedding": "outcome"},
    {"schema": "s", "table": "s", "key": "s", "content": "i", "embedding": "embeddings"},
    {"schema": "k", "table": "input", "key": "hash", "content": "k", "embedding": "n"},
    {"schema": "l", "table": "locked", "key": "ids", "content": "l", "embedding": "key_1"},
    {"schema": "w", "table": "new_rows", "key": "new_rows", "content": "old_rows", "embedding": "affected"},
    {"schema": "new\nline", "table": "a\tb", "key": " ", "content": "  ", "embedding": "   "},
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: repr(names["table"]))
@pytest.mark.parametrize("on_update", ["keep", "clear"])
def test_any_name(connection: psycopg.Connection, names: dict[str, str], on_update: str) -> None:
    q = {part: '"' + name.replace('"', '""') + '"' for part, name in names.items()}
    table = f"{q['schema']}.{q['table']}"
    connection.execute(f"create schema {q['schema']}")
    connection.execute(f"create table {table} ({q['key']} int primary key, {q['content']} text)".encode())
    connection.execute(f"insert into {table} values (1, 'old')".encode())
    options = {"content_columns": [names["content"]], "embedding_column": names["embedding"], "index_type": "hnsw"}
    assert create_pipeline(connection, source=table, on_update=on_update, **options) == 1
    connection.execute(f"insert into {table} values (2, 'new')".encode())
    connection.execute(f"update {table} set {q['content']} = 'changed' where {q['key']} = 2".encode())
    assert work(connection) == {1: "written", 2: "written"}
    assert rows(connection, f"select count({q['embedding']}) from {table}") == [(2,)]
    for call_ in ("pause", "resume", "drop_pipeline"):
        call(connection, call_, pipeline="documents")


def test_a_key_that_changes(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, content text)")
    create_pipeline(connection, content_columns=["content"])
    connection.execute("insert into documents values (1, 'x'), (2, 'y')")
    work(connection)
    connection.execute("update documents set id = id + 10")
    assert queued(connection) == [11, 12]
    assert set(work(connection).values()) == {"unchanged"}


def test_an_old_key_in_the_queue_is_gone(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, content text)")
    create_pipeline(connection, content_columns=["content"])
    connection.execute("insert into documents values (1, 'x')")
    connection.execute("update documents set id = 2")
    outcomes: dict[Any, str] = work(connection)
    assert outcomes == {1: "gone", 2: "written"}

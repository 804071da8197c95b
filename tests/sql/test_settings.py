"""Settings of a database or a role that change what a text, a name or a right means: all that we do works the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.database.queries import query
from tests.sql.odd_settings import ODD, OF_SUPERUSERS, configure, odd_settings
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import call, column, create_pipeline, learn_vector, made_up, qualified, rows, value, work

# Types whose texts depend on settings, and keys of them.
KEYS = {
    "texts": ("text", ["'a''\\\"b'", "'NULL'", "'b'"]),
    "floats": ("float8", ["0.1234567890123456", "1e-300", "2e-300"]),
    "moments": ("timestamptz", ["'2026-04-03 05:06:07.123456+00'", "'2026-04-03'", "'2026-04-05'"]),
    "spans": ("interval", ["'-1 days +02:03:00'", "'1 year -2 mons 3 days'", "'-4 mons'"]),
    "bytes": ("bytea", ["decode('00ff5c', 'hex')", "decode('5c', 'hex')", "decode('27', 'hex')"]),
    "lists": ("text[]", ["array['a', null]", "array['NULL']", "array['a']"]),
    "moods": ("mood", ["'so so'", "'NULL'", "'bad'"]),
    "spots": ("spot", ["row('x', array['a', null], 0.1)", "row('NULL', null, 1e-300)", "row('', '{}', 2)"]),
}
SOURCE = """
    create type mood as enum ('so so', 'NULL', 'bad');
    create type spot as (name text, tags text[], size float8);
"""


@dataclass(frozen=True)
class People:
    """Sessions of the installer, and of roles that write, work and ask; warnings to the writer are errors."""

    installer: psycopg.Connection
    writer: psycopg.Connection
    worker: psycopg.Connection
    asker: psycopg.Connection


@contextmanager
def people(database: Database, roles: dict[str, str]) -> Iterator[People]:
    with ExitStack() as ended:
        installer = ended.enter_context(database.connect())
        writer = ended.enter_context(connect_as(database, roles["writer"]))
        worker = ended.enter_context(connect(conninfo_as(database, roles["worker"]), autocommit=True))
        asker = ended.enter_context(connect_as(database, roles["asker"]))
        for one in (installer, worker, asker):
            learn_vector(one)
        yield People(installer, writer, worker, asker)


def prepare(database: Database, made: Roles) -> dict[str, str]:
    """Migrates, makes the tables and the roles."""
    migrate(database.conninfo)
    names = {kind: made.make(kind) for kind in ("writer", "worker", "asker")}
    with database.connect() as connection:
        connection.execute("set search_path to public; set escape_string_warning to off")
        connection.execute(SOURCE)
        for table, (type_, _) in KEYS.items():
            connection.execute(f"create table {table} (id {type_} primary key, content text)".encode())
            create_pipeline(connection, pipeline=table, source=f"public.{table}", content_columns=["content"])
        create_pipeline(connection, pipeline="chunked", source="public.texts", content_columns=["content"],
                        embedding_table="public.chunks")  # fmt: skip
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'made up'")
        call(connection, "grant_worker", role=names["worker"])
        for name in ("asker", "writer"):
            connection.execute(f"grant all on all tables in schema public to {names[name]}".encode())
        call(connection, "grant_ask", role=names["asker"])
    return names


def check_vectors(connection: psycopg.Connection, tables: dict[str, str]) -> None:
    for table, text in tables.items():
        found = rows(connection, f"select {text}, embedding from public.{table}")
        assert len(found) == 2, table
        for content, vector in found:
            assert vector is not None, table
            assert vector.to_list() == made_up(content), (table, content)


def play(of: People) -> None:
    """Writes of every kind, with a round of the worker after each."""
    of.writer.execute("set standard_conforming_strings to on")  # which the literals of KEYS need
    filled = dict.fromkeys(KEYS, "content") | {"chunks": "chunk"}
    for change in (
        "insert into public.{table} values ({0}, '{table} one'), ({1}, '{table} two')",
        "update public.{table} set content = 'new ' || content where id = {0}",
        "update public.{table} set id = {2} where id = {1}",
        "insert into public.{table} values ({1}, 'three'); delete from public.{table} where id = {0}",
        "update public.{table} set content = content || ' and so on'",
    ):
        for table, (type_, keys) in KEYS.items():
            given = [f"{key}::public.{type_}" if type_ in ("mood", "spot") else f"{key}::{type_}" for key in keys]
            of.writer.execute(change.format(*given, table=table).encode())
        assert set(work(of.worker).values()) <= {"written", "gone", "unchanged", "cleared"}
        check_vectors(of.installer, filled)
    assert column(of.installer, "select error from pgembedd.dead_letters") == []


def look(of: People) -> None:
    """Searches, and what names a row by the key that they give."""
    for table in KEYS:
        found = column(
            of.asker, "select key from pgembedd.search(%s, null, embedding => '[1,2,3]'::public.vector)", table
        )
        assert len(found) == 2, table
        keys = [psycopg.types.json.Jsonb(key) for key in found]
        for key in keys:
            others = column(of.asker, "select key from pgembedd.similar(%s, %s)", table, key)
            assert len(others) == 1, (table, key)
        assert call(of.installer, "requeue", pipeline=table, keys=keys) == 2, table
    work(of.worker)
    ask = "select pgembedd.ask(%s, 'what is it', k => 2, embedding => '[1,2,3]'::public.vector)"
    call(of.installer, "configure_answers", pipeline="floats", language_model="some", min_similarity=-1)
    answer = value(of.asker, ask, "floats")
    assert value(of.worker, "select id from pgembedd_internal.claim_answers(1, 60)") == answer
    assert len(value(of.worker, "select sources from pgembedd_internal.read_answer(%s, 1)", answer)) == 2
    finish = "select pgembedd_internal.finish_answer(%s, 1, 'complete', 'So.', '{1}', '{done}', array['{}'::jsonb])"
    assert value(of.worker, finish, answer)
    assert len(rows(of.asker, "select pgembedd.answer_sources(%s)", answer)) == 2


def code(connection: psycopg.Connection) -> list[Any]:
    """Which functions were generated, and by which transactions."""
    return sorted(rows(connection, "select p.proname, p.xmin::text from pg_proc p"
                                   " where p.pronamespace = 'pgembedd_code'::regnamespace"))  # fmt: skip


def upkeep(of: People, database: Database) -> None:
    """Sweeps, of whatever settings, find nothing to do; what is altered is followed; and all of it can be dropped."""
    before = code(of.installer)
    with database.connect(options="-c quote_all_identifiers=off -c search_path=public") as other:
        for session, look in ((of.worker, "tick(0, 0)"), (of.installer, "sweep()"), (other, "sweep()")):
            assert value(session, f"select {qualified(look)}") in (0, None), look
            assert code(of.installer) == before, look
    of.installer.execute("alter table public.texts rename to renamed; alter table public.floats add more int")
    call(of.installer, "sweep")
    of.writer.execute("update public.renamed set content = 'renamed'")
    assert set(work(of.worker).values()) == {"written"}
    for name in [*KEYS, "chunked"]:
        call(of.installer, "pause", pipeline=name)
        call(of.installer, "resume", pipeline=name)
    assert column(of.installer, "select distinct state from pgembedd.status") == ["running"]
    of.writer.execute("truncate public.renamed")
    assert value(of.installer, "select count(*) from public.chunks") == 0
    for name in [*KEYS, "chunked"]:
        call(of.installer, "drop_pipeline", pipeline=name, drop_vectors=True)
    assert value(of.installer, "select count(*) from pg_trigger where tgname like 'pgembedd%%'") == 0


def play_all(database: Database, roles: dict[str, str]) -> None:
    with people(database, roles) as of:
        of.writer.add_notice_handler(refuse_warnings)
        play(of)
        look(of)
        generated = value(
            of.installer, "select count(*) from pg_proc where pronamespace = 'pgembedd_code'::regnamespace"
        )
    migrate(database.conninfo)
    with people(database, roles) as of:
        assert len(code(of.installer)) == generated
        upkeep(of, database)


def refuse_warnings(notice: psycopg.errors.Diagnostic) -> None:
    assert notice.severity_nonlocalized != "WARNING", notice.message_primary


def test_all_of_them_in_a_database(roles: Roles, empty_database: Database) -> None:
    with empty_database.connect() as connection:
        configure(connection, f"database {empty_database.name}", odd_settings(connection))
    play_all(empty_database, prepare(empty_database, roles))


@pytest.mark.slow
@pytest.mark.parametrize("group", ODD)
def test_some_of_them_in_a_database(roles: Roles, empty_database: Database, group: str) -> None:
    """What one setting breaks, another may hide."""
    with empty_database.connect() as connection:
        configure(connection, f"database {empty_database.name}", odd_settings(connection, group))
    play_all(empty_database, prepare(empty_database, roles))


@pytest.mark.slow
@pytest.mark.parametrize("of", ["postgres", "writer", "worker", "asker"])
def test_all_of_them_of_a_role(roles: Roles, empty_database: Database, of: str) -> None:
    """So that sessions differ in what a text means."""
    names_of = prepare(empty_database, roles)
    with empty_database.connect() as connection:
        names = odd_settings(connection) - OF_SUPERUSERS
        configure(connection, f"role {names_of.get(of, of)} in database {empty_database.name}", names)
    play_all(empty_database, names_of)


def test_a_session_that_was_cleaned_has_the_settings_that_it_began_with() -> None:
    pinned, again = (re.findall(r"set_config\('(\w+)', '(.*?)'", query(name)) for name in ("pin_path", "clean_session"))
    assert len(pinned) > 5
    assert pinned == again


@pytest.mark.parametrize("output", ["hex", "escape"])
def test_a_key_of_bytes_has_one_text(connection: psycopg.Connection, output: str) -> None:
    """The sweep, requeue() and dead letters compare keys with those of the jobs."""
    connection.execute("create table files (id bytea primary key, content text)")
    create_pipeline(connection, pipeline="files", source="files", content_columns=["content"])
    connection.execute(f"set bytea_output to {output}".encode())
    connection.execute("insert into files values (decode('00ff5c', 'hex'), 'one')")
    assert value(connection, "select message ->> 'id' from pgmq.q_pgembedd_fresh") == r"\x00ff5c"
    assert call(connection, "backfill", pipeline="files") == 0, "it is queued already"

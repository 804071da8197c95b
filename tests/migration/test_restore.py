"""A dump with pipelines and full queues, restored elsewhere: everything goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.database.schema_check import check_schema
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.sql.search.test_words import by_words, make_texts
from tests.support.databases import Database, administrator, fresh_database
from tests.support.pages import contracts, parse_all
from tests.support.pgmq_extension import OLDEST, PgmqServer
from tests.support.prepared import prepared
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import (
    BACKFILL,
    FRESH,
    claim,
    column,
    connected,
    create_pipeline,
    fail,
    look_twice,
    made_up,
    make_documents,
    rows,
    state,
    store,
    value,
    work,
)

ROWS = 30
FORMATS = ["plain", "custom"]

# What leaves out of a dump all that only a superuser could restore.
ANYBODYS = ("--no-owner", "--no-privileges", "--no-comments")


@contextmanager
def restored(server: EmbeddedPostgres, original: Database, form: str = "plain") -> Iterator[Database]:
    """A new database with what pg_dump gives of `original`."""
    with fresh_database(server) as copy:
        copy_over(server, original, copy.conninfo, form)
        yield copy


def copy_over(server: EmbeddedPostgres, original: Database, conninfo: str, form: str, *options: str) -> None:
    """Dump into that database, by the tools and in the format that people use."""
    done = dump_into(server, original, conninfo, form, *options, stop=True)
    assert done.returncode == 0, done.stderr.decode()


def dump_into(
    server: EmbeddedPostgres, original: Database, conninfo: str, form: str, *options: str, stop: bool
) -> subprocess.CompletedProcess[bytes]:
    """The outcome of the restore; with `stop` it ends at the first error."""
    dump = [str(server.bin_dir / "pg_dump"), f"--format={form}", *options, original.conninfo]
    dumped = subprocess.run(dump, capture_output=True, check=True).stdout
    psql = [str(server.bin_dir / "psql"), "-q", "-v", f"ON_ERROR_STOP={int(stop)}", "-o", "/dev/null", "-d", conninfo]
    pg_restore = [str(server.bin_dir / "pg_restore"), *["--exit-on-error"] * stop, *options, "-d", conninfo]
    return subprocess.run(psql if form == "plain" else pg_restore, input=dumped, capture_output=True, check=False)


def pipelines_of(connection: psycopg.Connection) -> None:
    """A pipeline with rows that are embedded, rows that wait in both lanes, and one that was given up; and another

    pipeline, into a table, whose first row is embedded.
    """
    make_documents(connection, ROWS)
    create_pipeline(connection)
    fail(connection, claim(connection, BACKFILL, 1)[0], permanent=True)
    store(connection, claim(connection, BACKFILL, 10))
    connection.execute("insert into documents (id, title) select i, 'fresh' from generate_series(101, 105) i")
    connection.execute("update documents set title = 'changed' where id = 2")
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(
        connection,
        pipeline="letters",
        source="letters",
        content_columns=["title"],
        embedding_table="chunks",
    )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("insert into letters values (1, 'first')")
    store(connection, claim(connection, pipeline=2))
    connection.execute("insert into letters values (2, 'second')")


def fill(database: Database) -> None:
    """Migrates an empty database and makes them there."""
    migrate(database.conninfo)
    with connected(database) as connection:
        pipelines_of(connection)


@prepared
def filled(connection: psycopg.Connection) -> None:
    """The same in every test's own database."""
    pipelines_of(connection)


def check(copy: Database) -> None:
    """Writes work before the repair; `migrate` repairs; every row gets its vector."""
    with connected(copy) as connection:
        connection.execute("insert into documents (id, title) values (200, 'written before migrate')")
        connection.execute("insert into letters values (3, 'third')")
        connection.execute("update letters set id = 4 where id = 1")
        connection.execute("update documents set title = 'before, too' where id = 105")
        connection.execute("delete from letters where id = 2")
    migrate(copy.conninfo)
    with connected(copy) as connection:
        check_schema(connection)
        assert {state(connection, name) for name in ("documents", "letters")} == {"running"}
        assert rows(connection, "select key, reason from pgembedd.dead_letters") == [(1, "content")]
        work(connection)
        assert column(connection, "select id from documents where embedding is null") == [1], (
            "the one that was given up"
        )
        assert column(connection, "select id from chunks order by id") == [3, 4]
        connection.execute("update documents set title = 'and again' where id = 200")
        connection.execute("delete from letters")
        assert value(connection, "select queued_fresh from pgembedd.status where pipeline = 'documents'") == 1
        assert rows(connection, "select id from chunks") == []
        connection.execute("select pgembedd.retry_dead_letters()")
        assert work(connection) == {1: "written", 200: "written"}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.usefixtures("filled")
def test_with_pgmq_as_sql(server: EmbeddedPostgres, database: Database, form: str) -> None:
    with restored(server, database, form) as copy:
        with connected(copy) as connection:
            waiting = value(connection, "select queued from pgembedd.status where pipeline = 'documents'")
            assert waiting == ROWS - 11 + 6, "queues travel"
        check(copy)


@prepared
def chained(connection: psycopg.Connection) -> None:
    """Files, their pages and the chunks of these; one file waits."""
    contracts(connection)
    create_pipeline(
        connection, pipeline="pages", source="contract_pages", content_columns=["text"], embedding_table="page_chunks"
    )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x' where task = 'embed'")
    connection.execute("insert into contracts values (1, 'lease', 'one')")
    parse_all(connection)
    work(connection)
    connection.execute("insert into contracts values (2, 'another', 'two')")


@pytest.mark.slow
@pytest.mark.usefixtures("chained")
def test_a_chain(server: EmbeddedPostgres, database: Database) -> None:
    """What was made of a file is not made again, only what waited is."""
    with restored(server, database, "custom") as copy:
        migrate(copy.conninfo)
        with connected(copy) as connection:
            before = rows(connection, "select ctid, xmin::text, chunk from page_chunks")
            look_twice(connection)
            assert parse_all(connection) == ["written"]
            assert work(connection) == {json.dumps({"id": 2, "page": 1}): "written"}
            assert rows(connection, "select ctid, xmin::text, chunk from page_chunks where id = 1") == before
            connection.execute("select pgembedd.backfill('contract_text', force => true)")
            assert parse_all(connection) == ["unchanged"] * 2
            connection.execute("delete from contracts")
            assert rows(connection, "select from page_chunks") == []


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
def test_where_the_role_is_missing(server: EmbeddedPostgres, database: Database) -> None:
    """As on another server: a restore goes on after errors about it, and `migrate` makes the role and gives it all."""
    with administrator(server) as admin:
        admin.execute("alter role pgembedd rename to elsewhere")
    try:
        with fresh_database(server) as copy:
            renamed_role(server, database, copy)
            check(copy)
            with connected(copy) as connection:
                assert value(connection, "select pgembedd_internal._runner()::text") == "pgembedd"
                owners = column(
                    connection, "select distinct proowner::regrole::text from pg_proc where proname ~ '_on_(in|up)'"
                )
                assert owners == ["pgembedd"]
        with administrator(server) as admin:
            admin.execute("drop role pgembedd")
    finally:
        with administrator(server) as admin:
            admin.execute("alter role elsewhere rename to pgembedd")


def renamed_role(server: EmbeddedPostgres, original: Database, copy: Database) -> None:
    """Restores a dump that names a role `pgembedd` where there is none."""
    dump = [str(server.bin_dir / "pg_dump"), original.conninfo]
    dumped = subprocess.run(dump, capture_output=True, check=True).stdout.replace(b"elsewhere", b"pgembedd")
    psql = [str(server.bin_dir / "psql"), "-q", "-o", "/dev/null", "-d", copy.conninfo]
    done = subprocess.run(psql, input=dumped, capture_output=True, check=True)
    assert b'role "pgembedd" does not exist' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_with_pgmq_as_an_extension(pgmq_server: PgmqServer, pgmq_database: Database, form: str) -> None:
    fill(pgmq_database)
    with pgmq_database.connect() as connection:
        installed = connection.execute("select pgmq_install from pgembedd_internal.installation").fetchone()
        assert installed == ("extension",)
    if pgmq_server.version != OLDEST:
        with restored(pgmq_server.server, pgmq_database, form) as copy:
            check(copy)
        return
    # Before 1.5 the dump has a grant on the sequence of each queue, and not the queue (docs/how-to/backup.md).
    with fresh_database(pgmq_server.server) as copy:
        done = dump_into(pgmq_server.server, pgmq_database, copy.conninfo, form, stop=False)
        errors = [line for line in done.stderr.decode().splitlines() if "ERROR: " in line]
        assert [each for each in errors if "_msg_id_seq" not in each] == []
        check(copy)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.usefixtures("filled")
def test_under_another_owner(server: EmbeddedPostgres, roles: Roles, database: Database, form: str) -> None:
    """--no-owner gives everything to the restoring role, here the owner of a database without superuser rights."""
    owner = roles.make("owner")
    with fresh_database(server) as copy:
        with copy.connect() as admin:
            admin.execute(f"alter database {copy.name} owner to {owner}".encode())
            admin.execute("create extension vector; create extension dblink")
        as_owner = Database(copy.name, conninfo_as(copy, owner))
        copy_over(server, database, as_owner.conninfo, form, *ANYBODYS)
        check(as_owner)
        with copy.connect() as admin:
            functions = (
                "select distinct proowner::regrole::text from pg_proc "
                "where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)"
            )
            assert column(admin, functions) == [owner]
            worker = "select has_function_privilege('pgembedd_worker', 'pgembedd_internal.models()', 'execute')"
            assert value(admin, worker), "migrate grants again what the dump left out"


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
def test_the_row_changed_while_queued_is_not_lost(server: EmbeddedPostgres, database: Database) -> None:
    """The stale vector of row 2 travels with its job, where the queue travels."""
    with restored(server, database) as copy, connected(copy) as connection:
        before = value(connection, "select embedding::text from documents where id = 2")
        work(connection)
        assert value(connection, "select embedding::text from documents where id = 2") != before


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_pipeline_that_clears_at_once(server: EmbeddedPostgres, database: Database, form: str) -> None:
    with connected(database) as connection:
        make_documents(connection, 2)
        create_pipeline(connection, on_update="clear", watch_columns=["title", "content"])
        work(connection)
    with restored(server, database, form) as copy, connected(copy) as connection:
        connection.execute("update documents set content = 'changed' where id = 2")
        assert column(connection, "select id from documents where embedding is null") == [2]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["many", "one", "replica"])
def test_a_row_that_changed_while_its_queue_was_missing_is_embedded_again(database: Database, how: str) -> None:
    """It has a vector, of what it was before, so that no sweep would find it."""
    with connected(database) as connection:
        changed = 1500 if how == "many" else 2
        make_documents(connection, changed + 1)
        create_pipeline(connection, enable_always=how == "replica")
        work(connection)
        for queue in (FRESH, BACKFILL):
            connection.execute("select pgmq.drop_queue(%s)", (queue,))
        if how == "replica":
            connection.execute("set session_replication_role = replica")
        for title in ("first", "then"):  # noted twice, queued once
            connection.execute("update documents set title = %s where id <= %s", (title, changed))
        connection.execute("reset session_replication_role")
        migrate(database.conninfo)
        assert value(connection, "select queued_backfill from pgembedd.status") == changed
        assert set(work(connection).values()) == {"written"}
        (vector,) = rows(connection, "select embedding::text from documents where id = 2")
        assert vector == (str(made_up("then\n\ncontent 2")).replace(" ", ""),)
        assert value(connection, "select count(*) from pgembedd_internal.missed") == 0


@pytest.mark.slow
@pytest.mark.parametrize("table", [None, "chunks"])
def test_words_are_restored_and_kept_in_step(server: EmbeddedPostgres, database: Database, table: str | None) -> None:
    with connected(database) as connection:
        make_texts(connection, embedding_table=table, index_type="hnsw")
    with restored(server, database, "custom") as copy:
        migrate(copy.conninfo)
        with connected(copy) as connection:
            assert by_words(connection, "invoice") == [2]
            connection.execute("update documents set content = 'a bird' where id = 1")
            work(connection)
            assert by_words(connection, "bird") == [1]


@pytest.mark.slow
def test_threads_and_questions_that_wait_are_restored(server: EmbeddedPostgres, database: Database) -> None:
    ask = (
        "select pgembedd.ask('documents', %s, thread => %s,"
        " embedding => (select embedding::vector from documents where id = 1))"
    )
    with connected(database) as connection:
        make_texts(connection)
        connection.execute("select pgembedd.configure_answers('documents', min_similarity => -1)")
        first = value(connection, ask, "how", None)
        thread = value(connection, "select thread from pgembedd.answers")
        connection.execute("select pgembedd.share_thread(%s, current_user::regrole, 'bob')", [thread])
        assert rows(connection, "select id, attempt from pgembedd_internal.claim_answers(10, 60)") == [(first, 1)]
        done = (
            "select pgembedd_internal.finish_answer(%s, 1, 'complete', 'So [1].', '{1}', '{done}', "
            "array['{}']::jsonb[])"
        )
        assert value(connection, done, first)
        second = value(connection, ask, "and then", thread)
    with restored(server, database, "custom") as copy:
        migrate(copy.conninfo)
        with connected(copy) as connection:
            seen = rows(connection, "select id, status, answer from pgembedd.answers order by asked_at")
            assert seen == [(first, "complete", "So [1]."), (second, "queued", None)]
            assert rows(connection, "select thread, subject from pgembedd_internal.thread_member") == [(thread, "bob")]
            third = value(connection, ask, "and now", thread)
            waiting = rows(connection, "select id, history from pgembedd_internal.claim_answers(10, 60)")
            turn = {"question": "how", "answer": "So [1]."}
            assert waiting == [(second, [turn]), (third, [turn])]

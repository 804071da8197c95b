"""alter_pipeline() among sessions that write, store and alter at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.sql.models.test_change import pin
from tests.sql.models.test_switch import blocked
from tests.support.databases import Database
from tests.support.prepared import prepared_for
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    column,
    connected,
    create_pipeline,
    made_up,
    make_documents,
    owned_table,
    queued,
    read,
    rows,
    store,
    value,
    work,
)
from tests.support.waiting import eventually


@prepared_for("column", "table")
def documents(connection: psycopg.Connection, where: str) -> None:
    """Two embedded rows."""
    make_documents(connection, 2)
    create_pipeline(connection, **({"embedding_table": "chunks"} if where == "table" else {}))
    pin(connection, "documents", "model")
    work(connection)


ALTER = "select pgembedd.alter_pipeline('documents', content_columns => array['title'])"


def test_what_was_read_before_is_not_stored_after(documents: psycopg.Connection) -> None:
    """A worker that was killed, or is late, writes no vector of the old content over the new one."""
    documents.execute("update documents set title = 'changed' where id = 1")
    late = claim(documents)
    contents = read(documents, late)
    documents.execute(ALTER.encode())
    assert store(documents, late, contents) == ["changed"]
    work(documents)
    target = value(documents, "select coalesce(embedding_table, source)::text from pgembedd_internal.pipeline")
    vectors = column(documents, f"select embedding from {target} order by id, embedding")
    expected = [made_up("changed"), made_up("title 2")]
    assert [v.to_list() for v in vectors] == expected


def test_a_row_that_is_inserted_meanwhile_has_the_new_content(
    documents: psycopg.Connection, database: Database
) -> None:
    with database.connect() as writer, connected(database) as watching, ThreadPoolExecutor(1) as pool:
        writer.autocommit = False
        writer.execute("insert into documents values (3, 'title 3', 'content 3')")
        altering = pool.submit(documents.execute, ALTER.encode())
        eventually(lambda: blocked(watching))
        writer.commit()
        assert altering.result().fetchone() == (3,)
    assert queued(documents) == [3]
    assert sorted(queued(documents, BACKFILL)) == [1, 2, 3]


def test_two_who_alter_at_once_lose_nothing(documents: psycopg.Connection, database: Database) -> None:
    with database.connect() as other, connected(database) as watching, ThreadPoolExecutor(1) as pool:
        with documents.transaction():
            call(documents, "alter_pipeline", pipeline="documents", max_attempts=2)
            second = pool.submit(other.execute, "select pgembedd.alter_pipeline('documents', on_update => 'clear')")
            eventually(lambda: value(watching, "select exists (select from pg_locks where not granted)"))
        second.result()
    assert rows(documents, "select max_attempts, on_update from pgembedd_internal.pipeline") == [(2, "clear")]


def test_the_content_is_not_altered_by_an_old_snapshot(documents: psycopg.Connection) -> None:
    with documents.transaction():
        documents.execute("set transaction isolation level repeatable read")
        call(documents, "alter_pipeline", pipeline="documents", max_attempts=2)
        call(documents, "alter_pipeline", pipeline="documents", content_columns=["title"], backfill=False)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="that is REPEATABLE READ"):
            call(documents, "alter_pipeline", pipeline="documents", content_columns=["content"])


def test_the_owner_of_a_table_and_policies(roles: Roles, database: Database) -> None:
    """Who may act for the owner may alter; the code runs as the owner, whom row level security does not concern."""
    owner, stranger = roles.make("owner"), roles.make("stranger")
    with connected(database) as connection:
        owned_table(connection, owner)
        connection.execute("insert into documents values (1, 'title', 'content')")
        connection.execute("alter table documents enable row level security")
        create_pipeline(connection)
        work(connection)
        connection.execute("grant usage on schema pgembedd to " + stranger)
        with connect_as(database, stranger) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(ALTER)
        assert value(connection, ALTER) == 1
        assert work(connection) == {1: "written"}
        owners = "select distinct proowner::regrole::text from pg_proc where proname = 'pipeline_1_read'"
        assert column(connection, owners) == [owner]

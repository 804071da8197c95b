"""A database set up by the guide's published interface alone, before pgembedd was there, is worked by a worker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from pgmq.install import get_embedded_install_sql

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet
from tests.support.embedders import Wrapped
from tests.support.guide import follow_guide, guide_table
from tests.support.sql import column, queued, rows, value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

INSERT = "insert into {} (id, title, content) values (%s, %s, %s)"


@pytest.fixture
def project(empty_database: Database) -> Iterator[psycopg.Connection]:
    """The guide's set-up and two rows of a table that clears on update; no pgembedd yet."""
    with empty_database.connect() as connection:
        connection.execute("create extension vector")
        connection.execute(get_embedded_install_sql().encode())
        follow_guide(connection)
        guide_table(connection, clear=True)
        for number in (1, 2):
            connection.execute(INSERT.format("documents"), (number, "a title", f"text {number}"))
        yield connection


def test_rows_are_embedded_updated_cleared_and_deleted(
    empty_database: Database, project: psycopg.Connection, model: Session
) -> None:
    def load(_name: str) -> Embedder:
        return Wrapped(model)  # another model's weights under the default's name, which is not on this machine

    migrate(empty_database.conninfo)
    assert queued(project) == [1, 2]
    with worker_thread(empty_database, load):
        await_embedded(project, [1, 2])
        before = value(project, "select embedding::text from documents where id = 1")
        with project.transaction():
            project.execute("update documents set title = 'another title' where id = 1")
            assert value(project, "select embedding is null from documents where id = 1")
        await_embedded(project, [1])
        assert value(project, "select embedding::text from documents where id = 1") != before
        with project.transaction():
            project.execute("update documents set title = null where id = 2")  # and with it the whole content
            project.execute(INSERT.format("documents"), (3, "short-lived", "text"))
            project.execute("delete from documents where id = 3")
        await_quiet(project)
        assert column(project, "select id from documents where embedding is null") == [2]
        guide_table(project, "notes", key="uuid primary key", function="note_input", column="vec")
        key = uuid.uuid4()
        project.execute(INSERT.format("notes"), (key, "a note", "text"))
        eventually(lambda: column(project, "select id from notes where vec is not null") == [key])
    assert rows(project, "select name, own_triggers from pgembedd.pipeline order by name") == [
        ("documents.embedding", False),
        ("notes.vec", False),
    ]
    assert value(project, "select count(*) from pgembedd.failures") == 0
    vector = value(project, "select embedding::vector::real[] from documents where id = 1")
    wanted = model.run("# another title\n\ntext 1")
    assert sum(a * b for a, b in zip(vector, wanted, strict=True)) > 0.9995


def test_its_queue_is_left_to_it(empty_database: Database, project: psycopg.Connection) -> None:
    migrate(empty_database.conninfo)
    migrate(empty_database.conninfo)
    downgrade(empty_database.conninfo)
    project.execute(INSERT.format("documents"), (3, "a title", "text"))
    assert queued(project) == [1, 2, 3]

"""pipeline_status(): what an application is told of one pipeline whose table it may read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import claim, connected, create_pipeline, fail, make_documents, rows, work
from tests.support.transaction import connection

__all__ = ["connection"]

SHOWN = "state, queued, oldest_age is null, coverage, lag is null, time_left is null"


def told(connection: psycopg.Connection, pipeline: str = "documents") -> tuple[Any, ...]:
    """What it says of the figures, without times."""
    (found,) = rows(connection, f"select {SHOWN} from pgembedd.pipeline_status(%s)", pipeline)
    return found


@pytest.mark.own_database
@pytest.mark.parametrize("destination", [{}, {"embedding_table": "chunks"}])
def test_it_says_what_status_says(connection: psycopg.Connection, destination: dict[str, str]) -> None:
    make_documents(connection, 4)
    create_pipeline(connection, max_attempts=1, **destination)
    connection.execute("select pgembedd_internal.pin_model(1, 'model')")
    seen = [told(connection)]
    work(connection)
    seen.append(told(connection))
    connection.execute("update documents set content = 'unlucky' where id = 1")
    (job,) = claim(connection)
    fail(connection, job, "write", "a secret of another table", permanent=True)
    connection.execute("select pgembedd.pause('documents')")
    seen.append(told(connection))

    assert seen == [
        ("running", 4, False, Decimal(0), True, True),
        ("running", 0, True, Decimal(1), False, True),
        ("paused", 0, True, Decimal("0.75"), False, True),
    ]
    assert told(connection) == rows(connection, f"select {SHOWN} from pgembedd.status")[0]


def test_a_role_is_told_of_a_table_all_of_whose_rows_it_may_read(roles: Roles, database: Database) -> None:
    reader, other = roles.make("reader"), roles.make("other", "noinherit")
    with connected(database) as connection:
        make_documents(connection, 2)
        create_pipeline(connection)
        connection.execute("create table others (id int primary key, title text)")
        create_pipeline(connection, pipeline="others", source="others", content_columns=["title"])
        connection.execute(f"grant select on documents to {reader}; grant {reader} to {other}")
        connection.execute("select pgembedd.grant_search(%s)", [reader])
        # A function of another owner gives the session's role no more than it may have.
        connection.execute(
            "create function others() returns setof text language sql security definer"
            " as $$ select state from pgembedd.pipeline_status('others') $$"
        )
        missing = f"The role {reader} may not read all rows of public.%s, so it is not told the status of its pipeline."
        with connect_as(database, other) as theirs:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                told(theirs)
            theirs.execute(f"set role {reader}")
            assert told(theirs)[:2] == ("running", 2)
            with refused(missing % "others", f"GRANT SELECT ON it TO {reader};"):
                told(theirs, "others")
            with refused(missing % "others"):
                theirs.execute("select others()")
            connection.execute("alter table documents enable row level security")
            with refused(missing % "documents", "row_status() tells of those that it may read."):
                told(theirs)


def test_a_table_that_is_gone_is_said(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("drop table documents cascade")
    with refused(
        "The table public.documents was dropped. Remove the pipeline with pgembedd.drop_pipeline('documents')."
    ):
        told(connection)

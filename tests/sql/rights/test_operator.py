"""The rights of a role of grant_operator(): to read, and to retry dead letters."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.rights.test_worker import MAY_EXECUTE, MAY_TOUCH, names
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import Roles, connect_as
from tests.support.sql import BACKFILL, claim, create_pipeline, fail, make_documents, qualified, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

FUNCTIONS = {
    "demand(text)",
    "history(text,interval,interval)",
    "metrics()",
    "_statuses()",
    "_coverage_of(integer,bigint)",
    "workers()",
    "retry_dead_letters(text,text)",
    "schema_version()",
    "events(bigint[],pg_snapshot)",
    "_shown(jsonb)",
    "_shown_pipeline(pgembedd_internal.pipeline)",
    "_state_now(pgembedd_internal.pipeline)",
    "pipeline_definition(text)",
}
SEARCHER = {"schema_version()"}
"""Those that a role of grant_search() has, too."""
RELATIONS = {"pipelines", "pipeline", "model", "provider_use", "status", "dead_letters", "truncated", "answer_options"}


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows, both given up."""
    make_documents(connection, 2)
    create_pipeline(connection)
    for job in claim(connection, BACKFILL):
        fail(connection, job, permanent=True)


@pytest.fixture
def operator(roles: Roles, documents: psycopg.Connection) -> str:
    """A role that may look after pgembedd, and nothing else."""
    role = roles.make("operator")
    documents.execute("select pgembedd.grant_operator(%s)", [role])
    return role


def test_an_operator_has_exactly_this(operator: str, roles: Roles, documents: psycopg.Connection) -> None:
    searcher = roles.make("searcher")
    documents.execute("select pgembedd.grant_search(%s)", [searcher])
    assert names(documents, MAY_EXECUTE, operator) - names(documents, MAY_EXECUTE, searcher) == FUNCTIONS - SEARCHER
    assert names(documents, MAY_TOUCH, operator) == RELATIONS
    for right in ("insert", "update", "delete", "truncate"):
        for relation in RELATIONS:
            assert not value(documents, f"select has_table_privilege('{operator}', '{qualified(relation)}', '{right}')")


def test_an_operator_sees_what_the_owner_sees(operator: str, database: Database, documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (3, 'x')")
    with connect_as(database, operator) as theirs:
        numbers = "queued, queued_fresh, queued_backfill, dead, coverage, index"
        seen = rows(theirs, f"select {numbers} from pgembedd.status")
        assert seen == rows(documents, f"select {numbers} from pgembedd.status")
        assert seen == [(1, 1, 0, 2, 0, "none")]
        assert value(theirs, "select source from pgembedd.status") == "public.documents"
        assert len(rows(theirs, "select pipeline, key, error from pgembedd.dead_letters")) == 2
        assert value(theirs, "select count(*) from pgembedd.history('documents')") > 60
        for forbidden in (
            "select * from documents",
            "select * from pgembedd_internal.sample",
            "select pgembedd_internal._queued()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute(forbidden)


def test_an_operator_puts_back(operator: str, database: Database, documents: psycopg.Connection) -> None:
    with connect_as(database, operator) as theirs:
        with pytest.raises(psycopg.errors.UndefinedObject, match="There is no pipeline"):
            theirs.execute("select pgembedd.retry_dead_letters('nobody')")
        assert value(theirs, "select pgembedd.retry_dead_letters('documents', 'write')") == 0
        assert value(theirs, "select pgembedd.retry_dead_letters('documents')") == 2
    assert {job.id for job in claim(documents, BACKFILL)} == {1, 2}

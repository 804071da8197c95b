"""`pgembedd verify` as its users run it, with the real model."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.roles import Roles, conninfo_as
from tests.support.worker import WorkerProcess

WRONG, USAGE = 6, 2


@pytest.fixture
def embedded(database: Database, connection: psycopg.Connection) -> psycopg.Connection:
    """Thirty rows with their vectors, and a blank one."""
    make_documents(connection)
    insert(connection, range(1, 31))
    connection.execute("insert into documents values (31, ' ')")
    work(database, connection)
    return connection


def work(database: Database, connection: psycopg.Connection) -> None:
    with WorkerProcess(database.conninfo):
        await_quiet(connection)


def report(database: Database, *options: str, code: int = 0) -> dict[str, Any]:
    """Returns the output of --json for the only pipeline."""
    done = pgembedd("verify", "--json", *options, database=database.conninfo)
    assert done.code == code, done
    (line,) = done.out.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.mark.slow
def test_from_right_to_wrong_and_back(database: Database, embedded: psycopg.Connection) -> None:
    done = pgembedd("verify", "--all", database=database.conninfo)
    assert (done.code, done.err) == (0, "")
    assert "documents: 31 rows\n" in done.out
    assert "30 right · 1 blank · 0 in flight · 0 dead" in done.out

    embedded.execute("set session_replication_role = replica")
    embedded.execute("update documents set body = 'something else' where id = 3")
    embedded.execute("update documents set embedding = (embedding::vector + embedding::vector)::halfvec where id = 4")
    embedded.execute("update documents set embedding = null where id = 5")
    found = report(database, code=WRONG)
    assert {kind: found[kind] for kind in ("right", "stale", "corrupted", "missing", "wrong")} == {
        "right": 27, "stale": 1, "corrupted": 1, "missing": 1, "wrong": 3
    }  # fmt: skip
    assert found["examples"] == {"stale": [3], "corrupted": [4], "missing": [5]}
    drawn = [report(database, "--sample", "20", "--seed", "7", code=WRONG) for _ in range(2)]
    # How many rows there are is the planner's estimate, and changes when it comes to know the table.
    assert [each | {"rows": 0} for each in drawn] == [drawn[0] | {"rows": 0}] * 2
    assert drawn[0]["rows_checked"] == 20
    said = pgembedd("verify", "documents", database=database.conninfo).refused(WRONG)
    assert "3 rows of documents" in said
    assert "--requeue" in said

    assert report(database, "--requeue")["requeued"] == 3
    assert report(database)["in_flight"] == 3
    work(database, embedded)
    assert report(database, "--all")["right"] == 30


@pytest.mark.slow
def test_what_another_precision_made(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    insert(connection, range(1, 21))
    with WorkerProcess(database.conninfo, PGEMBEDD_PRECISION="int8"):
        await_quiet(connection)
    assert "--precision" in pgembedd("verify", database=database.conninfo).refused(5)
    assert report(database, "--precision", "int8")["right"] == 20
    # Where it does not stand with the pipeline who made them, the vectors themselves tell.
    connection.execute("update pgembedd_internal.pipeline set fingerprint = null")
    found = report(database, code=WRONG)
    assert found["foreign"] == 20
    assert "another precision" in found["note"]


@pytest.mark.slow
def test_chunks(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, embedding_table="chunks", chunk_tokens=16, formatting="Number $id: $chunk")
    connection.execute(
        "insert into documents select i, repeat('A sentence ' || i || '. ', 40) from generate_series(1, 3) i"
    )
    work(database, connection)
    assert report(database, "--all")["right"] == 3
    connection.execute(
        "update chunks set embedding = (select embedding from chunks where (id, chunk_index) = (1, 0)) where id = 2"
    )
    connection.execute("update chunks set model = 'another@1' where id = 3")
    found = report(database, "--requeue")
    assert (found["right"], found["corrupted"], found["foreign"], found["requeued"]) == (1, 1, 1, 2)
    work(database, connection)
    assert report(database)["right"] == 3


def test_what_stands_in_the_way_is_a_sentence(roles: Roles, database: Database) -> None:
    assert "no pipeline to verify" in pgembedd("verify", database=database.conninfo).refused(USAGE)
    assert pgembedd("verify", "--all", "--sample", "3", database=database.conninfo).code == USAGE
    worker = roles.make("worker", "in role pgembedd_worker")
    said = pgembedd("verify", database=conninfo_as(database, worker)).refused(USAGE)
    assert "may not verify: run it as the owner" in said

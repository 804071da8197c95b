"""The whole cycle on each pgmq: as an extension (1.13.0, and reconstructions of 1.5.1 and 1.4.4), and as plain SQL."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.contrib.supabase import find_plans, find_undo_plans, options_of
from pgembedd.database.migrate import downgrade, migrate
from tests.sql.imports.imports import carried_out
from tests.support.databases import Database
from tests.support.guide import INSERT, follow_guide, guide_table, waiting_messages
from tests.support.pgmq_extension import PgmqServer
from tests.support.sql import (
    BACKFILL,
    claim,
    claim_one,
    column,
    connected,
    create_pipeline,
    due,
    fail,
    let_leases_run_out,
    make_documents,
    queued,
    release,
    store,
    value,
)


def cycle(connection: psycopg.Connection) -> None:
    """Enqueue, claim, read, store, fail, release, pause, sweep, retry; and a second pipeline."""
    make_documents(connection, 3)
    create_pipeline(connection, max_attempts=2)
    assert store(connection, claim(connection, BACKFILL)) == ["written"] * 3
    connection.execute("insert into documents (id, title) values (10, 'a'), (11, 'b')")
    first, second = claim(connection)
    assert claim(connection) == [], "under a lease"
    assert release(connection, [second]) == 1
    assert fail(connection, first)[:2] == ("retry", 1)
    let_leases_run_out(connection)
    first, second = sorted(claim(connection), key=lambda job: job.msg_id)
    assert fail(connection, first)[:2] == ("dead", 2)
    assert store(connection, [second]) == ["written"]
    assert column(connection, "select reason from pgembedd.dead_letters") == ["content"]
    assert value(connection, "select pgembedd.retry_dead_letters('documents')") == 1
    assert due(connection) == [1]
    assert store(connection, [claim_one(connection)]) == ["written"]
    connection.execute("select pgembedd.pause('documents')")
    connection.execute("insert into documents (id, title) values (12, 'c')")
    assert claim(connection) == []
    connection.execute("select pgembedd.resume('documents')")
    assert store(connection, [claim_one(connection)]) == ["written"]
    connection.execute("alter table documents disable trigger all")
    connection.execute("insert into documents (id, title) values (13, 'd')")
    connection.execute("select pgembedd.sweep()")
    assert queued(connection, BACKFILL) == [13]
    claim_two(connection)


def claim_two(connection: psycopg.Connection) -> None:
    """Two pipelines are claimed one by one."""
    create_pipeline(connection, pipeline="second", embedding_column="second_vector", backfill=False)
    connection.execute("alter table documents enable trigger all")
    connection.execute("insert into documents (id, title) values (14, 'e'), (15, 'f')")
    jobs = claim(connection)
    assert {job.pipeline for job in jobs} == {"documents", "second"}
    for job in jobs:
        assert (job.read_ct, store(connection, [job])) == (1, ["written"])


@pytest.mark.slow
def test_extension(pgmq_server: PgmqServer, pgmq_database: Database) -> None:
    migrate(pgmq_database.conninfo)
    with connected(pgmq_database) as connection:
        assert value(connection, "select extversion from pg_extension where extname = 'pgmq'") == pgmq_server.version
        cycle(connection)
        downgrade(pgmq_database.conninfo)
        assert value(connection, "select count(*) from pg_extension where extname = 'pgmq'") == 0
        assert value(connection, "select count(embedding) from documents") == 8


@pytest.mark.slow
def test_the_jobs_of_supabases_guide_are_taken_along_and_given_back(pgmq_database: Database) -> None:
    """The notes of one that failed meanwhile stay here."""
    migrate(pgmq_database.conninfo)
    with connected(pgmq_database) as connection:
        follow_guide(connection)
        guide_table(connection)
        connection.execute(INSERT, [1])
        (before,) = waiting_messages(connection)
        carried_out(connection, list(find_plans(connection, options_of("gte-small", None))))
        assert waiting_messages(connection) == []
        assert fail(connection, claim_one(connection))[:2] == ("retry", 1)
        carried_out(connection, list(find_undo_plans(connection)))
        assert queued(connection) == []
        (after,) = waiting_messages(connection)
        assert (after["message"], after.keys()) == (before["message"], before.keys())


@pytest.mark.slow
def test_plain_sql(database: Database) -> None:
    with connected(database) as connection:
        assert value(connection, "select count(*) from pg_extension where extname = 'pgmq'") == 0
        cycle(connection)

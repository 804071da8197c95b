"""PgBouncer is found in transaction mode, which keeps no session; the worker works without one then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgembedd.cli.process import check_database
from pgembedd.database.connect import connect
from pgembedd.database.connection import Connection
from pgembedd.database.limit import OwnerTimeoutError
from pgembedd.database.queries import query
from pgembedd.database.sessions import Sessions
from pgembedd.verify.snapshot import read_rows
from tests.faults import pgbouncer
from tests.faults.pgbouncer import Bouncer
from tests.loop.test_slow_owners import ENDLESS, KINDS, assert_mended, attacker, others_go_on, slow
from tests.support.command import pgembedd
from tests.support.databases import Database, open_directory
from tests.support.documents import await_quiet, insert, make_documents, put_off_upkeep
from tests.support.planted import caught, plant
from tests.support.roles import Roles, conninfo_as
from tests.support.search import make_source
from tests.support.sql import column, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess


@contextmanager
def pooled(
    roles: Roles, database: Database, mode: Literal["session", "transaction"], pool: int = pgbouncer.POOL
) -> Iterator[str]:
    """The connection string of a worker's role through a pooler. Skips the test without PgBouncer."""
    role = roles.make("worker")
    with database.connect() as connection:
        connection.execute("select pgembedd.grant_worker(%s)", [role])
    with open_directory() as folder:
        bouncer = Bouncer(pgbouncer.packages(), folder / "bouncer", database.conninfo, mode, [role], pool=pool)
        try:
            yield bouncer.route(conninfo_as(database, role))
        finally:
            bouncer.kill()


def test_only_a_pooler_in_transaction_mode_keeps_no_session(roles: Roles, database: Database) -> None:
    assert not check_database(database.conninfo, ())
    with pooled(roles, database, "session") as conninfo:
        assert not check_database(conninfo, ())
    with pooled(roles, database, "transaction") as conninfo:
        assert check_database(conninfo, ())


@pytest.mark.slow
def test_behind_a_pooler_in_transaction_mode_a_worker_polls(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection)
    with pooled(roles, database, "transaction") as conninfo, WorkerProcess(conninfo) as worker:
        worker.await_event("worker_started")
        insert(connection, range(3))
        await_quiet(connection)
        (found,) = worker.named("pooler_found")
        assert str(found["remedy"]).startswith("it keeps no session, so PGEMBEDD_WAIT=poll is used")
        listening = "select query from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
        assert column(connection, listening) == []
    assert value(connection, "select count(embedding) from documents") == 3
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "content function",
        "content function that catches its cancellation",
        "before trigger that takes the limit away",
        "deferred trigger",
        "trigger that runs at COMMIT",
    ],
)
def test_behind_a_pooler_in_transaction_mode_code_of_an_owner_has_its_limit(
    roles: Roles, database: Database, connection: psycopg.Connection, name: str
) -> None:
    kind = KINDS[name]
    for table in ("one", "two"):
        make_documents(connection, table)
    with attacker(database, connection, roles, kind) as owner, pooled(roles, database, "transaction") as conninfo:
        put_off_upkeep(connection)
        insert(connection, range(1, 5), "slow")
        owner.execute(slow(ENDLESS[kind.body]).encode())
        with WorkerProcess(conninfo, PGEMBEDD_OWNER_TIMEOUT_S="0.5") as worker:
            worker.await_event("pooler_found")
            eventually(lambda: worker.named("owner_timeout"))
            others_go_on(connection)
            owner.execute(slow(""))
            assert_mended(connection)
    assert value(connection, "select count(embedding) from slow") == 4


@pytest.mark.slow
def test_the_limit_begins_when_the_pooler_has_a_session(roles: Roles, database: Database) -> None:
    """Neither is an owner blamed for the wait, nor the process ended that served the transaction before."""
    with pooled(roles, database, "transaction", pool=1) as conninfo:
        lost: list[str] = []

        def release(purpose: str, *, up: bool) -> None:
            if not up:
                lost.append(purpose)
                other.rollback()

        limited = Connection(Sessions(conninfo, "store", pooled=True, limit_s=0.01, on_change=release), Event())
        with psycopg.connect(conninfo) as other, closing(limited):
            before = limited.rows_once("process", {})
            assert other.execute("select pg_backend_pid()").fetchall() == before
            assert limited.rows_once("process", {}) == before
        assert lost == ["store"]


@pytest.mark.slow
@pytest.mark.parametrize("through", ["pooler", "no pooler"])
def test_a_lower_limit_of_the_role_itself_holds_as_long_as_it_is_there(
    roles: Roles, database: Database, connection: psycopg.Connection, through: str
) -> None:
    waits: dict[str, Any] = {"names": None, "poll_s": 3600.0, "unserved": [], "idle": False}
    waits |= {"queue": "pgembedd_fresh", "task": "embed"}
    with pooled(roles, database, "transaction") as pooler:
        role = str(conninfo_to_dict(pooler)["user"])
        conninfo = pooler if through == "pooler" else conninfo_as(database, role)
        connection.execute(f"alter role {role} set statement_timeout = '1s'")
        sessions = Sessions(conninfo, "store", pooled=through == "pooler", limit_s=60.0)
        with closing(Connection(sessions, Event())) as limited:
            with pytest.raises(OwnerTimeoutError, match="within 1 s"):
                limited.rows_once("due", waits)
            connection.execute(f"alter role {role} reset statement_timeout")
            limited.close()
            limited.rows("process")
            assert sessions.limit_s == 60.0


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("session", marks=pytest.mark.release), "transaction"])
@pytest.mark.parametrize("ignored", ["", "options"])
def test_no_name_is_looked_up_in_public(
    roles: Roles, database: Database, mode: Literal["session", "transaction"], ignored: str, tmp_path: Path
) -> None:
    """Neither where a pooler refuses settings at the start nor where it leaves them out."""
    admin = roles.make("admin", "superuser")
    with database.connect() as connection:
        make_source(connection, 5)
        connection.execute("create schema ai; create table ai.vectorizer (id int)")
    plant(database, roles.make("planter"))
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "a question", "relevant": [1]}')
    calls: dict[str, list[list[str]]] = {
        **{name: [[]] for name in ("status", "truncated", "doctor", "verify", "migrate")},
        "search": [["a question", "documents", "--mode", "text"]],
        "eval": [["documents", str(questions)]],
        "retry": [["documents"]],
        "backfill": [["documents", "--no-wait"]],
        "index": [["documents"]],
        "import": [["supabase"], ["supabase", "--undo"], ["pgai"]],
    }
    with open_directory() as folder:
        bouncer = Bouncer(pgbouncer.packages(), folder / "bouncer", database.conninfo, mode, [admin], ignored)
        try:
            conninfo = bouncer.route(conninfo_as(database, admin))
            for command, arguments in [(name, given) for name, each in calls.items() for given in each]:
                done = pgembedd(command, *arguments, database=conninfo)
                assert "Traceback" not in done.err
                assert "Usage: " not in done.err, "a mistyped command looks nothing up"
                assert not caught(database), (command, arguments, done)
            for autocommit in (True, False):
                with connect(conninfo, autocommit=autocommit) as own:
                    assert own.keeps_session == (mode == "session")
                    for _ in range(2):
                        assert [row.state for row in read_rows(own, "documents", ["1", "2"])] == ["ok", "ok"]
                        own.execute(query("verify_noted"), {"name": "documents", "ids": ["1"]})
                        own.commit()
                        with own.transaction(), own.transaction():
                            own.execute(query("verify_noted"), {"name": "documents", "ids": ["1"]})
            assert not caught(database)
            with psycopg.connect(conninfo, autocommit=True) as other:  # the sessions are others', too
                assert {value(other, "show search_path") for _ in range(10)} == {'"$user", public'}
        finally:
            bouncer.kill()

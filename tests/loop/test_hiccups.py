"""An error of the database at any statement of a worker ends no worker, and leaves no row without its vector."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg import errors

from pgembedd.cli.process import check_database
from pgembedd.database import connection as connection_module
from pgembedd.database.queries import query
from pgembedd.loop import claimer, embed_requests
from pgembedd.model import Session
from pgembedd.retry_policy import RetryPolicy
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing, stale
from tests.support.embedders import Wrapped, only
from tests.support.pages import contracts
from tests.support.sql import column
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

LANES = {f"{stage}{lane}" for stage in ("fetch", "deliver") for lane in ("", " backfill", " parse", " parse backfill")}
THREADS = {"heartbeat", "upkeep", "embed requests", "index"} | LANES
# What psycopg says when the answers are not those to what was asked, as a pooler's may be.
MIXED_UP = psycopg.InternalError("received 2 results from command 'BEGIN'")
# What the server may say of any statement: these are neither of the row's making nor of the worker's.
BAD_MOMENTS = (MIXED_UP, errors.IoError("no"), errors.InternalError_("no"), errors.InsufficientPrivilege("no"))
# An error of the server at what touches a user's table is an attempt of the row.
OF_USERS_TABLES = (
    "internal.read(",
    "internal.store(",
    "internal.read_files(",
    "internal.store_pages(",
    "pgembedd.tick(",
)


def _times(thread: str, statement: str) -> int:
    if any(name in statement for name in OF_USERS_TABLES):
        return 1
    return 2 if thread == "heartbeat" else len(BAD_MOMENTS)  # which has three tries in the time of a lease


def test_an_error_at_each_statement_of_each_thread(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised, extended = Counter[tuple[str, str]](), threading.Event()
    execute = psycopg.Connection.execute

    def failing(self: psycopg.Connection, statement: Any, *values: Any, **options: Any) -> Any:
        text = statement if isinstance(statement, str | bytes) else statement.as_string(self)
        text = text.decode() if isinstance(text, bytes) else text
        at = (threading.current_thread().name, text)
        if at[0] in THREADS and raised[at] < _times(*at):
            raised[at] += 1
            raise BAD_MOMENTS[raised[at] - 1]
        answer = execute(self, statement, *values, **options)
        if at[0] == "heartbeat" and text == query("extend"):
            extended.set()
        return answer

    def hold(_texts: Sequence[object]) -> None:
        assert extended.wait(PATIENCE_S)

    monkeypatch.setattr(psycopg.Connection, "execute", failing)
    for module in (claimer, embed_requests):
        monkeypatch.setattr(module, "ERROR_PAUSE_S", 0.01)
    monkeypatch.setattr(connection_module, "RECONNECT", RetryPolicy(0.01, 0.01))
    insert_file = "insert into contracts (id, file) values (%s, 'A cat is allowed.')"
    contracts(connection)
    make_documents(connection, index_when="later")
    insert(connection, range(1))
    connection.execute(insert_file, [1])
    for name in ("documents", "contract_text"):
        connection.execute("select pgembedd.backfill(%s, force => true)", [name])
    with worker_thread(database, only(Wrapped(model, on_result=hold)), lease_s=3):
        insert(connection, range(1, 4))
        connection.execute(insert_file, [2])
        await_quiet(connection)
        assert (missing(connection), stale(connection, model)) == ([], [])
        assert column(connection, "select distinct id from contract_pages order by 1") == [1, 2]
        eventually(lambda: {thread for thread, _ in raised} == THREADS)
    for thread, statement in (("heartbeat", "extend("), ("fetch", "claim("), ("fetch", "read("), ("deliver", "store(")):
        assert any(at[0] == thread and f"pgembedd_internal.{statement}" in at[1] for at in raised), (thread, statement)


def test_a_connection_that_is_lost_while_a_worker_starts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [MIXED_UP, psycopg.OperationalError("server closed the connection unexpectedly"), errors.AdminShutdown("no")]
    execute = psycopg.Connection.execute

    def failing(self: psycopg.Connection, *given: Any, **options: Any) -> Any:
        if lost:
            raise lost.pop()
        return execute(self, *given, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", failing)
    check_database(database.conninfo, ())
    assert not lost

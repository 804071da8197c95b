"""Many connections at once, and a database that does not answer, keep no one request waiting."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from logging.handlers import BufferingHandler
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.typing import EventDict

from pgembedd.http import app, connection_pool
from pgembedd.http.connection_pool import DatabasePool as Connections
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.served import PIPELINES_EVERY_S
from pgembedd.http.server import ACCEPTS, HttpServer
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.http.page import make_library
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk


def test_connections_that_come_together_are_taken_together() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        loops.append(asyncio.get_running_loop())  # the lifespan's call

    held, go, counted = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []
    server = HttpServer(app, HttpSettings(http_port=0), lambda: None)  # type: ignore[arg-type]

    def hold() -> None:
        held.set()
        assert go.wait(PATIENCE_S)
        loops[0].call_soon(count, 3)

    def count(turns: int) -> None:
        if turns:
            loops[0].call_soon(count, turns - 1)
        else:
            seen.append(len(server._server.server_state.connections))
            counted.set()

    server.start()
    with ExitStack() as clients:
        loops[0].call_soon_threadsafe(hold)
        assert held.wait(PATIENCE_S)
        for _ in range(ACCEPTS):
            clients.enter_context(socket.create_connection((server.host, server.port)))
        go.set()
        assert counted.wait(PATIENCE_S)
    server.stop()
    assert seen == [ACCEPTS]


def test_vectors_do_not_wait_for_a_look_at_the_pipelines(database: Database, model: Session) -> None:
    service = ServiceContext(
        brisk(), HttpSettings(http_models=model.name), ModelRegistry(only(model)), database.conninfo
    )
    loaded = service.served.get(None)
    with psycopg.connect(database.conninfo) as other:
        other.execute("lock table pgembedd_internal.pipeline in access exclusive mode")
        service.served._pipelines_until -= PIPELINES_EVERY_S + 1  # time for another look
        assert service.served.get_if_loaded(None) is loaded
        assert service.served.get_if_loaded(model.name) is loaded
    service.close()


@pytest.mark.slow
def test_a_database_that_is_away_puts_no_foreign_lines_into_the_log() -> None:
    heard = BufferingHandler(100)
    logging.getLogger().addHandler(heard)
    connections = Connections("host=127.0.0.1 port=1")
    with pytest.raises(Refusal), connections.connection(1.0):
        pass
    connections.close()
    logging.getLogger().removeHandler(heard)
    assert not heard.buffer


def test_a_refused_connection_is_said_at_once_and_logged_once(database: Database, log: list[EventDict]) -> None:
    """And not when the time for a connection is over."""
    connections = Connections(make_conninfo(database.conninfo, password="guessed"))
    for _ in range(3):
        with pytest.raises(Refusal, match="refuses the connection"), connections.connection(100 * PATIENCE_S):
            pass
    connections.close()
    assert [event["event"] for event in log] == ["database_refused"]


def test_a_probe_does_not_wait_for_searches(
    roles: Roles, database: Database, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "THREADS", 1)
    role = roles.make("app", "noinherit")
    with database.connect() as connection:
        make_library(connection, model)
        connection.execute(f"select pgembedd.grant_search('{role}')")
        connection.execute(f"grant select on documents to {role}")
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = %s"
    with (
        serving(only(model), database.conninfo, search_url=conninfo_as(database, role)) as client,
        ThreadPoolExecutor(2) as clients,
        database.connect() as looking,
        database.connect(autocommit=False) as other,
    ):
        other.execute("lock table documents in access exclusive mode")
        asked = {"pipeline": "documents", "query": "a password"}
        searches = [clients.submit(client.post, "/api/v1/search", json=asked) for _ in range(2)]
        eventually(lambda: value(looking, waits, role) == 1)
        assert client.get("/readyz").status_code == 200
        other.rollback()
        assert [search.result(PATIENCE_S).status_code for search in searches] == [200, 200]


def test_requests_beyond_those_that_may_wait_are_refused_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_pool, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(connection_pool, "MAX_WAITING", 0)
    connections = Connections(database.conninfo)
    with connections.connection():
        with pytest.raises(Refusal) as refused, connections.connection(100 * PATIENCE_S):
            pass
        assert refused.value.code == "busy"
    with connections.connection() as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]
    connections.close()

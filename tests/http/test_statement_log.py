"""What a server that logs every statement keeps: no claims, no token, no text of a user, no password."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import httpx
import httpx2
import psycopg
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.search.client import Database as Searches
from tests.http.asked import Asked, asked
from tests.support.command import pgembedd
from tests.support.http import PLAIN, TOKEN
from tests.support.presence import beat
from tests.support.roles import PASSWORD, conninfo_as
from tests.support.sql import end_sessions, value
from tests.support.user_tokens import signed
from tests.support.waiting import eventually

__all__ = ["asked"]

SECRET = "xyzzyplugh"  # in everything that a user sends
TEXT = f"How do I get a new password? {SECRET}"
EVERYTHING = {"log_statement": "all", "log_min_duration_statement": "0", "log_parameter_max_length": "0"}


@contextmanager
def logged(asked: Asked, server: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """All statements of new sessions are in the log, without their parameters; returns what was logged since then."""
    with asked.database.connect() as connection:
        for name, setting in EVERYTHING.items():
            connection.execute(f"alter database {asked.database.name} set {name} = '{setting}'")
        end_sessions(connection, f"usename = '{asked.role}'")
        log = server.data_dir / "server.log"
        begins = log.stat().st_size

        def text() -> str:
            return log.read_bytes()[begins:].decode("utf-8", "replace")

        try:
            yield text
        finally:
            for name in EVERYTHING:
                connection.execute(f"alter database {asked.database.name} reset {name}")


def over_http(asked: Asked, headers: dict[str, str]) -> list[Any]:
    """Every path by which a user's words and claims reach the database."""
    given: dict[str, Any] = {"headers": headers}
    client = asked.client
    found = []
    with client.stream("POST", "/api/v1/answers", json={"pipeline": "documents", "question": TEXT}, **given) as asking:
        assert asking.status_code == 200
        events = asking.iter_lines()
        answer = UUID(next(json.loads(line[6:])["answer"] for line in events if '"answer"' in line))
        with client.stream("GET", f"/api/v1/answers/{answer}", **given) as watching:
            next(line for line in watching.iter_lines() if line.startswith("event: sources"))
        found.append(client.post(f"/api/v1/answers/{answer}/stop", **given))
    with asked.database.connect() as connection:
        thread = str(value(connection, "select thread from pgembedd_internal.answer where id = %s", answer))
    refused = {"pipeline": "documents", "question": TEXT, "thread": thread, "model": SECRET}
    assert client.post("/api/v1/answers", json=refused, **given).status_code == 422
    chat = {"model": "table:documents", "messages": [{"role": "user", "content": TEXT}]}
    assert client.post("/v1/chat/completions", json=chat, **given).status_code == 503
    searched = {"pipeline": "documents", "query": TEXT, "filter": {"body": SECRET}}
    return [*found, client.post("/api/v1/search", json=searched, **given)]


async def over_mcp(asked: Asked, headers: dict[str, str]) -> None:
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(f"{asked.client.base_url}/mcp", http_client=http)) as client,
    ):
        of = {"pipeline": "documents"}
        for tool, given in (
            ("search", of | {"query": TEXT, "filter": {"body": SECRET}}),
            ("similar", of | {"key": SECRET}),
            ("get_row", of | {"key": SECRET}),
            ("ask", of | {"question": TEXT}),
        ):
            await client.call_tool(tool, given)


@pytest.mark.slow
def test_no_statement_has_what_a_user_sent(asked: Asked, server: EmbeddedPostgres) -> None:
    asked.forget_all()
    headers = {"authorization": f"Bearer {signed(sub=f'user {SECRET}')}"}
    with logged(asked, server) as log:
        for response in over_http(asked, headers):
            assert response.status_code == 200, response.text
        asyncio.run(over_mcp(asked, headers))
        plain: Any = {"base_url": asked.client.base_url, "trust_env": False, "verify": PLAIN, "timeout": 60}
        with httpx.Client(auth=("", TOKEN), **plain) as browser:
            browser.post("/chat", data={"pipeline": "documents", "question": TEXT})
            browser.get("/search", params={"pipeline": "documents", "q": TEXT})
        own = conninfo_as(asked.database, asked.role)
        for arguments in (("search", TEXT, "documents"), ("ask", TEXT, "documents", "--model", SECRET)):
            pgembedd(*arguments, database=own)
        with Searches(own) as searches, suppress(Exception):
            searches.search("documents", TEXT, filter={"body": SECRET})
        with asked.database.connect() as worker, asked.database.connect() as connection:
            beat(worker, ("embed",))
            with suppress(psycopg.Error):
                connection.execute("select pgembedd.embed(%s, 'documents', timeout => '50 ms')", [TEXT])
            with connection.transaction(force_rollback=True):
                connection.execute("select pgembedd.embed_through()")
                made = value(connection, "select password from pgembedd_internal.loopback")
        eventually(lambda: "pgembedd.embed_through" in log())
        written = log()
    assert "pgembedd.ask(" in written
    lines = [line for line in written.splitlines() if any(word in line for word in (SECRET, made, PASSWORD, TOKEN))]
    # A refusal names what was refused: an error's sentence is no statement.
    assert [line for line in lines if " ERROR:  " not in line] == []

"""The tools for assistants, as the official client sees them: over HTTP, and over a process's standard streams."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent
from psycopg.conninfo import make_conninfo

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.mcp.tools import MAX_CHARACTERS
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.http.page import TEXTS, make_library
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.roles import Roles, conninfo_as, temporary_roles
from tests.support.schemas import without
from tests.support.sql import connected

FOR_SEARCHES, FOR_VECTORS = "a-token-for-searches", "a-token-for-vectors"
ASKED = {"pipeline": "documents", "query": "I cannot remember my passphrase"}
Use = Callable[[Client], Awaitable[Any]]


@dataclass(frozen=True)
class Tools:
    """A service, and the role that its tools search as."""

    url: str
    database: Database
    role: str

    def over_http(self, use: Use, token: str = FOR_SEARCHES) -> Any:
        """What a client over HTTP gets."""

        async def connected() -> Any:
            async with self._http(token) as client:
                return await use(client)

        return asyncio.run(connected())

    @asynccontextmanager
    async def _http(self, token: str) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http)) as client,
        ):
            yield client

    def over_stdio(self, use: Use, **environment: str) -> Any:
        """What a client of `pgembedd mcp` gets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
        kept |= {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
        env = kept | {"PGEMBEDD_SEARCH_URL": conninfo_as(self.database, self.role)} | environment
        process = StdioServerParameters(command=sys.executable, args=["-m", "pgembedd", "mcp"], env=env)

        async def connected() -> Any:
            async with Client(process) as client:
                return await use(client)

        return asyncio.run(connected())


@pytest.fixture(scope="module")
def tools(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tools]:
    with temporary_roles(server) as roles, fresh_database(server, template.name) as database:
        role = roles.make("assistant", "noinherit")
        with database.connect() as connection:
            make_library(connection, model)
            connection.execute(f"select pgembedd.grant_search('{role}')")
            connection.execute(f"grant select (id, body, embedding) on documents to {role}")
        tokens = tmp_path_factory.mktemp("tokens") / "tokens"
        tokens.write_text(f"{FOR_SEARCHES} search\n{FOR_VECTORS} embed\n")
        with serving(
            only(model),
            database.conninfo,
            http_token=TOKEN,
            http_tokens_file=str(tokens),
            search_url=conninfo_as(database, role),
        ) as client:
            yield Tools(str(client.base_url).rstrip("/"), database, role)


@pytest.mark.slow
def test_a_tool_whose_function_is_missing_says_so_and_works_again(tools: Tools, ask: Callable[[Use], Any]) -> None:
    async def use(client: Client) -> tuple[CallToolResult, CallToolResult]:
        with connected(tools.database) as connection, without(connection, "search_pipelines"):
            refused = await client.call_tool("list_pipelines", {})
        return refused, await client.call_tool("list_pipelines", {})

    refused, found = ask(use)
    assert refused.is_error
    assert "Is this version's schema there (`pgembedd migrate`)" in text_of(refused)
    assert not found.is_error


@pytest.fixture(params=["http", "stdio"])
def ask(request: pytest.FixtureRequest, tools: Tools) -> Callable[[Use], Any]:
    """Either way of asking."""
    return tools.over_http if request.param == "http" else tools.over_stdio


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.mark.slow
def test_every_tool_reads_and_answers(ask: Callable[[Use], Any], tools: Tools) -> None:
    async def use(client: Client) -> None:
        told = (await client.list_tools()).tools
        assert [tool.name for tool in told] == ["list_pipelines", "search", "similar", "ask", "get_row"]
        hints = {tool.name: tool.annotations.read_only_hint for tool in told if tool.annotations is not None}
        assert hints == {tool.name: tool.name != "ask" for tool in told}
        assert told[1].input_schema["required"] == ["pipeline", "query"]

        (pipeline,) = json.loads(text_of(await client.call_tool("list_pipelines", {})))["pipelines"]
        assert (pipeline["name"], pipeline["key_columns"]) == ("documents", ["id"])
        assert [column for column in pipeline["columns"] if column != "embedding"] == ["id", "body"]

        asked = ASKED | {"k": 2, "filter": {"id": {"$lte": 3}}}
        found = json.loads(text_of(await client.call_tool("search", asked)))["hits"]
        assert [len(found), found[0]["key"], found[0]["record"]] == [2, 1, {"id": 1, "body": TEXTS[1]}]

        like = await client.call_tool("similar", {"pipeline": "documents", "key": 1, "k": 2, "per": "chunk"})
        assert [hit["key"] != 1 for hit in json.loads(text_of(like))["hits"]] == [True, True]

        row = await client.call_tool("get_row", {"pipeline": "documents", "key": found[0]["key"]})
        assert json.loads(text_of(row)) == {"record": {"id": 1, "body": TEXTS[1]}}
        none = await client.call_tool("get_row", {"pipeline": "documents", "key": 99})
        assert json.loads(text_of(none)) == {"record": None}

    ask(use)


@pytest.mark.slow
def test_the_tools_take_every_option_of_a_search(ask: Callable[[Use], Any]) -> None:
    options = {"k": 2, "skip": 1, "text_weight": 0, "rrf_k": 1, "snippet_length": 20, "mode": None}
    reranked = {
        "query": "reset a password",
        "rerank": "ms-marco-minilm-l12",
        "mode": "semantic",
        "snippet_marks": ["<", ">"],
    }

    async def use(client: Client) -> None:
        hits = json.loads(text_of(await client.call_tool("search", ASKED | options)))["hits"]
        assert [hit["semantic_rank"] for hit in hits] == [2, 3]
        assert all(len(hit["snippet"]) <= 24 for hit in hits)
        first, second, *_ = json.loads(text_of(await client.call_tool("search", ASKED | reranked)))["hits"]
        assert first["key"] == 1
        assert first["rerank_score"] > second["rerank_score"]
        for other in ("no-reranker", __file__):
            wrong = await client.call_tool("search", ASKED | {"rerank": other})
            assert wrong.is_error
            assert "ms-marco-minilm-l12" in text_of(wrong)

    ask(use)


@pytest.mark.slow
def test_a_mistake_is_told_in_a_sentence(ask: Callable[[Use], Any]) -> None:
    mistakes: list[tuple[str, dict[str, Any], str]] = [
        ("search", ASKED | {"filter": {"nope": 1}}, 'has no column "nope" that you may filter by'),
        ("search", ASKED | {"pipeline": "gone"}, 'There is no pipeline "gone".'),
        ("search", ASKED | {"query": " "}, "The query is empty."),
        ("search", ASKED | {"k": 51}, "k: Input should be less than or equal to 50."),
        ("search", ASKED | {"sql": "x"}, "sql: Extra inputs are not permitted."),
        ("search", {"pipeline": "documents"}, "query: Field required."),
        ("similar", {"pipeline": "documents", "key": 1, "per": "page"}, "per: Input should be 'row' or 'chunk'."),
        ("get_row", {"pipeline": "documents", "key": {"id": 1}}, "is no key of"),
        ("drop_table", {}, "There is no tool of this name; there are list_pipelines"),
    ]

    async def use(client: Client) -> None:
        for tool, arguments, sentence in mistakes:
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert sentence in text_of(result)

    ask(use)


def test_a_result_has_a_bounded_length(tools: Tools) -> None:
    with tools.database.connect() as connection:
        connection.execute("update documents set body = repeat('long ', 200000) where id = 4")

    async def use(client: Client) -> None:
        found = await client.call_tool("search", ASKED | {"k": 50, "mode": "semantic"})
        assert len(text_of(found)) < 10_000
        row = text_of(await client.call_tool("get_row", {"pipeline": "documents", "key": 4}))
        assert 20_000 < len(row) < MAX_CHARACTERS
        assert row.endswith('…","pgembedd_cut":["body"]}}')

    try:
        tools.over_http(use)
    finally:
        with tools.database.connect() as connection:
            connection.execute("update documents set body = %s where id = 4", (TEXTS[4],))


def test_only_a_token_that_may_search_has_tools(tools: Tools) -> None:
    def answer(headers: dict[str, str]) -> httpx2.Response:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        accepts = {"accept": "application/json, text/event-stream"}
        with httpx2.Client(trust_env=False) as http:
            return http.post(f"{tools.url}/mcp", json=call, headers=accepts | headers)

    assert answer({}).status_code == 401
    assert refused_as(answer({"authorization": f"Bearer {FOR_VECTORS}"})) == (403, "scope_missing")
    assert answer({"authorization": f"Bearer {FOR_SEARCHES}"}).status_code == 200
    with httpx2.Client(trust_env=False) as http:
        assert http.get(f"{tools.url}/mcp", headers={"authorization": f"Bearer {FOR_SEARCHES}"}).status_code == 405


def refused_as(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]


def test_without_a_role_there_are_no_tools(model: Session) -> None:
    with serving(only(model)) as client:
        answer = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]) == (501, "no_search_role")
    assert "PGEMBEDD_SEARCH_URL" in pgembedd("mcp").refused(2)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://me:hush@host/db", "PGEMBEDD_SEARCH_URL cannot be read: write postgresql://user@host:5432/database"),
        ("postgresql://me:hush@host:abc/db", "PGEMBEDD_SEARCH_URL names a port that is no number from 1 to 65535"),
        ("postgresql://host/db", "PGEMBEDD_SEARCH_URL names no user: write postgresql://role@host:5432/database."),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, sentence: str) -> None:
    said = pgembedd("mcp", PGEMBEDD_SEARCH_URL=url).refused(2)
    assert said.startswith(f"pgembedd: {sentence}")
    assert "hush" not in said
    assert pgembedd("serve", "--no-database", PGEMBEDD_SEARCH_URL=url).refused(2) == said


def test_the_url_and_the_secret_of_jwts_may_stand_in_files(tmp_path: Path) -> None:
    url, secret = tmp_path / "url", tmp_path / "secret"
    url.write_text("postgresql://host/db\n")
    secret.write_text("short\n")
    said = pgembedd("mcp", PGEMBEDD_SEARCH_URL_FILE=str(url)).refused(2)
    assert said.startswith("pgembedd: PGEMBEDD_SEARCH_URL names no user")
    warned = pgembedd("mcp", PGEMBEDD_SEARCH_URI=str(url), PGEMBEDD_LOG_FORMAT="json").err.splitlines()[0]
    assert json.loads(warned)["nearest"][0] == "PGEMBEDD_SEARCH_URL"
    said = pgembedd("serve", "--no-database", PGEMBEDD_HTTP_JWT_SECRET_FILE=str(secret)).refused(2)
    assert said.startswith("pgembedd: PGEMBEDD_HTTP_JWT_SECRET must have 32 bytes or more.")
    said = pgembedd("mcp", PGEMBEDD_SEARCH_URL_FILE=str(tmp_path / "none")).refused(2)
    assert said.startswith(f"pgembedd: The file {tmp_path}/none named by PGEMBEDD_SEARCH_URL_FILE cannot be read")
    given = HttpSettings(search_url="postgresql://me@host/db", search_url_file=str(url))
    assert given.with_secrets().search_url == given.search_url, "the variable takes precedence, as DATABASE_URL does"


def test_an_assistant_is_told_that_the_database_is_away(tools: Tools) -> None:
    async def use(client: Client) -> None:
        answer = await client.call_tool("list_pipelines", {})
        assert answer.is_error
        assert text_of(answer) == 'The database "db" at 127.0.0.1:1 (as me) cannot be reached: Connection refused.'

    tools.over_stdio(use, PGEMBEDD_SEARCH_URL="postgresql://me:hush@127.0.0.1:1/db")


@pytest.mark.slow
def test_an_assistant_is_told_that_the_database_refuses_its_role(tools: Tools) -> None:
    async def use(client: Client) -> None:
        answer = await client.call_tool("list_pipelines", {})
        assert answer.is_error
        assert f'refuses the connection: password authentication failed for user "{tools.role}".' in text_of(answer)
        assert "hush" not in text_of(answer)

    tools.over_stdio(use, PGEMBEDD_SEARCH_URL=make_conninfo(conninfo_as(tools.database, tools.role), password="hush"))


@pytest.mark.slow
def test_a_role_with_more_rights_has_no_tools(tools: Tools, roles: Roles) -> None:
    role = roles.make("mighty", "superuser noinherit")

    async def use(client: Client) -> None:
        refused = await client.call_tool("list_pipelines", {})
        assert refused.is_error
        assert f'The role "{role}" that searches is a superuser' in text_of(refused)

    tools.over_stdio(use, PGEMBEDD_SEARCH_URL=conninfo_as(tools.database, role))

"""Who may ask, and which language model: the same sentence over HTTP, for assistants and on the command line."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import jwt
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.http.asked import QUESTION, Asked, asked
from tests.support.command import pgembedd
from tests.support.roles import conninfo_as
from tests.support.sql import value
from tests.support.user_tokens import SECRET, signed

__all__ = ["asked"]

BODY = {"pipeline": "documents", "question": QUESTION}
CHAT = {"model": "table:documents", "messages": [{"role": "user", "content": QUESTION}]}


def over_mcp(asked: Asked, headers: dict[str, str], **given: Any) -> tuple[bool, str]:
    """Whether an assistant's call failed, and what it was told."""

    async def call() -> Any:
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            Client(streamable_http_client(f"{asked.client.base_url}/mcp", http_client=http)) as client,
        ):
            return await client.call_tool("ask", {**BODY, **given})

    result = asyncio.run(call())
    return result.is_error, result.content[0].text


def questions(asked: Asked) -> int:
    with asked.database.connect() as connection:
        found: int = value(connection, "select count(*) from pgembedd_internal.answer")
        return found


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"role": "anon"}])
def test_a_token_without_a_subject_asks_nothing_and_sees_nothing(asked: Asked, claims: dict[str, str]) -> None:
    token = jwt.encode({"exp": int(time.time()) + 600, **claims}, SECRET, "HS256")
    headers = {"authorization": f"Bearer {token}"}
    told = "The claims have no sub, so an answer would belong to all who have none."
    before = questions(asked)
    for path, body in (("/api/v1/answers", BODY), ("/v1/chat/completions", CHAT)):
        refused = asked.client.post(path, headers=headers, json=body)
        assert refused.status_code == 403, path
        assert told in refused.text, path
    is_error, sentence = over_mcp(asked, headers)
    assert is_error
    assert told in sentence
    assert questions(asked) == before
    with asked.client.stream("POST", "/api/v1/answers", headers=asked.headers(None), json=BODY) as mine:
        address = mine.headers["location"]
        for method, path in (("GET", address), ("POST", f"{address}/stop")):
            assert asked.client.request(method, path, headers=headers).status_code == 404
    assert asked.client.post("/api/v1/search", headers=headers, json={"pipeline": "documents", "query": "x"}).is_success


def test_a_language_model_that_may_not_be_named_is_one_sentence(asked: Asked) -> None:
    configure = "select pgembedd.configure_answers('documents', 'small', min_similarity => -1, language_models => %s)"
    with asked.database.connect() as connection:
        connection.execute(configure, [["mid"]])
        before = questions(asked)
        told = 'A question about "documents" may name the language model mid or small, not large.'
        headers = {"authorization": f"Bearer {signed()}"}
        refused = asked.client.post("/api/v1/answers", headers=headers, json={**BODY, "language_model": "large"})
        assert refused.status_code == 422
        assert told in refused.json()["message"]
        is_error, sentence = over_mcp(asked, headers, language_model="large")
        assert is_error
        assert told in sentence
        own = conninfo_as(asked.database, asked.role)
        assert told in pgembedd("ask", QUESTION, "documents", "--language-model", "large", database=own).refused(2)
        assert questions(asked) == before
        with asked.client.stream(
            "POST", "/api/v1/answers", headers=headers, json={**BODY, "language_model": "mid"}
        ) as mine:
            assert mine.status_code == 200
        connection.execute(configure, [[]])

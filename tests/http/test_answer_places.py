"""Viewers share the places of a service, and what is refused was not asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from pgembedd.http.answer_viewers import ViewerPlaces
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal
from pgembedd.model import Session
from tests.http.asked import QUESTION, SENTENCES, Asked, asked, while_answering
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.roles import conninfo_as
from tests.support.sql import column, rows, value
from tests.support.user_tokens import SECRET
from tests.support.waiting import eventually

__all__ = ["asked"]

PLACES, OF_USER, OF_ROLE = 16, 2, 12
BODY = {"pipeline": "documents", "question": QUESTION}


@pytest.fixture(scope="module")
def few(asked: Asked, model: Session) -> Iterator[Asked]:
    """A service over the same table that has few places for viewers."""
    with serving(
        only(model),
        asked.database.conninfo,
        http_token=TOKEN,
        search_url=conninfo_as(asked.database, asked.role),
        http_jwt_secret=SECRET,
        http_max_listeners=PLACES,
    ) as client:
        yield replace(asked, client=client)


def watch(few: Asked, ended: ExitStack, user: str | None) -> UUID:
    """Asks and goes on watching; the answer. The places of clients that have just left are free in a moment."""
    answers: list[UUID] = []

    def asked_for() -> bool:
        with ExitStack() as opened:
            asking = few.client.stream("POST", "/api/v1/answers", headers=few.headers(user), json=BODY)
            response = opened.enter_context(asking)
            if response.status_code == 200:
                answers.append(UUID(response.headers["location"].rpartition("/")[2]))
                ended.push(opened.pop_all())
        return bool(answers)

    eventually(asked_for)
    return answers[0]


def over_mcp(few: Asked, user: str | None) -> str:
    """What an assistant is told of its question."""

    async def call() -> Any:
        async with (
            httpx2.AsyncClient(headers=few.headers(user), trust_env=False) as http,
            Client(streamable_http_client(f"{few.client.base_url}/mcp", http_client=http)) as client,
        ):
            return await client.call_tool("ask", BODY)

    result = asyncio.run(call())
    text: str = result.content[0].text
    return text


def over_answers(few: Asked, user: str | None) -> httpx.Response:
    with few.client.stream("POST", "/api/v1/answers", headers=few.headers(user), json=BODY) as response:
        if response.status_code != 200:  # else it has no end
            response.read()
    return response


def over_chat(few: Asked, user: str | None, stream: bool) -> httpx.Response:
    said = {"model": "table:documents", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
    return few.client.post("/v1/chat/completions", headers=few.headers(user), json=said)


def on_the_page(few: Asked, _: str | None) -> httpx.Response:
    plain: Any = {"base_url": few.client.base_url, "trust_env": False, "verify": PLAIN, "timeout": 60}
    with httpx.Client(auth=("", TOKEN), **plain) as browser:
        return browser.post("/chat", data=BODY)


# Every way to ask over HTTP; each returns its response, or the text of a tool.
WAYS: dict[str, Callable[[Asked, str | None], Any]] = {
    "answers": over_answers,
    "chat": lambda few, user: over_chat(few, user, stream=False),
    "streamed chat": lambda few, user: over_chat(few, user, stream=True),
    "mcp": over_mcp,
    "page": on_the_page,
}


def left(few: Asked) -> list[Any]:
    """All that a question leaves."""
    with few.database.connect() as connection:
        tables = ("answer", "answer_thread", "answer_source", "embed_request")
        return [value(connection, f"select count(*) from pgembedd_internal.{table}") for table in tables]


def refuse_all(few: Asked, user: str | None, status: int, words: str) -> None:
    before = left(few)
    for name, way in WAYS.items():
        if name == "page" and user is not None:
            continue  # it takes the operator's tokens alone
        told = way(few, user)
        assert isinstance(told, str) or told.status_code == status, name
        text = told if isinstance(told, str) else told.text
        assert words in text, (name, text)
        assert left(few) == before, name


def test_one_user_has_a_share_of_the_places_and_others_keep_theirs(few: Asked) -> None:
    few.forget_all()
    with ExitStack() as ended:
        mine = [watch(few, ended, "eve") for _ in range(OF_USER)]
        refuse_all(few, "eve", 429, f"You watch {OF_USER} answers already; try again when one has ended.")
        watched = few.client.get(f"/api/v1/answers/{mine[0]}", headers=few.headers("eve"))
        assert watched.status_code == 429
        for user in ("ann", "bob"):
            with ExitStack() as own:
                others = [watch(few, own, user) for _ in range(OF_USER)]
                for answer in others:
                    few.write(answer)
        told = json.loads(while_answering(few, lambda: over_mcp(few, "ann")))
        assert (told["status"], told["answer"]) == ("complete", "".join(SENTENCES))
        assert while_answering(few, lambda: over_chat(few, "bob", stream=False)).status_code == 200
    few.forget_all()


def test_where_there_is_no_place_nothing_was_asked(few: Asked) -> None:
    few.forget_all()
    with ExitStack() as ended:
        for _ in range(OF_ROLE):
            watch(few, ended, None)
        refuse_all(few, None, 503, f"{OF_ROLE} clients watch answers already; try again later.")
        refuse_all(few, "ann", 503, f"{OF_ROLE} clients watch answers already; try again later.")
    with ExitStack() as ended:
        watch(few, ended, "ann")  # their places are free again
    few.forget_all()


def test_a_question_whose_answer_cannot_be_read_was_not_asked(few: Asked) -> None:
    with few.database.connect() as connection:
        connection.execute(f"revoke select on pgembedd.answers from {few.role}")
        try:
            refuse_all(few, "ann", 403, "permission denied for view answers.")
        finally:
            connection.execute(f"grant select on pgembedd.answers to {few.role}")


@pytest.mark.slow
def test_a_question_that_no_worker_takes_is_stopped_where_its_asker_is_refused(few: Asked) -> None:
    few.forget_all()
    with few.database.connect() as connection:
        state = "select status, attempt from pgembedd_internal.answer where question = %s"
        assert "No worker has taken the question" in over_mcp(few, "ann")
        assert over_chat(few, "ann", stream=False).status_code == 503
        assert over_chat(few, "ann", stream=True).status_code == 503
        eventually(lambda: rows(connection, state, QUESTION) == [("stopped", 0)] * 3)
        # The chat goes on in its thread, whose search knows nothing of the refused question.
        said: list[Any] = [{"role": "user", "content": QUESTION}]
        chat = {"model": "table:documents", "messages": said}
        headers = few.headers("ann")
        first = while_answering(few, lambda: few.client.post("/v1/chat/completions", headers=headers, json=chat))
        said += [first.json()["choices"][0]["message"], {"role": "user", "content": "And then?"}]
        assert few.client.post("/v1/chat/completions", headers=headers, json=chat).status_code == 503
        again = while_answering(few, lambda: few.client.post("/v1/chat/completions", headers=headers, json=chat))
        assert again.status_code == 200
        threads = column(connection, "select thread from pgembedd_internal.answer where question = 'And then?'")
        assert len(threads) == 2
        assert len(set(threads)) == 1
    few.forget_all()


def test_shares() -> None:
    ann, bob, token = (Caller(frozenset(), "role", claims) for claims in ({"sub": "ann"}, {"sub": "bob"}, None))
    later = Caller(frozenset(), "role", {"sub": "ann", "iat": 1})
    other = Caller(frozenset(), "another role", {"sub": "ann"})
    places = ViewerPlaces(16)
    taken = [places.take(ann), places.take(later)]
    with pytest.raises(Refusal) as refused:
        places.take(ann)
    assert refused.value.status == 429
    taken += [places.take(bob) for _ in range(2)] + [places.take(token) for _ in range(8)]
    with pytest.raises(Refusal) as refused:
        places.take(token)
    assert refused.value.status == 503
    taken += [places.take(other) for _ in range(2)]
    for place in [*taken, *taken]:  # twice
        place.close()
    for caller in (ann, token, other):
        places.take(caller).close()
    with pytest.raises(Refusal, match="0 clients"):
        ViewerPlaces(0).take(token)
    assert ViewerPlaces(1).take(ann)

"""`/v1/chat/completions` and `/v1/models` over a language model, by OpenAI's own client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest

from pgembedd.model import Session
from tests.http.test_generate import over
from tests.support.http import TOKEN
from tests.support.servers.ollama import WORDS, StandInOllama, event
from tests.support.servers.stand_in import Answer, Hang, json_answer, leave_while_it_hangs
from tests.support.waiting import PATIENCE_S

ASKED: Any = [{"role": "user", "content": "How?"}]
DELTA = event({"choices": [{"index": 0, "delta": {"content": "Open"}, "finish_reason": None}]})


@pytest.fixture
def service(model: Session, ollama: StandInOllama) -> Iterator[httpx.Client]:
    with over(model, ollama.url, http_token=TOKEN) as client:
        yield client


@pytest.fixture
def client(service: httpx.Client) -> Iterator[openai.OpenAI]:
    with client_of(service) as made:
        yield made


def client_of(service: httpx.Client) -> openai.OpenAI:
    """OpenAI's client, which asks once only."""
    plain = httpx2.Client(trust_env=False)
    return openai.OpenAI(base_url=f"{service.base_url}/v1", api_key=TOKEN, max_retries=0, http_client=plain)


@pytest.mark.slow
def test_an_answer(client: openai.OpenAI, ollama: StandInOllama) -> None:
    answer = client.chat.completions.create(model="llama3", messages=ASKED, temperature=0)

    assert answer.choices[0].message.content == "".join(WORDS)
    (asked,) = ollama.received
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {"model": "llama3", "messages": ASKED, "temperature": 0, "stream": False}
    assert "authorization" not in asked.headers, "our token is not the server's"


def test_the_newer_name_of_the_limit_reaches_a_server_that_knows_the_older_one(
    client: openai.OpenAI, ollama: StandInOllama
) -> None:
    client.chat.completions.create(model="llama3", messages=ASKED, max_completion_tokens=5)
    client.chat.completions.create(model="llama3", messages=ASKED, max_tokens=6)
    limits = [
        {name: body[name] for name in body if name.startswith("max")} for body in (r.body for r in ollama.received)
    ]
    assert limits == [{"max_tokens": 5}, {"max_tokens": 6}]


def test_a_compatible_server_gets_the_limit_by_the_name_it_was_given(model: Session, ollama: StandInOllama) -> None:
    with (
        over(model, ollama.url, http_token=TOKEN, language_mode="openaicompatible") as service,
        client_of(service) as client,
    ):
        client.chat.completions.create(model="llama3", messages=ASKED, max_completion_tokens=5)
    assert {name: value for name, value in ollama.received[0].body.items() if name.startswith("max")} == {
        "max_completion_tokens": 5
    }


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", [0, -2, 1.5, "5", True, []])
@pytest.mark.parametrize("model", ["llama3", "table:documents"])
def test_what_is_no_limit_of_tokens_is_a_sentence(
    client: openai.OpenAI, ollama: StandInOllama, model: str, name: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{name}: It has to be a whole number of tokens") as refused:
        client.chat.completions.create(model=model, messages=ASKED, extra_body={name: value})
    assert refused.value.param == name
    assert ollama.received == []


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_minus_one_is_none(client: openai.OpenAI, ollama: StandInOllama, name: str) -> None:
    client.chat.completions.create(model="llama3", messages=ASKED, extra_body={name: -1})
    assert [key for key in ollama.received[0].body if key.startswith("max")] == []


def test_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="llama3", messages=ASKED, stream=True) as stream:
        parts = [chunk.choices[0].delta.content for chunk in stream]

    assert parts == [*WORDS, None]


def test_without_a_model_the_default_one_answers(service: httpx.Client, ollama: StandInOllama) -> None:
    service.post("/v1/chat/completions", json={"messages": ASKED})
    assert ollama.received[0].body["model"] == "mistral"


def test_parts_arrive_as_they_are_made(client: openai.OpenAI, ollama: StandInOllama) -> None:
    go_on = threading.Event()
    ollama.stream(DELTA, lambda: go_on.wait(PATIENCE_S), b"data: [DONE]\n\n")
    with client.chat.completions.create(model="llama3", messages=ASKED, stream=True) as stream:
        assert next(stream).choices[0].delta.content == "Open"
        go_on.set()
        assert list(stream) == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_generation(service: httpx.Client, ollama: StandInOllama, stream: bool) -> None:
    ollama.stream(DELTA, Hang())
    leave_while_it_hangs(ollama, service, "POST", "/v1/chat/completions", {"messages": ASKED, "stream": stream})


def test_closing_a_stream_of_openais_client_stops_it(client: openai.OpenAI, ollama: StandInOllama) -> None:
    ollama.stream(DELTA, Hang())
    with client.chat.completions.create(model="m", messages=ASKED, stream=True) as stream:
        next(stream)
    assert ollama.left.wait(PATIENCE_S)


def test_an_error_in_mid_stream_raises_in_the_client(client: openai.OpenAI, ollama: StandInOllama) -> None:
    ollama.stream(DELTA, event({"error": {"message": "out of memory"}}))
    with client.chat.completions.create(model="m", messages=ASKED, stream=True) as stream:
        next(stream)
        with pytest.raises(openai.APIError, match="broke off: out of memory"):
            next(stream)


def test_a_stream_that_ends_early_raises_in_the_client(client: openai.OpenAI, ollama: StandInOllama) -> None:
    ollama.stream(DELTA)
    with (
        client.chat.completions.create(model="m", messages=ASKED, stream=True) as stream,
        pytest.raises(openai.APIError, match="before it was complete"),
    ):
        list(stream)


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (json_answer({"error": {"message": "no such model"}}, 404), openai.NotFoundError, "model_not_found"),
        (
            json_answer({"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}}, 400),
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        (json_answer({"error": {"message": "busy"}}, 503), openai.InternalServerError, "language_model_unavailable"),
    ],
)
def test_refusals_are_the_clients_own_errors(
    client: openai.OpenAI, ollama: StandInOllama, answer: Any, kind: type[openai.APIStatusError], code: str
) -> None:
    ollama.answer = lambda _: answer
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="m", messages=ASKED, stream=True)
    assert caught.value.code == code


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_the_server_does_not_have_gets_the_names_of_those_that_it_has(
    client: openai.OpenAI, ollama: StandInOllama, stream: bool
) -> None:
    ordinary = ollama.answer
    missing = json_answer({"error": {"message": "no such model"}}, 404)
    ollama.answer = lambda asked: ordinary(asked) if asked.path == "/v1/models" else missing
    with pytest.raises(openai.NotFoundError, match=r"; for chats: mistral\.$") as caught:
        client.chat.completions.create(model="m", messages=ASKED, stream=stream)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="no such model"):  # of one that it lists
        client.chat.completions.create(model="mistral", messages=ASKED, stream=stream)


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ([], 400), ({"messages": "How?"}, 400), ({"messages": [], "model": 7}, 400), (None, 422)],
)
def test_wrong_bodies(service: httpx.Client, ollama: StandInOllama, body: Any, status: int) -> None:
    content = {} if body is None else {"json": body}
    refused = service.post("/v1/chat/completions", **content)
    assert (refused.status_code, refused.json()["error"]["type"]) == (status, "invalid_request_error")
    assert not ollama.received


def test_a_large_body_is_refused(service: httpx.Client) -> None:
    refused = service.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x" * 300_000}]})
    assert refused.status_code == 413


def test_models_of_both_kinds_are_listed(client: openai.OpenAI, model: Session) -> None:
    assert [one.id for one in client.models.list()] == [model.name, "mistral"]
    assert client.models.retrieve("mistral").id == "mistral"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("llama3")


@pytest.mark.slow
def test_embedding_models_are_listed_when_the_server_s_list_does_not_end(
    service: httpx.Client, model: Session, ollama: StandInOllama
) -> None:
    ended = threading.Event()
    ollama.answer = lambda _: Answer(200, {}, [b" ", lambda: ended.wait(0.2)] * 10_000)
    try:
        assert [one["id"] for one in service.get("/v1/models").json()["data"]] == [model.name]
        assert ollama.left.wait(PATIENCE_S)
    finally:
        ended.set()


def test_embedding_models_are_listed_when_the_server_is_away(model: Session) -> None:
    with over(model, "http://127.0.0.1:9") as service:
        assert [one["id"] for one in service.get("/v1/models").json()["data"]] == [model.name]

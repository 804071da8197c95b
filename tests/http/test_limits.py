"""Each limit lets through what is exactly at it, and refuses one more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from pgembedd.http.middleware.body_limit import HEAD_BYTES
from pgembedd.http.routes.embed import MATRIX_TOKENS, EmbedRequest
from pgembedd.http.routes.openai import EmbeddingsRequest
from pgembedd.http.routes.operate import RetryRequest
from pgembedd.model import Session
from pgembedd.model.cpu import usable_cores
from tests.http.raw import connected, refusal, rest
from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import TOKEN, serving
from tests.support.waiting import eventually

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def small(model: Session) -> Iterator[httpx.Client]:
    """A service with a limit of a few of everything."""
    with serving(only(model), http_max_body_kb=1, http_max_inputs=3, http_max_input_tokens=10) as client:
        yield client


@pytest.fixture(scope="module")
def client(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), http_token=TOKEN) as opened:
        yield opened


def embed_of(size: int) -> bytes:
    """A body of so many bytes."""
    body = b'{"input": "x"}'
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
def test_body(small: httpx.Client, chunked: bool) -> None:
    def asked(size: int) -> int:
        body = embed_of(size)
        return small.post("/embed", content=iter([body]) if chunked else body, headers=JSON).status_code

    assert (asked(1000), asked(1001)) == (200, 413)


def test_inputs(small: httpx.Client) -> None:
    assert small.post("/embed", json={"input": ["x"] * 3}).status_code == 200
    assert small.post("/embed", json={"input": ["x"] * 4}).status_code == 413


@pytest.mark.parametrize(("path", "status"), [("/embed", 413), ("/v1/embeddings", 400)])
def test_tokens(small: httpx.Client, path: str, status: int) -> None:
    assert small.post(path, json={"input": "abc " * 9 + "abc"}).status_code == 200
    answer = small.post(path, json={"input": ["abc " * 9 + "abc", "x"]})

    assert answer.status_code == status
    assert "PGEMBEDD_HTTP_MAX_INPUT_TOKENS" in answer.text


def test_a_vector_for_each_token(client: httpx.Client, model: Session) -> None:
    texts = ["word " * model.max_tokens] * (MATRIX_TOKENS // model.max_tokens)
    assert client.post("/embed", json={"input": [*texts, "x"], "mean_pool": False}).status_code == 413
    assert client.post("/embed", json={"input": texts[:1], "mean_pool": False}).status_code == 200
    assert client.post("/embed", json={"input": [*texts, "x"]}).status_code == 200


def head_of(size: int) -> bytes:
    """A request whose line's target and headers have so many bytes."""
    names = len("/livez") + len("host") + len("localhost") + len("x")
    return b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * (size - names) + b"\r\n\r\n"


def test_line_and_headers(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(head_of(HEAD_BYTES))
        assert connection.recv(12) == b"HTTP/1.1 200"
    with connected(client) as connection:
        connection.sendall(head_of(HEAD_BYTES + 1))
        assert refusal(rest(connection)) == (431, "headers_too_large")


def test_texts_that_wait(model: Session) -> None:
    gate, answers = Gate(), list[httpx.Response]()
    with serving(only(Wrapped(model, on_result=gate)), http_max_waiting=2) as client:

        def ask() -> None:
            answers.append(client.post("/embed", json={"input": ["x", "y"]}))

        # One for each of its threads may be in the model, one may wait, and the others are refused.
        threads = [threading.Thread(target=ask) for _ in range(usable_cores() + 10)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answers) >= 9)
        refused = list(answers)
        gate.open()
        for thread in threads:
            thread.join()

    for busy in refused:
        assert (busy.status_code, busy.json()["error"], busy.headers["retry-after"]) == (503, "overloaded", "1")
    assert {answer.status_code for answer in answers} == {200, 503}


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [True, False])
def test_time(model: Session, pooled: bool) -> None:
    gate = Gate()
    with serving(only(Wrapped(model, on_result=gate)), http_timeout_s=1.0) as client:
        answer = client.post("/embed", json={"input": "x", "mean_pool": pooled})
        gate.open()

    assert (answer.status_code, answer.json()["error"]) == (504, "timeout")


@pytest.mark.parametrize("shape", [EmbedRequest, EmbeddingsRequest, RetryRequest])
@pytest.mark.parametrize(
    "body",
    [{"input": [1.5] * 1000}, {"input": [[]] * 1000 + [1]}, {f"k{number}": 1 for number in range(1000)}],
    ids=["numbers", "lists", "names"],
)
def test_a_thousand_errors_are_a_few(shape: type[BaseModel], body: dict[str, Any]) -> None:
    """A kilobyte each: of a million, in a body of 4 MB, they would be a gigabyte."""
    assert errors_of(shape, body) <= 2


def errors_of(shape: type[BaseModel], body: dict[str, Any]) -> int:
    try:
        shape.model_validate(body)
    except ValidationError as error:
        return error.error_count()
    return 0

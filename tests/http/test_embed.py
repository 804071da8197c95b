"""/embed answers as the Edge Functions that it replaces, with the vectors of the bare session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from pgembedd.model import Session
from tests.support.embedders import only
from tests.support.http import serving

TEXTS = ["hello world", "How do I reset my password?", "gte-small läuft auf der CPU", "x"]


@pytest.fixture(scope="module")
def client(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model)) as opened:
        yield opened


def test_a_text_gives_its_vector(client: httpx.Client, model: Session) -> None:
    answer = client.post("/embed", json={"input": "hello world"})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"embedding"}
    assert np.array_equal(np.float32(answer.json()["embedding"]), model.embed(["hello world"], kind="query").vectors[0])


def test_a_list_gives_a_vector_each_in_its_order(client: httpx.Client, model: Session) -> None:
    answer = client.post("/embed", json={"input": TEXTS}).json()

    assert np.array_equal(np.float32(answer["embeddings"]), model.embed(TEXTS, kind="query").vectors)


def test_a_get_gives_the_bare_array(client: httpx.Client, model: Session) -> None:
    answer = client.get("/embed", params={"input": "hello world"}).json()

    assert np.array_equal(np.float32(answer), model.embed(["hello world"], kind="query").vectors[0])


@pytest.mark.parametrize(("mean_pool", "normalize"), [(False, True), (True, False), (False, False)])
def test_pooling_and_norm_are_those_of_the_session(
    client: httpx.Client, model: Session, mean_pool: bool, normalize: bool
) -> None:
    asked = {"input": "hello world", "mean_pool": mean_pool, "normalize": normalize}
    answer = client.post("/embed", json=asked).json()["embedding"]

    assert np.array_equal(np.float32(answer), model.run("hello world", mean_pool, normalize))


def test_what_was_cut_is_told(client: httpx.Client) -> None:
    answer = client.post("/embed", json={"input": "word " * 1000})

    assert answer.status_code == 200
    assert int(answer.headers["x-truncated-tokens"]) == 1000 + 2 - 256


def test_a_text_that_must_not_be_cut_is_refused(client: httpx.Client) -> None:
    answer = client.post("/embed", json={"input": ["short", "word " * 1000], "truncate": False})

    assert (answer.status_code, answer.json()["error"]) == (422, "text_too_long")
    assert "Text 1 has 1002 tokens, but all-MiniLM-L6-v2 reads 256" in answer.json()["message"]


Case = tuple[dict[str, Any], int, str]
REFUSED: dict[str, Case] = {
    "not JSON": ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_json"),
    "no body": ({}, 422, "wrong_shape"),
    "a form": ({"data": {"input": "x"}}, 415, "unsupported_media_type"),
    "no type": ({"content": b'{"input": "x"}'}, 415, "unsupported_media_type"),
    "a number": ({"json": {"input": 5}}, 422, "wrong_shape"),
    "an array": ({"json": ["x"]}, 422, "wrong_shape"),
    "an unknown field": ({"json": {"input": "x", "inputs": "y"}}, 422, "wrong_shape"),
    "a text and a number": ({"json": {"input": ["x", 5]}}, 422, "wrong_shape"),
    "an empty text": ({"json": {"input": ""}}, 422, "empty_input"),
    "a blank text": ({"json": {"input": ["x", " \n"]}}, 422, "empty_input"),
    "no texts": ({"json": {"input": []}}, 422, "empty_input"),
    "another model": ({"json": {"input": "x", "model": "ada"}}, 404, "model_not_found"),
    "another kind": ({"json": {"input": "x", "kind": "poem"}}, 422, "wrong_shape"),
    "no such pipeline": ({"json": {"input": "x", "pipeline": "documents"}}, 404, "pipeline_not_found"),
    "a model and a pipeline": ({"json": {"input": "x", "pipeline": "d", "model": "m"}}, 422, "wrong_shape"),
    "to be left whole, unpooled": ({"json": {"input": "x", "mean_pool": False, "truncate": False}}, 422, "wrong_shape"),
    "too many texts": ({"json": {"input": ["x"] * 2049}}, 413, "too_large"),
    "too many tokens": ({"json": {"input": ["word " * 300] * 1000}}, 413, "too_large"),
    "too many bytes": ({"json": {"input": "x" * 4_100_000}}, 413, "too_large"),
    "nested beyond all reason": ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, ""),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_embedded_is_refused_in_a_sentence(client: httpx.Client, case: Case) -> None:
    asked, status, code = case

    answer = client.post("/embed", **asked)

    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error", "message"}
    assert code in ("", answer.json()["error"])
    assert answer.json()["message"].endswith(".")
    assert len(answer.json()["message"]) < 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_another_method_is_refused(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/embed", json={"input": "x"})

    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] in ("GET", "POST", "GET, POST", "POST, GET")


def test_an_unknown_path_is_refused(client: httpx.Client) -> None:
    answer = client.get("/nowhere")

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")

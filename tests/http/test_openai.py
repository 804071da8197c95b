"""`/v1` as the real `openai` client sees it, with the vectors of the bare session."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from pgembedd.model import Session
from pgembedd.telemetry.prometheus import PrometheusMetrics
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving

if TYPE_CHECKING:  # a second to import, for every process that collects these tests
    import openai

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["hello world", "How do I reset my password?", "Straße, naïve, 東京, 😀", "x", " "]
LONG = "word " * 1000


@pytest.fixture(scope="module")
def http(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), http_token=TOKEN, http_input_token_ids="own") as opened:
        yield opened


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{http.base_url}/v1", api_key=TOKEN, max_retries=0) as opened:
        yield opened


def vectors_of(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray[Any, Any]:
    assert [each.index for each in answer.data] == list(range(len(answer.data)))
    return np.array([each.embedding for each in answer.data], np.float32)


def refused(client: openai.OpenAI, **asked: Any) -> openai.APIStatusError:
    import openai

    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(**({"model": MODEL, "input": "x"} | asked))
    return caught.value


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}])
def test_texts_give_the_vectors_of_the_session(client: openai.OpenAI, model: Session, encoding: Any) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS, user="somebody", **encoding)

    expected = model.embed(TEXTS)
    assert np.array_equal(vectors_of(answer), expected.vectors)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == expected.tokens.sum()
    assert answer.model == MODEL


def test_one_text(client: openai.OpenAI, model: Session) -> None:
    assert np.array_equal(vectors_of(client.embeddings.create(model=MODEL, input="x")), model.run(["x"]))


def test_the_async_client_asks_for_many_at_once(http: httpx.Client, model: Session) -> None:
    import openai

    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key=TOKEN) as client:
            asked = [client.embeddings.create(model=MODEL, input=f"question {i}") for i in range(40)]
            return await asyncio.gather(*asked)

    got = [vectors_of(answer)[0] for answer in asyncio.run(ask())]
    expected = [model.run(f"question {i}") for i in range(40)]
    assert np.abs(np.array(got) - np.array(expected)).max() < 1e-6


def test_base64_is_little_endian_float32(http: httpx.Client, model: Session) -> None:
    answer = http.post("/v1/embeddings", json={"input": "x", "encoding_format": "base64"}).json()
    assert np.array_equal(np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4"), model.run("x"))


def test_token_ids_are_texts_too(client: openai.OpenAI, model: Session) -> None:
    one, other = [7592, 2088], [2129, 2079, 1045]
    assert np.array_equal(vectors_of(client.embeddings.create(model=MODEL, input=one)), model.run(["hello world"]))
    expected = model.run(["hello world", "how do i"])
    assert np.array_equal(vectors_of(client.embeddings.create(model=MODEL, input=[one, other])), expected)


def test_token_ids_are_refused_unless_they_are_said_to_be_the_models_own(model: Session) -> None:
    """Those of "hello world" in OpenAI's vocabulary are ids of other words here, and nothing tells them apart."""
    with serving(only(model)) as client:
        assert client.post("/v1/embeddings", json={"input": [[15339, 1917]]}).status_code == 400
        error = client.post("/v1/embeddings", json={"input": [15339, 1917]}).json()["error"]
    assert error["code"] == "token_ids_refused"
    assert "check_embedding_ctx_length=False" in error["message"]
    assert "PGEMBEDD_HTTP_INPUT_TOKEN_IDS=own" in error["message"]


def test_token_ids_of_another_model_are_refused_with_what_to_set(client: openai.OpenAI) -> None:
    error = refused(client, input=[[7592], [791, 4062, 14198, 39935]])  # cl100k's "The quick brown fox"
    assert (error.status_code, error.code, error.param) == (400, "unknown_token", "input")
    assert "has the token 39935" in error.message or "has the token 791" in error.message
    assert "check_embedding_ctx_length=False" in error.message


def test_a_text_longer_than_the_model_reads_is_refused_or_cut(client: openai.OpenAI, model: Session) -> None:
    error = refused(client, input=["short", LONG])
    assert (error.status_code, error.code, error.type) == (400, "context_length_exceeded", "invalid_request_error")
    assert "maximum context length is 256 tokens, but input 1 has 1002" in error.message

    answer = client.embeddings.create(model=MODEL, input=LONG, extra_body={"truncate": True})
    assert np.array_equal(vectors_of(answer), model.run([LONG]))
    assert answer.usage.prompt_tokens == 256


def test_the_models_own_dimensions_may_be_named_and_no_others(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model=MODEL, input="x", dimensions=384).data[0].embedding) == 384
    error = refused(client, dimensions=256)
    assert (error.status_code, error.param) == (400, "dimensions")
    assert "have 384 dimensions" in error.message


REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "nothing": ({"input": ""}, "empty_input", "input"),
    "no texts": ({"input": []}, "empty_input", "input"),
    "an empty text among others": ({"input": ["x", ""]}, "empty_input", "input"),
    "no tokens": ({"input": [[7592], []]}, "empty_input", "input"),
    "too many": ({"input": ["x"] * 2049}, "too_many_inputs", "input"),
    "too much": ({"input": ["word " * 300] * 1000}, "max_tokens_per_request", "input"),
    "a number": ({"input": 5}, "wrong_shape", "input"),
    "texts and numbers": ({"input": ["x", 5]}, "wrong_shape", "input"),
    "fractions": ({"input": [1.5]}, "wrong_shape", "input"),
    "an unknown encoding": ({"encoding_format": "hex"}, "wrong_shape", "encoding_format"),
    "dimensions in words": ({"dimensions": "many"}, "wrong_shape", "dimensions"),
    "another kind": ({"extra_body": {"kind": "poem"}}, "wrong_shape", "kind"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_embedded_is_refused_as_openai_does(client: openai.OpenAI, case: Any) -> None:
    import openai

    asked, code, param = case
    error = refused(client, **asked)
    assert isinstance(error, openai.BadRequestError), error
    assert (error.code, error.type, error.param) == (code, "invalid_request_error", param)
    assert isinstance(error.body, dict)
    assert error.body.keys() == {"message", "type", "param", "code"}
    assert error.body["message"].endswith(".")
    assert len(error.body["message"]) < 200


def test_the_sentence_about_the_input_names_all_that_it_may_be(client: openai.OpenAI) -> None:
    message = refused(client, input={"text": "x"}).body["message"]  # type: ignore[index]
    assert message == (
        "input: it must be a string, a list of strings, a list of token ids, or a list of lists of token ids."
    )


def test_a_model_that_is_not_served_is_not_found(client: openai.OpenAI) -> None:
    import openai

    error = refused(client, model="text-embedding-3-small")
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.param) == ("model_not_found", "model")
    assert MODEL in error.message


def test_a_wrong_key_is_refused(client: openai.OpenAI) -> None:
    import openai

    error = refused(client.with_options(api_key="sk-wrong"))
    assert isinstance(error, openai.AuthenticationError)
    assert (error.code, error.response.headers["www-authenticate"]) == ("invalid_api_key", "Bearer")


def test_unknown_fields_are_ignored(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model=MODEL, input="x", extra_body={"input_type": "query"}).data


def test_models_are_listed_and_described(client: openai.OpenAI) -> None:
    import openai

    (listed,) = client.models.list().data
    client.embeddings.create(model=MODEL, input="x")
    found = client.models.retrieve(MODEL.upper())
    assert (listed.id, found.id, found.object, found.owned_by) == (MODEL, MODEL, "model", "pgembedd")
    assert found.model_extra == {"dimensions": 384, "max_tokens": 256}
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")


def test_a_body_that_is_no_json_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


def test_a_busy_service_says_when_to_come_again(model: Session) -> None:
    with serving(only(model), http_max_waiting=1) as http:
        http.post("/v1/embeddings", json={"input": "x"}).raise_for_status()

        async def crowd() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=http.base_url, trust_env=False, timeout=60, verify=PLAIN) as client:
                asked = {"input": [LONG] * 50, "truncate": True}
                return await asyncio.gather(*(client.post("/v1/embeddings", json=asked) for _ in range(12)))

        answers = asyncio.run(crowd())
    busy = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert busy[0].json()["error"]["code"] == "overloaded"
    assert busy[0].headers["retry-after"] == "1"


def test_the_service_may_cut_what_is_too_long(model: Session) -> None:
    observer = PrometheusMetrics()
    with serving(only(model), observer=observer, http_token=TOKEN, http_truncate="on") as http:
        answer = http.post("/v1/embeddings", json={"input": ["short", LONG, LONG + "more"]})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-truncated-tokens"] == str(1002 - 256 + 1003 - 256)
        whole = http.post("/v1/embeddings", json={"input": "short"})
        assert "x-truncated-tokens" not in whole.headers
        asked = http.post("/v1/embeddings", json={"input": LONG, "truncate": False})
        assert (asked.status_code, asked.json()["error"]["code"]) == (400, "context_length_exceeded")
        http.post("/embed", json={"input": LONG})
    counted = observer.registry.get_sample_value("pgembedd_http_truncations_total", {"model": MODEL})
    assert counted == 3

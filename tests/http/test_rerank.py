"""`/v1/rerank` and `/v2/rerank` as the real `cohere` client sees them, and in Jina's shape, with the real scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from pgembedd.errors import OverloadedError
from pgembedd.http.models.served_reranker import ServedReranker
from pgembedd.model import Reranker, Session
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.waiting import eventually

if TYPE_CHECKING:  # a second to import, for every process that collects these tests
    import cohere

MODEL = "ms-marco-minilm-l12"
QUERY = "how do I reset my password"
DOCUMENTS = [
    "The weather is fine today.",
    "To reset your password, open the settings and choose Security.",
    "Passwords are at least twelve characters long.",
    "",
    "Straße, naïve, 東京, 😀",
]
LONG = "word " * 1000
TOO_MANY_TOKENS = (
    "The documents, each with the query, have about 307200 tokens, more than 200000 (PGEMBEDD_HTTP_MAX_INPUT_TOKENS): "
    "send fewer at a time."
)


@pytest.fixture(scope="module")
def http(model: Session, reranker: Reranker) -> Iterator[httpx.Client]:
    with serving(only(model), http_token=TOKEN, http_timeout_s=600.0) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> Iterator[cohere.ClientV2]:
    import cohere

    with httpx.Client(timeout=60, trust_env=False, verify=PLAIN) as transport:
        yield cohere.ClientV2(TOKEN, base_url=str(http.base_url), max_retries=0, httpx_client=transport)


def expected(reranker: Reranker, documents: list[str], query: str = QUERY) -> list[tuple[int, float]]:
    """(index, relevance) of all documents, most relevant first."""
    scores = reranker.score(query, documents).astype(np.float64)
    return [(int(index), float(1 / (1 + np.exp(-scores[index])))) for index in np.argsort(-scores, kind="stable")]


@pytest.mark.slow
def test_the_second_version_ranks_by_the_reranker(client: cohere.ClientV2, reranker: Reranker) -> None:
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=4096)
    assert [(each.index, each.relevance_score) for each in answer.results] == expected(reranker, DOCUMENTS)
    assert answer.results[0].index == 1
    assert all(0 <= each.relevance_score <= 1 for each in answer.results)
    assert answer.meta
    assert answer.meta.api_version
    assert answer.meta.api_version.version == "2"
    assert answer.meta.tokens
    assert answer.meta.tokens.input_tokens == int(reranker.start(QUERY, DOCUMENTS).result().tokens.sum())


@pytest.mark.slow
def test_the_first_version_returns_documents(http: httpx.Client) -> None:
    import cohere

    documents = [{"text": text, "title": "ignored"} for text in DOCUMENTS]
    with httpx.Client(timeout=60, trust_env=False, verify=PLAIN) as transport:
        client = cohere.Client(TOKEN, base_url=str(http.base_url), max_retries=0, httpx_client=transport)
        answer = client.rerank(model=MODEL, query=QUERY, documents=documents, top_n=2, return_documents=True)
    assert [each.document.text for each in answer.results if each.document] == [DOCUMENTS[1], DOCUMENTS[2]]


def test_jinas_shape(http: httpx.Client, reranker: Reranker) -> None:
    asked = {"model": MODEL, "query": QUERY, "documents": ["a", {"text": "my password"}], "return_documents": True}
    answer = http.post("/v1/rerank", json=asked).json()
    assert answer["model"] == MODEL
    assert answer["object"] == "list"
    assert [each["index"] for each in answer["results"]] == [1, 0]
    assert answer["results"][0]["document"] == {"text": "my password"}
    tokens = int(reranker.start(QUERY, ["a", "my password"]).result().tokens.sum())
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_equal_documents_keep_their_order_and_top_n_may_be_more_than_there_are(http: httpx.Client) -> None:
    asked = {"query": QUERY, "documents": ["same", "same", "same"], "top_n": 10}
    results = http.post("/v2/rerank", json=asked).json()["results"]
    assert [each["index"] for each in results] == [0, 1, 2]
    assert len({each["relevance_score"] for each in results}) == 1
    assert set(results[0]) == {"index", "relevance_score"}


@pytest.mark.slow
def test_long_texts_are_cut(http: httpx.Client, reranker: Reranker) -> None:
    answer = http.post("/v2/rerank", json={"query": QUERY, "documents": [LONG * 20, "password"]}).json()
    assert [each["index"] for each in answer["results"]] == [each for each, _ in expected(reranker, [LONG, "password"])]
    assert answer["usage"]["total_tokens"] < 2 * reranker.max_tokens


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"query": " "}, 422, "The query is empty: send some words."),
        ({"documents": []}, 422, "There are no documents: send at least one."),
        ({"documents": ["a"] * 1001}, 413, "1001 documents are more than 1000: send fewer at a time."),
        ({"documents": ["a", 7]}, 422, "documents: it must be a list of texts, or of objects with a text."),
        ({"documents": [{"title": "a"}]}, 422, "documents: it must be a list of texts, or of objects with a text."),
        ({"documents": "a"}, 422, "documents: it must be a list of texts, or of objects with a text."),
        ({"query": None}, 422, "query: Input should be a valid string."),
        ({"top_n": 0}, 422, "top_n: Input should be greater than or equal to 1."),
        ({"model": "rerank-v3.5"}, 404, f"The reranker asked for is not served here; there is {MODEL}."),
        (
            {"documents": [LONG] * 600},
            413,
            TOO_MANY_TOKENS,
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_is_wrong_is_said_in_one_sentence(
    http: httpx.Client, version: str, asked: dict[str, Any], status: int, sentence: str
) -> None:
    refused = http.post(f"/{version}/rerank", json={"query": QUERY, "documents": ["a"]} | asked)
    assert (refused.status_code, refused.json()["message"]) == (status, sentence)


def test_the_client_raises_its_own_errors(client: cohere.ClientV2) -> None:
    import cohere

    with pytest.raises(cohere.NotFoundError) as caught:
        client.rerank(model="rerank-v3.5", query=QUERY, documents=["a"])
    assert caught.value.body["error"] == "model_not_found"
    with pytest.raises(cohere.UnprocessableEntityError):
        client.rerank(model=MODEL, query="", documents=["a"])


@pytest.mark.slow
def test_it_takes_a_token_of_the_scope_for_embedding(http: httpx.Client, model: Session, tmp_path: Any) -> None:
    body = {"query": QUERY, "documents": ["a"]}
    assert (
        http.post("/v2/rerank", json=body, headers={"authorization": "Bearer wrong-wrong-wrong-wrong"}).status_code
        == 401
    )
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-sixteen-1  jobs\na-token-of-sixteen-2  embed\n")
    tokens.chmod(0o600)
    with serving(only(model), http_tokens_file=str(tokens)) as service:
        for token, status in (("a-token-of-sixteen-1", 403), ("a-token-of-sixteen-2", 200)):
            answer = service.post("/v1/rerank", json=body, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == status


def test_without_a_reranker_there_is_none(model: Session) -> None:
    with serving(only(model), http_reranker="") as service:
        refused = service.post("/v2/rerank", json={"query": QUERY, "documents": ["a"]})
    assert refused.status_code == 404
    assert refused.json()["message"] == "No reranker is served here: PGEMBEDD_HTTP_RERANKER names one."


@pytest.mark.slow
def test_a_request_that_takes_too_long_is_dropped(model: Session, reranker: Reranker) -> None:
    with serving(only(model), http_timeout_s=0.2) as service:
        service.post("/v2/rerank", json={"query": QUERY, "documents": ["a"]})  # loads it
        refused = service.post("/v2/rerank", json={"query": QUERY, "documents": [f"{LONG}{n}" for n in range(300)]})
        assert (refused.status_code, refused.json()["error"]) == (504, "timeout")
        assert refused.json()["message"] == "The scores were not there after 0.2 s: send fewer texts."


def test_no_texts_have_no_scores_at_once(reranker: Reranker) -> None:
    """As of a search without hits."""
    reranking = ServedReranker(lambda _name: reranker, MODEL, max_waiting=20)
    started = reranking.start(reranker, QUERY, [])
    assert started.done()
    assert started.result().scores.shape == (0,)


def test_more_texts_than_may_wait_are_refused(reranker: Reranker) -> None:
    reranking = ServedReranker(lambda _name: reranker, MODEL, max_waiting=20)
    started = reranking.start(reranker, QUERY, [f"{LONG}{n}" for n in range(30)])
    with pytest.raises(OverloadedError, match="texts wait for the reranker already"):
        reranking.start(reranker, QUERY, ["one more"])
    started.cancel()

    def starts() -> bool:
        with suppress(OverloadedError):
            return reranking.start(reranker, QUERY, ["one more"]).result().scores.shape == (1,)
        return False

    eventually(starts)

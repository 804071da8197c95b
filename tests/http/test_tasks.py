"""`/api/v1/tasks/{task}` and the image function, over a stand-in for Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient

from pgembedd.model import Session
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.servers.huggingface import PNG, StandInHuggingFace
from tests.support.servers.stand_in import Answer, Cut, Hang, Received, json_answer, leave_while_it_hangs

HF_TOKEN = "hf_a_token_for_tests"
DEFAULTS = "summarization=facebook/bart-large-cnn, text-to-image=stabilityai/diffusion-default"


@pytest.fixture
def client(model: Session, huggingface: StandInHuggingFace, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("HUGGING_FACE_ACCESS_TOKEN", HF_TOKEN)
    with serving(only(model), tasks_host=huggingface.url, tasks_models=DEFAULTS) as client:
        yield client


TASKS = [
    ("feature-extraction", "Supabase/gte-small", [0.5, -0.5]),
    ("summarization", "facebook/bart-large-cnn", {"summary_text": "short"}),
    (
        "text-classification",
        "distilbert/sst-2",
        [{"label": "POSITIVE", "score": 0.75}, {"label": "NEGATIVE", "score": 0.25}],
    ),
    ("translation", "google-t5/t5-base", {"translation_text": "bonjour"}),
    ("fill-mask", "google-bert/fill", [{"sequence": "paris", "score": 1.0, "token": 3, "token_str": "paris"}]),
]


@pytest.mark.parametrize(("task", "name", "answer"), TASKS)
def test_tasks(client: httpx.Client, huggingface: StandInHuggingFace, task: str, name: str, answer: Any) -> None:
    given = client.post(f"/api/v1/tasks/{task}", json={"inputs": "hello", "model": name})

    assert (given.status_code, given.json()) == (200, answer)
    assert given.headers["content-type"] == "application/json"
    (asked,) = huggingface.received
    assert asked.path == f"/models/{name}" + ("/pipeline/feature-extraction" if task == "feature-extraction" else "")
    assert asked.headers["authorization"] == f"Bearer {HF_TOKEN}"
    assert "x-use-cache" not in asked.headers


@pytest.mark.parametrize(("task", "name", "answer"), TASKS[:4])
def test_requests_are_those_of_the_inference_client(
    client: httpx.Client, huggingface: StandInHuggingFace, task: str, name: str, answer: Any
) -> None:
    client.post(f"/api/v1/tasks/{task}", json={"inputs": "hello", "model": name})
    (ours,) = huggingface.received
    # Given a URL, Hugging Face's client does not ask the Hub first.
    theirs = InferenceClient(f"{huggingface.url}{ours.path}", token=HF_TOKEN)
    returned = getattr(theirs, task.replace("-", "_"))("hello")

    expected = huggingface.received[1]
    assert _parameterless(ours.body) == _parameterless(expected.body)
    assert ours.headers["authorization"] == expected.headers["authorization"]
    assert returned == pytest.approx(answer) if task == "feature-extraction" else returned == answer


def _parameterless(body: dict[str, Any]) -> dict[str, Any]:
    """A body without parameters that hold nothing."""
    return {name: value for name, value in body.items() if value != {}}


def test_the_model_of_the_settings(client: httpx.Client, huggingface: StandInHuggingFace) -> None:
    assert client.post("/api/v1/tasks/summarization", json={"inputs": "hello"}).json() == {"summary_text": "short"}
    refused = client.post("/api/v1/tasks/translation", json={"inputs": "hello"})
    assert (refused.status_code, refused.json()["error"]) == (422, "no_model")


def test_parameters_and_the_cache(client: httpx.Client, huggingface: StandInHuggingFace) -> None:
    asked = {"inputs": "hello", "parameters": {"max_length": 9}, "use_cache": False}
    client.post("/api/v1/tasks/summarization", json=asked)

    assert huggingface.received[0].body == {"inputs": "hello", "parameters": {"max_length": 9}}
    assert huggingface.received[0].headers["x-use-cache"] == "false"


def test_parameters_of_vectors_stand_beside_the_inputs(client: httpx.Client, huggingface: StandInHuggingFace) -> None:
    asked = {"inputs": "hello", "model": "Supabase/gte-small", "parameters": {"normalize": True}}
    client.post("/api/v1/tasks/feature-extraction", json=asked)

    assert huggingface.received[0].body == {"inputs": "hello", "normalize": True}


def test_an_image_has_its_type(client: httpx.Client, huggingface: StandInHuggingFace) -> None:
    given = client.post("/api/v1/tasks/text-to-image", json={"inputs": "a cat"})

    assert (given.content, given.headers["content-type"]) == (PNG, "image/png")
    assert huggingface.received[0].path == "/models/stabilityai/diffusion-default"


def test_the_guides_image_function(model: Session, huggingface: StandInHuggingFace) -> None:
    with serving(only(model), tasks_host=huggingface.url) as client:
        given = client.post("/functions/v1/text-to-image", json={"prompt": "a cat"})

    assert (given.content, given.headers["content-type"]) == (PNG, "image/png")
    (asked,) = huggingface.received
    assert (asked.path, asked.body) == ("/models/stabilityai/stable-diffusion-2", {"inputs": "a cat"})
    assert asked.headers["x-use-cache"] == "false"


def test_a_type_that_a_browser_might_run_is_not_passed_on(
    client: httpx.Client, huggingface: StandInHuggingFace
) -> None:
    for kind in ("text/html", "image/svg+xml", ""):
        huggingface.answer = lambda _, kind=kind: Answer(200, {"content-type": kind}, [b"<script>"])  # type: ignore[misc]
        given = client.post("/api/v1/tasks/text-to-image", json={"inputs": "a cat"})
        assert given.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (json_answer({"error": "Model a/b is currently loading", "estimated_time": 19.2}, 503), 503, "loading"),
        (json_answer({"error": "Rate limit reached"}, 429), 503, "Rate limit reached."),
        (json_answer({"error": f"{HF_TOKEN} is over"}, 429), 503, "[key] is over"),
        (json_answer({"error": "Invalid credentials"}, 401), 502, "HUGGING_FACE_ACCESS_TOKEN"),
        (json_answer({"error": ["a", "b"]}, 400), 400, "status 400"),
        (Answer(200, {}, [b"{", Cut()]), 503, "broke before the answer was complete"),
    ],
)
def test_errors_are_sentences(
    client: httpx.Client, huggingface: StandInHuggingFace, answer: Answer, status: int, sentence: str
) -> None:
    huggingface.answer = lambda _: answer
    refused = client.post("/api/v1/tasks/summarization", json={"inputs": "hello"})

    assert (refused.status_code, sentence in refused.json()["message"]) == (status, True)
    assert huggingface.url.removeprefix("http://") not in refused.text
    assert HF_TOKEN not in refused.text
    if sentence == "loading":
        assert refused.headers["retry-after"] == "20"
    assert len(huggingface.received) == 1, "what costs money is not repeated"


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/x", "../../admin", "a/b/c", "a/..", "a b", ""])
def test_a_model_is_a_name_and_no_address(client: httpx.Client, huggingface: StandInHuggingFace, name: str) -> None:
    refused = client.post("/api/v1/tasks/summarization", json={"inputs": "hello", "model": name})
    if name:
        assert (refused.status_code, huggingface.received) == (400, [])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/tasks/summarise", {"inputs": "hello"}, 404),
        ("/api/v1/tasks/summarization", {"inputs": ""}, 422),
        ("/api/v1/tasks/summarization", {}, 422),
        ("/api/v1/tasks/summarization", {"inputs": "hello", "parameters": [1]}, 422),
        ("/api/v1/tasks/summarization", {"inputs": "x" * 300_000}, 413),
        ("/api/v1/tasks/summarization", {"inputs": 10**20}, 422),
        ("/api/v1/tasks/summarization", {"inputs": "x\ud800"}, 422),
        ("/api/v1/tasks/summarization", {"inputs": json.loads(400 * "[" + 400 * "]")}, 422),
        ("/functions/v1/text-to-image", {"prompt": "x\ud800"}, 422),
        ("/functions/v1/text-to-image", {"prompt": 7}, 422),
    ],
)
def test_wrong_requests(
    client: httpx.Client, huggingface: StandInHuggingFace, path: str, body: Any, status: int
) -> None:
    headers = {"content-type": "application/json"}
    refused = client.post(path, content=json.dumps(body), headers=headers)
    assert (refused.status_code, huggingface.received) == (status, [])


def test_without_a_host_nothing_leaves_the_machine(model: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGING_FACE_ACCESS_TOKEN", HF_TOKEN)
    with serving(only(model)) as client:
        for path, body in (
            ("/api/v1/tasks/summarization", {"inputs": "hello", "model": "a/b"}),
            ("/functions/v1/text-to-image", {"prompt": "a cat"}),
        ):
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.json()["error"]) == (501, "no_tasks")


def test_a_client_that_leaves_ends_the_task(client: httpx.Client, huggingface: StandInHuggingFace) -> None:
    def hang(_: Received) -> Answer:
        return Answer(200, {}, [Hang()])

    huggingface.answer = hang
    leave_while_it_hangs(huggingface, client, "POST", "/api/v1/tasks/summarization", {"inputs": "hello"})

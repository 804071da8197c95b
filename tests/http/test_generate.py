"""`/api/v1/generate` and `/functions/v1/generate`: the text of a language model, streamed on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.typing import EventDict

from pgembedd.errors import ConfigurationError
from pgembedd.http.generation.gateway import LanguageGateway
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.servers.ollama import WORDS, StandInOllama, line
from tests.support.servers.stand_in import Cut, Hang, json_answer, leave_while_it_hangs
from tests.support.waiting import PATIENCE_S, eventually

GUIDES, FRAMED = "/functions/v1/generate", "/api/v1/generate"
TEXT = "".join(WORDS)


@contextmanager
def over(model: Session, url: str, **http: Any) -> Iterator[httpx.Client]:
    """A client of a service over this server of language models."""
    with serving(only(model), language_host=url, **http) as client:
        yield client


@pytest.fixture
def client(model: Session, ollama: StandInOllama) -> Iterator[httpx.Client]:
    with over(model, ollama.url, http_token=TOKEN) as client:
        yield client


def read_events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, with their data."""
    parts = [dict(one.split(": ", 1) for one in event.split("\n")) for event in text.split("\n\n") if event]
    return [(part["event"], json.loads(part["data"])) for part in parts]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_guides_function_answers_raw_text(client: httpx.Client, ollama: StandInOllama, method: str) -> None:
    answer = client.request(method, GUIDES, params={"prompt": "How?"})

    assert (answer.status_code, answer.text) == (200, TEXT)
    assert answer.headers["content-type"] == "text/event-stream"
    assert ollama.received[0].body == {"model": "mistral", "prompt": "How?", "stream": True}


def test_a_body_may_hold_the_prompt(client: httpx.Client, ollama: StandInOllama) -> None:
    assert client.post(GUIDES, json={"prompt": "How?"}).text == TEXT
    # What supabase-js sends when a function is invoked with a name: the guide's function ignores it.
    assert client.post(GUIDES, params={"prompt": "Why?"}, json={"name": "Functions"}).text == TEXT
    assert [asked.body["prompt"] for asked in ollama.received] == ["How?", "Why?"]


def test_a_pair_that_is_split_between_parts_is_its_character(client: httpx.Client, ollama: StandInOllama) -> None:
    ollama.stream(line(response="a\ud83d", done=False), line(response="\ude00 \ud83d", done=True))
    assert client.get(GUIDES, params={"prompt": "How?"}).text == "a😀 \ufffd"


def test_framed_events(client: httpx.Client, ollama: StandInOllama) -> None:
    answer = client.get(FRAMED, params={"prompt": "How?", "language_model": "llama3"})

    deltas = [("delta", {"text": word}) for word in WORDS]
    assert read_events(answer.text) == [*deltas, ("done", {"done_reason": "stop"})]
    assert ollama.received[0].body["model"] == "llama3"


def test_parts_arrive_as_they_are_made(client: httpx.Client, ollama: StandInOllama) -> None:
    go_on = threading.Event()
    ollama.stream(line(response="Open", done=False), lambda: go_on.wait(PATIENCE_S), line(response=" it", done=True))
    with client.stream("GET", GUIDES, params={"prompt": "How?"}) as answer:
        parts = answer.iter_text()
        assert next(parts) == "Open"
        go_on.set()
        assert list(parts) == [" it"]


@pytest.mark.parametrize("path", [GUIDES, FRAMED])
def test_a_client_that_leaves_stops_the_generation(client: httpx.Client, ollama: StandInOllama, path: str) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    with client.stream("GET", path, params={"prompt": "How?"}) as answer:
        next(answer.iter_text())

    assert ollama.left.wait(PATIENCE_S)


def test_a_client_that_leaves_before_the_first_part_stops_it(client: httpx.Client, ollama: StandInOllama) -> None:
    ollama.stream(Hang())
    leave_while_it_hangs(ollama, client, "GET", f"{GUIDES}?prompt=How")


def test_an_error_in_mid_stream_is_an_event(client: httpx.Client, ollama: StandInOllama, log: list[EventDict]) -> None:
    ollama.stream(line(response="Open", done=False), line(error="out of memory"))
    name, problem = read_events(client.get(FRAMED, params={"prompt": "How?"}).text)[-1]

    assert (name, problem["error"]) == ("error", "bad_gateway")
    assert problem["message"] == "The language model's server broke off: out of memory."
    assert [event for event in log if event["event"] == "generation_failed"] == [
        {"event": "generation_failed", "error": "GenerationError", "status": None, "log_level": "warning"}
    ]


def test_raw_text_that_breaks_off_is_no_whole_answer(
    client: httpx.Client, ollama: StandInOllama, log: list[EventDict]
) -> None:
    ollama.stream(line(response="Open", done=False), Cut())
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(GUIDES, params={"prompt": "How?"})
    assert [event["event"] for event in log if event["log_level"] != "info"] == ["generation_failed"]


@pytest.mark.parametrize(
    ("answer", "status", "code", "retry_after"),
    [
        (json_answer({"error": "model 'mistral' not found"}, 404), 404, "model_not_found", None),
        (json_answer({"error": "bad options"}, 400), 400, "bad_request", None),
        (json_answer({"error": "no key"}, 401), 502, "bad_gateway", None),
        (json_answer({"error": "Loading model"}, 503), 503, "language_model_unavailable", "5"),
        (json_answer({"error": "slow down"}, 429, retry_after="7"), 503, "language_model_unavailable", "7"),
    ],
)
def test_a_refusal_has_a_status_of_its_own(
    client: httpx.Client, ollama: StandInOllama, answer: Any, status: int, code: str, retry_after: str | None
) -> None:
    ollama.answer = lambda _: answer
    refused = client.get(GUIDES, params={"prompt": "How?"})

    assert (refused.status_code, refused.json()["error"]) == (status, code)
    assert refused.headers.get("retry-after") == retry_after
    assert ollama.url.removeprefix("http://") not in refused.text, "an address is not told"


def test_an_error_in_the_first_line_has_a_status(client: httpx.Client, ollama: StandInOllama) -> None:
    ollama.stream(line(error="out of memory"))
    assert client.get(GUIDES, params={"prompt": "How?"}).status_code == 502


@pytest.mark.parametrize("params", [{}, {"prompt": " "}])
def test_an_empty_prompt_is_refused(client: httpx.Client, params: dict[str, str]) -> None:
    refused = client.get(GUIDES, params=params)
    assert (refused.status_code, refused.json()["error"]) == (422, "empty_prompt")


def test_a_prompt_of_a_megabyte_is_refused(client: httpx.Client, ollama: StandInOllama) -> None:
    refused = client.post(FRAMED, json={"prompt": "x" * 1_000_000})
    assert (refused.status_code, "PGEMBEDD_LANGUAGE_MAX_PROMPT_KB" in refused.json()["message"]) == (413, True)
    assert not ollama.received


def test_an_endless_answer_is_cut_off(model: Session, ollama: StandInOllama) -> None:
    ollama.stream(*[line(response="again ", done=False)] * 100, Hang())
    with over(model, ollama.url, language_max_answer_kb=1) as client:
        *_, (name, problem) = read_events(client.get(FRAMED, params={"prompt": "How?"}).text)

    assert (name, problem["message"]) == ("error", "The answer has more than 1 KB and was cut off.")
    assert ollama.left.wait(PATIENCE_S)


def test_an_answer_that_takes_too_long_is_cut_off(model: Session, ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    with over(model, ollama.url, language_total_timeout_s=0.3) as client:
        answer = client.get(FRAMED, params={"prompt": "How?"})

    # On a busy machine the time may be over before the first part is there.
    name, problem = ("error", answer.json()) if answer.status_code == 504 else read_events(answer.text)[-1]
    assert (name, problem["error"]) == ("error", "timeout")


def test_more_at_once_than_allowed_are_refused(model: Session, ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    with over(model, ollama.url, language_at_once=1) as client:
        with client.stream("GET", GUIDES, params={"prompt": "How?"}) as answer:
            parts = answer.iter_text()  # without a name it would be closed at once, and the connection with it
            assert next(parts) == "Open"
            refused = client.get(GUIDES, params={"prompt": "How?"})
        assert (refused.status_code, refused.json()["error"]) == (503, "busy")
        ollama.stream(line(response="Open", done=True))
        eventually(lambda: client.get(GUIDES, params={"prompt": "How?"}).status_code == 200)


def test_without_a_server_the_answer_says_what_to_set(model: Session) -> None:
    with serving(only(model)) as client:
        for path in (GUIDES, FRAMED):
            refused = client.get(path, params={"prompt": "How?"})
            assert (refused.status_code, refused.json()["error"]) == (501, "no_language_model")
            assert "PGEMBEDD_LANGUAGE_HOST" in refused.json()["message"]


def test_the_key_stays_with_the_service(model: Session, ollama: StandInOllama, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a-key\n")
    with over(model, ollama.url, language_key_file=str(path), http_token=TOKEN) as client:
        client.get(GUIDES, params={"prompt": "How?"})

    assert ollama.received[0].headers["authorization"] == "Bearer a-key"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"language_host": "localhost:11434"}, "named by its URL"),
        ({"language_key_file": "/nowhere"}, "/nowhere named by PGEMBEDD_LANGUAGE_KEY_FILE"),
        ({"tasks_host": "hugging"}, "it has to be huggingface, or a URL"),
        ({"tasks_host": "https://"}, "PGEMBEDD_TASKS_HOST has to be huggingface, or the URL of a server; its token is"),
        ({"tasks_host": "https://user:key@example.com"}, "its token is in HUGGING_FACE_ACCESS_TOKEN"),
        ({"tasks_host": "https://example.com/?key=1"}, "its token is in HUGGING_FACE_ACCESS_TOKEN"),
        ({"tasks_host": "huggingface", "tasks_models": "=a/b"}, "^PGEMBEDD_TASKS_MODELS: There is no such task"),
        ({"tasks_host": "huggingface", "tasks_models": "summarise=a/b"}, "There is no such task"),
        ({"tasks_host": "huggingface", "tasks_models": "summarization"}, "names models by task"),
        ({"tasks_host": "huggingface", "tasks_models": "summarization=../x"}, "owner/name"),
    ],
)
def test_wrong_settings_end_the_start(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        LanguageGateway(HttpSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["hf_ü", "hf_a\nb"])
def test_a_token_of_other_characters_ends_the_start_and_is_not_told(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HUGGING_FACE_ACCESS_TOKEN", token)
    with pytest.raises(ConfigurationError, match=r"\(HUGGING_FACE_ACCESS_TOKEN\) has characters that") as refused:
        LanguageGateway(HttpSettings(tasks_host="huggingface"))
    assert "hf_" not in str(refused.value)


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("generate", GUIDES, 200),
        ("embed", GUIDES, 403),
        ("tasks", FRAMED, 403),
        ("answers", FRAMED, 403),
        ("generate", "/v1/models", 200),
        ("embed", "/v1/models", 200),
        ("tasks", "/v1/models", 403),
    ],
)
def test_scopes(model: Session, ollama: StandInOllama, tmp_path: Path, scope: str, path: str, status: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN} {scope}\n")
    file.chmod(0o600)
    with over(model, ollama.url, http_tokens_file=str(file)) as client:
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert client.get(path, params={"prompt": "How?"}, headers=headers).status_code == status

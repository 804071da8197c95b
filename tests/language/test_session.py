"""A session over a language model, against a stand-in for Ollama."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pgembedd import Session
from pgembedd.errors import ConfigurationError
from pgembedd.language import GenerationPart, LanguageSession
from pgembedd.model import Session as EmbeddingSession
from tests.support.servers.ollama import StandInOllama
from tests.support.tiny_models import write_tiny_model

TEXT = "Open the settings."


def test_a_stream_yields_whole_objects(session: LanguageSession, ollama: StandInOllama) -> None:
    parts = list(session.run("How?", stream=True))

    assert "".join(part.response for part in parts) == TEXT
    assert parts[-1] == {
        "model": "mistral", "response": "", "done": True, "done_reason": "stop", "eval_count": 3
    }  # fmt: skip
    (asked,) = ollama.received
    assert (asked.path, asked.body) == ("/api/generate", {"model": "mistral", "prompt": "How?", "stream": True})


def test_without_a_stream_the_answer_is_whole(session: LanguageSession, ollama: StandInOllama) -> None:
    answer = session.run("How?")

    assert (answer.response, answer["model"], answer.done, answer.done_reason) == (TEXT, "mistral", True, "stop")
    assert ollama.received[0].body["stream"] is False


def test_options_are_passed_on(session: LanguageSession, ollama: StandInOllama) -> None:
    session.run({"prompt": "How?", "options": {"seed": 1}}, options={"num_ctx": 8192})

    assert ollama.received[0].body["options"] == {"seed": 1, "num_ctx": 8192}


def test_messages_go_to_the_chat(session: LanguageSession, ollama: StandInOllama) -> None:
    messages = [{"role": "user", "content": "How?"}]
    texts = [part.response for part in session.run({"messages": messages}, stream=True)]

    assert "".join(texts) == TEXT
    assert (ollama.received[0].path, ollama.received[0].body["messages"]) == ("/api/chat", messages)


@pytest.mark.parametrize("prompt", ["How?", {"messages": [{"role": "user", "content": "How?"}]}])
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/api/generate"])
def test_a_compatible_server(ollama: StandInOllama, prompt: Any, suffix: str) -> None:
    session = Session("mistral", host=ollama.url + suffix, mode="openaicompatible", key="a-key")

    assert "".join(part.response for part in session.run(prompt, stream=True)) == TEXT
    assert session.run(prompt).response == TEXT
    for asked in ollama.received:
        assert asked.path == "/v1/chat/completions"
        assert asked.body["messages"] == [{"role": "user", "content": "How?"}]
        assert asked.headers["authorization"] == "Bearer a-key"


def test_the_mode_can_be_that_of_one_run(session: LanguageSession, ollama: StandInOllama) -> None:
    session.run("How?", mode="openaicompatible")
    assert ollama.received[0].path == "/v1/chat/completions"


def test_a_host_keeps_its_path(ollama: StandInOllama) -> None:
    Session("mistral", host=f"{ollama.url}/models/").run("How?")
    assert ollama.received[0].path == "/models/api/generate"


def test_the_host_is_read_when_the_session_is_made(
    session: LanguageSession, ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "http://127.0.0.1:9")
    assert session.run("How?").response == TEXT


def test_supabases_variable_names_the_host_where_ours_does_not(
    ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_INFERENCE_API_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", ollama.url)
    assert Session("mistral").run("How?").response == TEXT
    monkeypatch.setenv("AI_INFERENCE_API_HOST", ollama.url)
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "")
    assert Session("mistral").run("How?").response == TEXT


def test_the_key_of_the_environment_goes_to_its_host_only(
    ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text("a-key\n")
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_KEY_FILE", str(path))
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", ollama.url)
    Session("mistral").run("How?")
    Session("mistral", host=ollama.url).run("How?")

    assert [asked.headers.get("authorization") for asked in ollama.received] == ["Bearer a-key", None]


def test_an_event_loop_has_the_same(session: LanguageSession) -> None:
    async def both() -> tuple[str, str]:
        whole = await session.run_async("How?")
        parts = [part.response async for part in await session.run_async("How?", stream=True)]
        return whole.response, "".join(parts)

    assert asyncio.run(both()) == (TEXT, TEXT)


def test_run_works_where_an_event_loop_runs(session: LanguageSession) -> None:
    async def inside() -> GenerationPart:
        return session.run("How?")

    assert asyncio.run(inside()).response == TEXT


# -- Which of the two it is --------------------------------------------------------------------------------


def test_a_name_of_the_catalogue_is_an_embedding_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "http://127.0.0.1:9")
    with Session("all-MiniLM-L6-v2", threads=1) as session:
        assert isinstance(session, EmbeddingSession)
        assert session.run("hello").shape == (384,)


def test_a_path_is_an_embedding_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "http://127.0.0.1:9")
    folder = write_tiny_model(tmp_path / "mine")
    with Session(str(folder), threads=1) as session, Session("ours", model_dir=str(folder), threads=1) as named:
        assert isinstance(session, EmbeddingSession)
        assert isinstance(named, EmbeddingSession)


def test_without_a_host_the_error_names_both_remedies() -> None:
    with pytest.raises(ConfigurationError, match=r"choose one of gte-small, .*, or set PGEMBEDD_LANGUAGE_HOST to"):
        Session("mistral")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"host": "127.0.0.1:11434"}, "named by its URL"),
        ({"host": "http://127.0.0.1:port"}, "named by its URL"),
        ({"host": "ftp://127.0.0.1"}, "named by its URL"),
        ({"host": "http://user:key@127.0.0.1"}, "PGEMBEDD_LANGUAGE_KEY_FILE"),
        ({"host": "http://127.0.0.1", "mode": "openai"}, "choose ollama or openaicompatible"),
        ({"mode": "openaicompatible"}, "set PGEMBEDD_LANGUAGE_HOST"),
        ({"host": 5}, "named by its URL"),
        ({"host": "http://127.0.0.1", "key": b"key"}, "one line of printable ASCII"),
        ({"host": "http://127.0.0.1", "timeout": "5"}, "timeout is a number of seconds"),
        ({"host": "http://127.0.0.1", "timeout": 0}, "give more than 0"),
        ({"threads": 1}, "no model named 'mistral'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Session("mistral", **options)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "is a text, as 'gte-small', and not NoneType"),
        (b"gte-small", "not bytes"),
        (["gte-small"], "not list"),
        ("", "is empty"),
        (" ", "is empty"),
        ("mistral\n", "the end of a line"),
        ("gte-small\0", "holds a character that no name has"),
    ],
)
def test_what_is_no_name_is_refused(name: Any, sentence: str) -> None:
    for options in ({}, {"host": "http://127.0.0.1"}, {"model_dir": "."}):
        with pytest.raises(
            ConfigurationError, match=rf"^The name of a model .*{sentence}.*: choose one of gte-small, "
        ):
            Session(name, **options)


def test_a_name_too_long_for_a_path_is_a_name() -> None:
    with pytest.raises(ConfigurationError, match="There is no embedding model 'xxx"):
        Session("x" * 5000)


PROMPT = "A prompt is a text, or an object as "


@pytest.mark.parametrize(
    ("prompt", "how", "sentence"),
    [
        (None, {}, f"{PROMPT}.*, and not NoneType."),
        (5, {}, f"{PROMPT}.*, and not int."),
        (b"How?", {}, f"{PROMPT}.*, and not bytes."),
        (["How?"], {}, f"{PROMPT}.*, and not list."),
        ({1: "How?"}, {}, f"{PROMPT}.*, whose names are texts."),
        ({"prompt": "How?", "options": 5}, {"options": {"num_ctx": 1}}, f"{PROMPT}.*, whose options are an object."),
        ({"messages": object()}, {}, "The prompt or its options hold what JSON cannot: .*object is not JSON"),
        ({"temperature": float("nan")}, {}, "The prompt or its options hold what JSON cannot: Out of range"),
        ("How?", {"options": 5}, "options are an object, as .*, and not int."),
        ("How?", {"mode": "openai"}, "There is no mode 'openai' of a language model; choose ollama or"),
        ("How?", {"timeout": "5"}, "timeout is a number of seconds, and not str."),
        ("How?", {"timeout": True}, "timeout is a number of seconds, and not bool."),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_asked_is_a_sentence_before_anything_is_sent(
    session: LanguageSession, ollama: StandInOllama, prompt: Any, how: dict[str, Any], sentence: str, stream: bool
) -> None:
    unchecked: Any = session
    with pytest.raises(ConfigurationError, match=f"^{sentence}"):
        unchecked.run(prompt, stream=stream, **how)
    with pytest.raises(ConfigurationError, match=f"^{sentence}"):
        asyncio.run(session.run_async(prompt, **how))
    assert ollama.received == []


def test_a_key_goes_to_the_host_of_the_environment(ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", ollama.url)
    Session("mistral", key="a-key").run("How?")
    assert ollama.received[0].headers["authorization"] == "Bearer a-key"


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_is_positive(session: LanguageSession, timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="give more than 0"):
        session.run("How?", timeout=timeout)


def test_an_embedding_model_takes_no_host() -> None:
    with pytest.raises(ConfigurationError, match="gte-small is an embedding model, which takes no host"):
        Session("gte-small", host="http://127.0.0.1:11434")


def test_options_of_ollama_go_to_ollama_only(ollama: StandInOllama) -> None:
    with pytest.raises(ConfigurationError, match="options are Ollama's"):
        Session("mistral", host=ollama.url, mode="openaicompatible").run("How?", options={"num_ctx": 8192})

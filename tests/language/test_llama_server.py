"""A real model on a real llama.cpp server: its protocol as it is, not as it is described."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import openai
import pytest

from pgembedd import Session
from pgembedd.errors import ContextTooLongError, GenerationCancelledError
from pgembedd.language import LanguageSession
from pgembedd.model import Session as EmbeddingSession
from tests.http.test_chat import client_of
from tests.http.test_generate import over
from tests.support.http import PLAIN, TOKEN
from tests.support.servers.llama import CONTEXT_TOKENS, NAME
from tests.support.waiting import eventually

QUESTION = "To reset a password open Settings, then Security, then Reset. How do I reset my password?"
ASKED: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def session(llama: str) -> LanguageSession:
    made: LanguageSession = Session(NAME, host=llama, mode="openaicompatible")
    return made


def prompt(tokens: int) -> dict[str, Any]:
    """A question whose answer has so many tokens at most, always the same."""
    return {"messages": ASKED, "max_tokens": tokens, "temperature": 0}


@pytest.mark.slow
def test_a_stream_has_the_text_of_the_whole_answer(session: LanguageSession) -> None:
    parts = list(session.run({**prompt(20), "stream_options": {"include_usage": True}}, stream=True))
    text = "".join(part.response for part in parts)

    assert "Settings" in text
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert (parts[-1]["choices"], parts[-1]["usage"]["completion_tokens"] > 1) == ([], True)
    assert session.run(prompt(20)).response == text


def test_a_prompt_beyond_its_context_has_the_servers_numbers(session: LanguageSession) -> None:
    with pytest.raises(ContextTooLongError) as caught:
        session.run("word " * 2 * CONTEXT_TOKENS)
    assert caught.value.context_tokens == CONTEXT_TOKENS
    assert caught.value.prompt_tokens > 2 * CONTEXT_TOKENS


@pytest.mark.slow
def test_closing_a_stream_frees_the_server(llama: str, session: LanguageSession) -> None:
    stream = session.run({**prompt(400), "ignore_eos": True}, stream=True)
    next(stream)
    assert busy(llama)
    threading.Thread(target=stream.close).start()
    with pytest.raises(GenerationCancelledError):
        list(stream)
    eventually(lambda: not busy(llama))


def busy(llama: str) -> bool:
    """Tells that the server works on an answer, by its own account."""
    with httpx.Client(trust_env=False, verify=PLAIN) as client:
        return any(slot["is_processing"] for slot in client.get(f"{llama}/slots").json())


@pytest.mark.slow
def test_openais_client_gets_it_through_the_service(llama: str, model: EmbeddingSession) -> None:
    service = over(model, llama, language_mode="openaicompatible", http_token=TOKEN)
    with service as over_http, client_of(over_http) as client:
        with client.chat.completions.create(model=NAME, stream=True, **prompt(20)) as stream:
            texts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        listed = [one.id for one in client.models.list()]
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model=NAME, messages=[{"role": "user", "content": "word " * 2 * CONTEXT_TOKENS}]
            )
    assert "Settings" in "".join(texts)
    assert listed == [model.name, NAME]
    assert caught.value.code == "context_length_exceeded"


def test_a_client_of_the_service_that_leaves_frees_the_server(llama: str, model: EmbeddingSession) -> None:
    with over(model, llama, language_mode="openaicompatible") as service:
        body = {**prompt(400), "ignore_eos": True, "stream": True}
        with service.stream("POST", "/v1/chat/completions", json=body) as answer:
            parts = answer.iter_text()  # without a name it would be closed at once, and the connection with it
            next(parts)
            assert busy(llama)
        eventually(lambda: not busy(llama))

"""A server that refuses, breaks off, is silent or answers with something else: each is an error of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd import Session
from pgembedd.errors import (
    ConfigurationError,
    ContextTooLongError,
    GenerationError,
    GenerationTimeoutError,
    GenerationUnavailableError,
)
from pgembedd.language.endpoint import Mode
from pgembedd.language.generation import Bounds, Generation
from pgembedd.language.parts import Lines, NdjsonParser, SseParser
from tests.support.servers.ollama import WORDS, StandInOllama, event, line
from tests.support.servers.stand_in import Answer, Cut, Hang, json_answer
from tests.support.waiting import PATIENCE_S

OPEN = line(response="Open", done=False)
DELTA = event({"choices": [{"delta": {"content": "Open"}, "finish_reason": None}]})


def compatible(ollama: StandInOllama, timeout: float = 60.0) -> Callable[[], list[str]]:
    session = Session("mistral", host=ollama.url, mode="openaicompatible", timeout=timeout)
    return lambda: [part.response for part in session.run("How?", stream=True)]


def native(ollama: StandInOllama, timeout: float = 60.0) -> Callable[[], list[str]]:
    session = Session("mistral", host=ollama.url, timeout=timeout)
    return lambda: [part.response for part in session.run("How?", stream=True)]


def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(GenerationUnavailableError, match="that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: No"):
        Session("mistral", host="https://127.0.0.1:1").run("How?")


@pytest.mark.parametrize(
    ("parts", "kind", "sentence"),
    [
        ([OPEN], GenerationError, "ended the answer before it was complete"),
        ([], GenerationError, "ended the answer before it was complete"),
        ([OPEN, b'{"response": "the", "do'], GenerationError, "no JSON object"),
        ([OPEN, Cut()], GenerationUnavailableError, "broke before the answer was complete"),
        ([OPEN, line(error="an illegal memory access")], GenerationError, "broke off: an illegal memory access."),
        ([OPEN, b"<html>\n"], GenerationError, "no JSON object"),
        ([OPEN, b"[1]\n"], GenerationError, "no JSON object"),
    ],
)
def test_a_stream_that_breaks_off(
    ollama: StandInOllama, parts: Sequence[bytes | Cut], kind: type[GenerationError], sentence: str
) -> None:
    ollama.stream(*parts)
    with pytest.raises(kind, match=sentence) as caught:
        native(ollama)()
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([DELTA], "ended the answer before it was complete"),
        ([DELTA, event({"error": {"message": "out of memory", "code": 500}})], "broke off: out of memory."),
        ([DELTA, b'error: {"error": {"message": "out of memory"}}\n\n'], "broke off: out of memory."),
        ([DELTA, event({"choices": [{"error": {"message": "over"}, "finish_reason": "error"}]})], "broke off: over."),
        ([DELTA, event({"choices": [{"delta": {}, "finish_reason": "error"}]})], "broke off: "),
        ([DELTA, b'data: {"error": "bad \\ud800"}\n\n'], "broke off: bad \ufffd."),
        ([DELTA, b"data: nothing\n\n"], "no JSON object"),
    ],
)
def test_a_compatible_stream_that_breaks_off(ollama: StandInOllama, parts: list[bytes], sentence: str) -> None:
    ollama.stream(*parts)
    with pytest.raises(GenerationError, match=sentence):
        compatible(ollama)()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("mode", ["ollama", "openaicompatible"])
def test_a_key_in_the_error_of_an_answer_is_not_shown(ollama: StandInOllama, mode: Mode, stream: bool) -> None:
    error = {"error": {"message": "x" * 290 + " secret/key-123 is over its quota"}}
    answer = [OPEN, line(**error)] if mode == "ollama" else [DELTA, event(error)]
    ollama.stream(*(answer if stream else [line(**error)]))
    session = Session("mistral", host=ollama.url, key="secret/key-123", mode=mode)
    with pytest.raises(GenerationError, match=r"broke off: x+ \[key\]") as caught:
        list(session.run("How?", stream=True)) if stream else session.run("How?")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"error": "no secret\\/key-\\u0031 here"}', b"<p>" + b"x" * 290 + b"secret/key-1"])
def test_a_key_in_a_refusal_is_not_shown(ollama: StandInOllama, body: bytes) -> None:
    ollama.answer = lambda _: Answer(503, {}, [body])
    with pytest.raises(GenerationUnavailableError, match=r"\[key\]") as caught:
        Session("mistral", host=ollama.url, key="secret/key-1").run("How?")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "end",
    [
        b"data: [DONE]\n\n",
        event({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}]}).rstrip(),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + event({"choices": [], "usage": {}}),
    ],
)
def test_ends_of_a_compatible_stream(ollama: StandInOllama, end: bytes) -> None:
    first = event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
    ollama.stream(b": comment\n\n", first, DELTA.replace(b"\n", b"\r\n"), end)
    assert "".join(compatible(ollama)()) == "Open"


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (json_answer({"error": "model 'mistral' not found"}, 404), GenerationError, "404: model 'mistral' not found."),
        (json_answer({"error": "no"}, 401), GenerationError, "the key is missing or wrong"),
        (json_answer({"error": {"message": "Loading model", "code": 503}}, 503), GenerationUnavailableError, "Loading"),
        (json_answer({"error": "slow down"}, 429, retry_after="7"), GenerationUnavailableError, "429: slow down."),
        (json_answer({}, 307, location="http://127.0.0.1:9"), GenerationError, "a redirect, which is not followed"),
        (Answer(500, {}, [b"<html>" + b"x" * 70_000]), GenerationUnavailableError, "500: <html>x"),
        (Answer(500, {}, []), GenerationUnavailableError, "no reason given"),
    ],
)
def test_a_server_that_refuses(
    ollama: StandInOllama, answer: Answer, kind: type[GenerationError], sentence: str
) -> None:
    ollama.answer = lambda _: answer
    for stream in (True, False):
        with pytest.raises(kind, match=sentence) as caught:
            Session("mistral", host=ollama.url).run("How?", stream=stream)
        assert type(caught.value) is kind
        assert caught.value.status == answer.status
        assert len(str(caught.value)) < 500
    assert len(ollama.received) == 2, "nothing is retried"


def test_the_delay_that_a_server_asks_for(ollama: StandInOllama) -> None:
    ollama.answer = lambda _: json_answer({"error": "slow down"}, 429, retry_after="7")
    with pytest.raises(GenerationUnavailableError) as caught:
        native(ollama)()
    assert caught.value.retry_after_s == 7


LIMIT = "This model's maximum context length is 512 tokens. However, "


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512, "message": "too long"}},
        {"error": {"message": f"{LIMIT}your messages resulted in 900 tokens.", "code": "context_length_exceeded"}},
        {
            "object": "error",
            "message": f"{LIMIT}you requested 900 tokens (388 in the messages, 512 in the completion).",
        },
    ],
    ids=["llama.cpp", "OpenAI", "vLLM"],
)
def test_a_prompt_that_is_too_long(ollama: StandInOllama, body: dict[str, Any]) -> None:
    ollama.answer = lambda _: json_answer(body, 400)
    with pytest.raises(ContextTooLongError, match="has 900 tokens, but the language model reads 512") as caught:
        compatible(ollama)()
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (900, 512)


def test_no_server_listens() -> None:
    with pytest.raises(GenerationUnavailableError, match=r"at http://127\.0\.0\.1:9 cannot be reached: start it"):
        Session("mistral", host="http://127.0.0.1:9").run("How?")


@pytest.mark.parametrize("parts", [[Hang()], [OPEN, Hang()]])
def test_a_server_that_is_silent(ollama: StandInOllama, parts: list[bytes | Hang]) -> None:
    ollama.stream(*parts)
    # To connect may take as long on a busy machine, and is told in other words.
    with pytest.raises(GenerationTimeoutError, match=r"(sent nothing for|did not answer within) 0\.2 s\b"):
        native(ollama, timeout=0.2)()


def test_slow_parts_are_waited_for(ollama: StandInOllama) -> None:
    go_on = threading.Event()
    ollama.stream(OPEN, lambda: go_on.wait(PATIENCE_S), line(response=" it", done=True))
    session = Session("mistral", host=ollama.url)
    stream = session.run("How?", stream=True)
    first = next(stream).response
    go_on.set()
    assert (first, [part.response for part in stream]) == ("Open", [" it"])


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [(Bounds(max_bytes=2_000), "more than 2 KB"), (Bounds(total_s=0.2), r"not complete after 0\.2 s")],
)
def test_a_model_that_repeats_itself_for_ever(ollama: StandInOllama, bounds: Bounds, sentence: str) -> None:
    lines = [OPEN] * 100 if bounds.max_bytes == 2_000 else [OPEN]
    ollama.stream(*lines, Hang())
    session = Session("mistral", host=ollama.url)

    async def whole() -> None:
        generation = Generation(session.endpoint, "mistral", "How?", stream=True, bounds=bounds)
        async for _ in generation:
            pass

    with pytest.raises(GenerationError, match=sentence):
        asyncio.run(whole())
    if bounds.max_bytes == 2_000:
        assert ollama.left.wait(PATIENCE_S)


def test_lines_instead_of_an_answer_are_joined(ollama: StandInOllama) -> None:
    ollama.stream(*[line(response=word, done=False) for word in WORDS], line(response="", done=True))
    answer = Session("mistral", host=ollama.url).run("How?")
    assert (answer.response, answer.done) == ("".join(WORDS), True)


def test_an_answer_in_one_piece_that_is_not_complete(ollama: StandInOllama) -> None:
    ollama.answer = lambda _: json_answer({"response": "Open", "done": False})
    with pytest.raises(GenerationError, match="before it was complete"):
        Session("mistral", host=ollama.url).run("How?")


def test_a_setting_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_KEY_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"/nowhere named by PGEMBEDD_LANGUAGE_KEY_FILE"):
        Session("mistral")


@pytest.mark.parametrize("key", ["schlüssel", "one\ntwo", "key\x7f"])
def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="one line of printable ASCII"):
        Session("mistral", host="http://127.0.0.1:9", key=key)
    (tmp_path / "key").write_text(key, encoding="utf-8")
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigurationError, match="PGEMBEDD_LANGUAGE_KEY_FILE holds more than a key"):
        Session("mistral")


# -- Property: the cuts of the network mean nothing ----------------------------------------------------------


@given(st.lists(st.text(), max_size=5), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_any_cut_of_the_bytes_gives_the_same_objects(texts: list[str], cuts: list[int], ndjson: bool) -> None:
    members = [{"response": text, "done": False} for text in texts]
    dumped = [json.dumps(member, ensure_ascii=False).encode("utf-8", "replace") for member in members]
    data = b"".join(b + b"\n" if ndjson else b"data: " + b + b"\r\n\r\n" for b in dumped)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    lines, parser = Lines(), NdjsonParser() if ndjson else SseParser()
    found = [
        part for start, end in pairwise(places) for each in lines.add(data[start:end]) for part in parser.add(each)
    ]
    assert [part.response for part in found] == [json.loads(b)["response"] for b in dumped]

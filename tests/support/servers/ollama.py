"""A stand-in for Ollama, which cannot be had here: its protocol as its documents describe it, and its faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.support.servers.stand_in import Answer, Cut, Hang, Received, StandIn, json_answer

WORDS = ("Open", " the", " settings.")


def line(**members: Any) -> bytes:
    """A line of a stream."""
    return json.dumps(members).encode() + b"\n"


def event(value: Any) -> bytes:
    """A server-sent event of OpenAI's protocol."""
    return f"data: {json.dumps(value)}\n\n".encode()


class StandInOllama(StandIn):
    """Answers every prompt with the same words, a part each."""

    def __init__(self) -> None:
        super().__init__(_answer)

    def stream(self, *parts: bytes | Cut | Hang | Callable[[], object]) -> None:
        """Makes these parts the answer to everything."""
        self.answer = lambda _: Answer(200, {"content-type": "application/x-ndjson"}, parts)


def _answer(asked: Received) -> Answer:
    if asked.path.endswith("/v1/models"):
        return json_answer({"object": "list", "data": [{"id": "mistral", "object": "model"}]})
    if asked.path.endswith("/v1/chat/completions"):
        return _completion(asked.body)
    chat = asked.path.endswith("/api/chat")
    if not asked.body["stream"]:
        text = {"message": {"role": "assistant", "content": "".join(WORDS)}} if chat else {"response": "".join(WORDS)}
        return json_answer({"model": asked.body["model"], **text, "done": True, "done_reason": "stop"})
    texts: Sequence[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": word}} if chat else {"response": word} for word in (*WORDS, "")
    ]
    lines = [line(model=asked.body["model"], **text, done=False) for text in texts[:-1]]
    return Answer(
        200,
        {"content-type": "application/x-ndjson"},
        [*lines, line(model=asked.body["model"], **texts[-1], done=True, done_reason="stop", eval_count=3)],
    )


def _completion(body: Any) -> Answer:
    if not body["stream"]:
        message = {"role": "assistant", "content": "".join(WORDS)}
        return json_answer({"model": body["model"], "choices": [{"message": message, "finish_reason": "stop"}]})
    deltas = [event({"choices": [{"delta": {"content": word}, "finish_reason": None}]}) for word in WORDS]
    end = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return Answer(200, {"content-type": "text/event-stream"}, [*deltas, end, b"data: [DONE]\n\n"])


@pytest.fixture
def ollama() -> Iterator[StandInOllama]:
    """A stand-in that listens."""
    with (stand_in := StandInOllama()).running():
        yield stand_in

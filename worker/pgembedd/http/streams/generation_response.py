"""Responses that stream the answer of a language model: as raw text, as framed events, as OpenAI's events."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pgembedd.errors import GenerationError
from pgembedd.http.errors.refusals import refusal_of
from pgembedd.language import Generation
from pgembedd.log import get_logger
from pgembedd.text.unicode import WellFormedParts

HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}

Frames = Callable[[Generation], AsyncIterator[bytes]]


class GenerationResponse(StreamingResponse):
    """The parts of a started generation. When the client leaves, the generation is closed, and so its request."""

    def __init__(self, generation: Generation, frames: Frames, held: ExitStack) -> None:
        """`held` is closed at the end."""
        super().__init__(frames(generation), headers=HEADERS)
        self._generation, self._held = generation, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the parts. An answer that breaks off after its beginning, as raw text, cuts the connection."""
        try:
            with self._held:
                await super().__call__(scope, receive, send)
        except GenerationError as error:
            log_failure(error)
            scope["state"]["connection"].abort()
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._generation.cancel()


async def raw_text(generation: Generation) -> AsyncIterator[bytes]:
    """Yields nothing but the text, as the function of Supabase's guide does."""
    parts = WellFormedParts()
    async for chunk in generation:
        if text := parts.add(chunk.response):
            yield text.encode()
    if text := parts.end():
        yield text.encode()


async def events(generation: Generation) -> AsyncIterator[bytes]:
    """Yields `delta` events with the text, then `done` or `error`."""
    reason = None
    try:
        async for chunk in generation:
            reason = chunk.done_reason or reason
            if chunk.response:
                yield _event("delta", {"response": chunk.response})
    except GenerationError as error:
        log_failure(error)
        yield _event("error", _problem(error))
    else:
        yield _event("done", {"done_reason": reason})


async def openai_events(generation: Generation) -> AsyncIterator[bytes]:
    """Yields the server's own objects, then `[DONE]`; an error as OpenAI's clients expect it."""
    try:
        async for chunk in generation:
            yield _event("", chunk)
    except GenerationError as error:
        log_failure(error)
        problem = _problem(error)
        body = {"message": problem["message"], "type": "server_error", "param": None, "code": problem["error"]}
        yield _event("", {"error": body})
    else:
        yield b"data: [DONE]\n\n"


def log_failure(error: GenerationError) -> None:
    """Logs that an answer broke off, without anything that the server said."""
    get_logger().warning("generation_failed", error=type(error).__name__, status=error.status)


def _problem(error: GenerationError) -> dict[str, str]:
    refusal = refusal_of(error)
    assert refusal is not None
    return {"error": refusal.code, "message": refusal.sentence}


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    # ASCII only: a part may end within a surrogate pair, which no UTF-8 can hold.
    lines = [f"event: {name}"] if name else []
    return "\n".join([*lines, f"data: {json.dumps(data, separators=(',', ':'))}", "", ""]).encode()

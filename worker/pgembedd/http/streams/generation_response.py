"""Responses that stream the answer of a language model: as raw text, as framed events, as OpenAI's events."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pgembedd.errors import GenerationError
from pgembedd.http.errors.refusals import openai_problem, own_refusal, problem_of
from pgembedd.http.streams.sse import DONE, HEADERS, cut, frame
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.language import Generation
from pgembedd.log import get_logger
from pgembedd.text.unicode import WellFormedParts

Frames = Callable[[Generation], AsyncIterator[bytes]]


class AnswerStream(StreamingResponse):
    """The parts of an answer while it is made."""

    def __init__(self, parts: AsyncIterator[bytes], held: ExitStack) -> None:
        """`held` is closed at the end, and when the client leaves: that ends the work on the answer."""
        super().__init__(parts, headers=HEADERS)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the parts. An answer that breaks off after its beginning, as raw text, cuts the connection."""
        try:
            with self._held:
                await super().__call__(scope, receive, send)
        except GenerationError as error:
            _log_failure(error)
            await cut(scope, receive)


async def streamed(
    request: Request, generation: Generation, frames: Frames, slot: AbstractContextManager[None]
) -> AnswerStream:
    """Returns the response of a generation once its first part is there, in a slot until its end.

    GenerationError; Refusal 499, and what the slot raises.
    """
    with ExitStack() as held:
        held.enter_context(slot)
        held.callback(generation.cancel)
        await while_connected(request, generation.start())
        return AnswerStream(frames(generation), held.pop_all())


async def raw_text(generation: Generation) -> AsyncIterator[bytes]:
    """Yields nothing but the text, as the function of Supabase's guide does."""
    parts = WellFormedParts()
    async for part in generation:
        if text := parts.add(part.response):
            yield text.encode()
    if text := parts.end():
        yield text.encode()


async def events(generation: Generation) -> AsyncIterator[bytes]:
    """Yields `delta` events with the text, then `done` or `error`."""
    reason = None
    try:
        async for part in generation:
            reason = part.done_reason or reason
            if part.response:
                yield frame({"text": part.response}, "delta")
    except GenerationError as error:
        _log_failure(error)
        yield frame(problem_of(own_refusal(error)), "error")
    else:
        yield frame({"done_reason": reason}, "done")


async def openai_events(generation: Generation) -> AsyncIterator[bytes]:
    """Yields the server's own objects, then `[DONE]`; an error as OpenAI's clients expect it."""
    try:
        async for part in generation:
            yield frame(part)
    except GenerationError as error:
        _log_failure(error)
        yield frame({"error": openai_problem(own_refusal(error))})
    else:
        yield DONE


def _log_failure(error: GenerationError) -> None:
    """Logs that an answer broke off, without anything that the server said."""
    get_logger().warning("generation_failed", error=type(error).__name__, status=error.status)

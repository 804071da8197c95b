"""One answer of a language model while it is made: an iterator of its parts that can be closed from anywhere."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Self

import anyio

from pgembedd.errors import ConfigurationError, GenerationCancelledError, GenerationError, GenerationTimeoutError
from pgembedd.language.endpoint import Endpoint, Prompt
from pgembedd.language.failures import answered
from pgembedd.language.parts import GenerationPart, Lines, NdjsonParser, SseParser, ended_early, parse_answer
from pgembedd.settings import LanguageSettings
from pgembedd.settings.limits import STREAM_BYTES

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Bounds:
    """Limits of one answer. `timeout_s` is for the connection, and for the wait between two parts of the answer."""

    timeout_s: float = TIMEOUT_S
    total_s: float = math.inf
    max_bytes: float = STREAM_BYTES
    """Of what the server sends for the answer."""

    @classmethod
    def of(cls, settings: LanguageSettings) -> Self:
        """Returns those of the settings."""
        max_bytes = settings.language_max_answer_kb * 1000
        return cls(settings.language_timeout_s, settings.language_total_timeout_s, max_bytes)


class Generation(AsyncIterator[GenerationPart]):
    """An answer: `start()`, then iterate. Bound to the event loop that starts it, except for `cancel()`."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        prompt: Prompt,
        *,
        stream: bool,
        bounds: Bounds | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Sends nothing yet. ConfigurationError for a prompt that is none, and for options of another server."""
        self._scope: anyio.CancelScope | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = self._ended = False
        self._deadline = math.inf
        self._first: GenerationPart | None = None
        self._bounds = bounds or Bounds()
        body = endpoint.body(model, prompt, stream=stream, options=options)
        # Closed by the event loop when this object is left. A reference to it would be a cycle, whose generators the
        # interpreter closes all at once.
        content = _encoded(body)
        self._parts = _read(endpoint, endpoint.path(prompt), content, self._bounds, stream=stream)

    async def start(self) -> Self:
        """Sends the request, and returns when the first part of the answer is there. GenerationError for a refusal."""
        self._loop = asyncio.get_running_loop()
        self._deadline = anyio.current_time() + self._bounds.total_s
        self._first = await self._next()
        return self

    async def __anext__(self) -> GenerationPart:
        """Returns the next part. GenerationError if the answer breaks off; StopAsyncIteration when it is complete."""
        if self._loop is None:
            await self.start()
        part, self._first = self._first, None
        if part is None:
            part = await self._next()
        if part is None:
            raise StopAsyncIteration
        return part

    async def answer(self) -> GenerationPart:
        """Returns the whole answer of a generation that is not streamed."""
        try:
            return await anext(self)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Ends the request, and with it the server's work. A task that waits for a part gets the error at once."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()
        else:
            await self._parts.aclose()

    def cancel(self) -> None:
        """Closes the generation, from any thread; does not wait for it."""
        self._closed = True
        if self._loop is not None and not self._ended:
            with suppress(RuntimeError):  # the loop is closed, and the connection with it
                self._loop.call_soon_threadsafe(self._close_soon)

    def _close_soon(self) -> None:
        self._closing = asyncio.ensure_future(self.aclose())  # kept, as a loop refers to its tasks weakly

    async def _next(self) -> GenerationPart | None:
        """Returns the next part, None at the end."""
        if self._closed and not self._ended:
            raise _cancelled()
        with anyio.CancelScope(deadline=self._deadline) as self._scope:
            try:
                return await anext(self._parts)
            except StopAsyncIteration:
                self._ended = True
                return None
            finally:
                self._scope = None
        if self._closed:
            raise _cancelled()
        raise GenerationTimeoutError(f"The answer was not complete after {self._bounds.total_s:g} s.")


def _encoded(body: dict[str, Any]) -> bytes:
    """Returns the body of the request as JSON. ConfigurationError for what JSON cannot hold."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The prompt or its options hold what JSON cannot: {error}.") from None


async def _read(
    endpoint: Endpoint, path: str, content: bytes, bounds: Bounds, *, stream: bool
) -> AsyncGenerator[GenerationPart, None]:
    """Sends the request and yields the objects of the answer."""
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    url, timeout_s = endpoint.base + path, bounds.timeout_s
    async with (
        answered(endpoint, "POST", url, timeout_s, content=content, headers=headers) as response,
        aclosing(response.aiter_bytes()) as received,
        aclosing(bounded(received, bounds.max_bytes)) as data,
        aclosing(_streamed(data, endpoint) if stream else _whole(data, endpoint.key)) as parts,
    ):
        async for part in parts:
            yield part


async def _streamed(data: AsyncIterator[bytes], endpoint: Endpoint) -> AsyncGenerator[GenerationPart, None]:
    """Yields the objects of a stream. GenerationError for one that ends before its answer is complete."""
    native = endpoint.mode == "ollama"
    lines, parser = Lines(), NdjsonParser(endpoint.key) if native else SseParser(endpoint.key)
    async for received in data:
        for line in lines.add(received):
            for part in parser.add(line):
                yield part
            if native and parser.complete:
                return
    for line in (lines.end(), b""):
        for part in parser.add(line):
            yield part
    if not parser.complete:
        raise ended_early()


async def bounded(parts: AsyncIterator[bytes], max_bytes: float) -> AsyncGenerator[bytes, None]:
    """Yields the bytes of an answer. GenerationError when there are more than `max_bytes`."""
    received = 0
    async for part in parts:
        received += len(part)
        if received > max_bytes:
            raise GenerationError(f"The answer has more than {max_bytes / 1000:g} KB and was cut off.")
        yield part


async def _whole(data: AsyncIterator[bytes], key: str | None) -> AsyncGenerator[GenerationPart, None]:
    yield parse_answer(b"".join([part async for part in data]), key)


def _cancelled() -> GenerationCancelledError:
    return GenerationCancelledError("The generation was cancelled before its answer was complete.")

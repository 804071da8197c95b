"""A session over a language model: `run()` with or without a stream, and the same for programs with an event loop."""

import asyncio
import os
import threading
import weakref
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from pgembedd.errors import ConfigurationError
from pgembedd.language.endpoint import HOST_VARIABLE, Endpoint, Mode, Prompt, endpoint_from_environment
from pgembedd.language.generation import TIMEOUT_S, Bounds, Generation
from pgembedd.language.parts import GenerationPart

Result = TypeVar("Result")


class RunOptions(TypedDict, total=False):
    """The options of one `run()`: what differs from the session's own, and Ollama's options."""

    mode: Mode | None
    timeout: float | None
    options: Mapping[str, Any] | None


class LanguageSession(AbstractContextManager["LanguageSession"]):
    """A language model by name, on a server. Threads may share it; it holds no connection between two answers."""

    def __init__(
        self,
        name: str,
        *,
        host: str | None = None,
        key: str | None = None,
        mode: Mode = "ollama",
        timeout: float = TIMEOUT_S,
    ) -> None:
        """Sends nothing. `host`, a URL, is that of PGEMBEDD_LANGUAGE_HOST, as it is set now, unless given.

        `key` is sent as a bearer token; without it, the one of PGEMBEDD_LANGUAGE_KEY_FILE goes to the host of the
        environment only. `mode` and `timeout`, in seconds, are those of each `run()` that does not say otherwise.
        ConfigurationError without a host, or for one that is no URL.
        """
        endpoint = Endpoint(host, mode, key) if host else endpoint_from_environment(mode)
        if endpoint is None:
            raise ConfigurationError(
                f"No server of the language model {name!r} is named: set {HOST_VARIABLE} to its URL, "
                "as http://127.0.0.1:11434."
            )
        if key is not None and not host:
            endpoint = replace(endpoint, key=key)
        _check_timeout(timeout)
        self.name, self.endpoint, self.timeout = name, endpoint, timeout
        self._background: _Background | None = None
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Generation] = weakref.WeakSet()

    @overload
    def run(self, prompt: Prompt, *, stream: Literal[False] = False, **how: Unpack[RunOptions]) -> GenerationPart: ...
    @overload
    def run(self, prompt: Prompt, *, stream: Literal[True], **how: Unpack[RunOptions]) -> "Stream": ...
    def run(self, prompt: Prompt, *, stream: bool = False, **how: Unpack[RunOptions]) -> "GenerationPart | Stream":
        """Returns the whole answer, or with `stream` an iterator of its parts, once the first one is there.

        `prompt` is a text, or the members of the request's body. `timeout` bounds the connection and the wait
        between two parts; an answer that is not streamed comes as one part. `options` are Ollama's, as
        `{"num_ctx": 8192}`. GenerationError for a server that refuses, breaks off or is silent.
        """
        generation = self._generation(prompt, stream, **how)
        background = self._loop()
        if not stream:
            return background.call(generation.answer())
        return Stream(background, background.call(generation.start()))

    @overload
    async def run_async(
        self, prompt: Prompt, *, stream: Literal[False] = False, **how: Unpack[RunOptions]
    ) -> GenerationPart: ...
    @overload
    async def run_async(self, prompt: Prompt, *, stream: Literal[True], **how: Unpack[RunOptions]) -> Generation: ...
    async def run_async(
        self, prompt: Prompt, *, stream: bool = False, **how: Unpack[RunOptions]
    ) -> GenerationPart | Generation:
        """The same as `run()` in the running event loop; a stream is an asynchronous iterator with `aclose()`."""
        generation = self._generation(prompt, stream, **how)
        return await generation.start() if stream else await generation.answer()

    def close(self) -> None:
        """Ends all answers in progress, whatever thread waits for them. The session can still be used."""
        with self._lock:
            in_progress = list(self._open)
        for generation in in_progress:
            generation.cancel()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _generation(
        self,
        prompt: Prompt,
        stream: bool,
        mode: Mode | None = None,
        timeout: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Generation:
        endpoint = self.endpoint if mode is None else replace(self.endpoint, mode=mode)
        timeout_s = self.timeout if timeout is None else timeout
        _check_timeout(timeout_s)
        bounds = Bounds(timeout_s=timeout_s)
        generation = Generation(endpoint, self.name, prompt, stream=stream, bounds=bounds, options=options)
        with self._lock:
            self._open.add(generation)
        return generation

    def _loop(self) -> "_Background":
        with self._lock:
            if self._background is None or self._background.process != os.getpid():
                self._background = _Background()
            return self._background


def _check_timeout(timeout: object) -> None:
    """Raises ConfigurationError for what is no time to wait."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise ConfigurationError(f"timeout is a number of seconds, and not {type(timeout).__name__}.")
    if not timeout > 0:
        raise ConfigurationError(f"A language model cannot answer within {timeout} seconds; give more than 0.")


class Stream(Iterator[GenerationPart], AbstractContextManager["Stream"]):
    """The parts of an answer. `close()`, from any thread, ends the request; the end of a `with` block does, too."""

    def __init__(self, background: "_Background", generation: Generation) -> None:
        self._background, self._generation = background, generation
        # Before the loop may go with its last user: what is left open then would never be closed.
        weakref.finalize(self, generation.cancel).atexit = False

    def __next__(self) -> GenerationPart:
        """Returns the next part. GenerationError if the answer breaks off or was cancelled."""
        part = self._background.call(_next_or_none(self._generation))
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        """Ends the request, and with it the server's work."""
        self._generation.cancel()

    def __exit__(self, *_: object) -> None:
        self.close()


async def _next_or_none(generation: Generation) -> GenerationPart | None:
    return await anext(generation, None)


class _Background:
    """An event loop in its own thread, which ends with its last user or with the process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=[self._loop], name="language", daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop).atexit = False

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine and waits for it. An interrupt of this thread cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Runs until the loop has no user any more, then lets what is being closed end."""
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))  # what was posted before the stop begins
    while tasks := asyncio.all_tasks(loop):  # also one that began in the last turn
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()

"""Server-sent events, and the end of a client that does not read them, which sse-starlette never notices by itself."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from pgembedd.http.streams.event_hub import EventReader
from pgembedd.log import get_logger

RETRY_MS = 3000
POLL_S = 0.25  # of `stopping`
SEND_TIMEOUT_S = 5.0
DONE = b"data: [DONE]\n\n"  # the last event of OpenAI's streams

_RETRY = ServerSentEvent(retry=RETRY_MS, sep="\n")
_HEARTBEAT = ServerSentEvent(comment="heartbeat", sep="\n")
_LISTENING = ServerSentEvent(comment="listening", sep="\n")
_TOO_SLOW = ServerSentEvent('{"event": "too_slow", "pipeline": null, "pipeline_id": null}', event="too_slow", sep="\n")


def frame(data: Mapping[str, Any], name: str = "", nth: int | None = None) -> bytes:
    """Returns a server-sent event: its number and its name, where it has one, and its data."""
    lines = ([] if nth is None else [f"id: {nth}"]) + ([f"event: {name}"] if name else [])
    # ASCII only: a part of a text may end within a surrogate pair, which no UTF-8 can hold.
    return "\n".join([*lines, f"data: {json.dumps(data, separators=(',', ':'))}", "", ""]).encode()


async def cut(scope: Scope, receive: Receive) -> None:
    """Closes the connection at once, whatever is still to be sent, and waits for its end."""
    scope["state"]["connection"].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(EventSourceResponse):
    """Events of one client, until it leaves, is too slow, or the service stops."""

    def __init__(
        self,
        events: AsyncIterator[ServerSentEvent | bytes],
        leave: Callable[[], None],
        stopping: threading.Event,
        heartbeat_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`leave` is called at the end."""
        super().__init__(
            _with_retry(events),
            headers={"cache-control": "no-cache", **(headers or {})},
            ping=heartbeat_s,
            ping_message_factory=lambda: _HEARTBEAT,
            data_sender_callable=self._cut_when_stopping,
            sep="\n",
            send_timeout=SEND_TIMEOUT_S,
        )
        self._leave, self._stopping = leave, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the stream is over."""
        try:
            await super().__call__(scope, receive, send)
        except* SendTimeoutError:
            get_logger().warning("events_reader_cut", stopping=self._stopping.is_set())
            await cut(scope, receive)
        finally:
            self._leave()

    async def _cut_when_stopping(self) -> None:
        """Runs next to the events, which end first unless the client does not read them."""
        while not self._stopping.is_set():
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(2 * POLL_S)
        raise SendTimeoutError


async def _with_retry(events: AsyncIterator[ServerSentEvent | bytes]) -> AsyncIterator[ServerSentEvent | bytes]:
    yield _RETRY
    async for event in events:
        yield event


async def reader_events(reader: EventReader, stopping: threading.Event) -> AsyncIterator[ServerSentEvent]:
    """Yields the events of a reader of `/api/v1/events`."""
    announced = False
    while True:
        over = stopping.is_set() or reader.dropped or reader.over
        reader.news.clear()
        if reader.listening and not announced:
            announced = True
            yield _LISTENING
        while reader.waiting:
            yield reader.waiting.popleft()
        if over:
            break
        try:
            await asyncio.wait_for(reader.news.wait(), POLL_S)
        except TimeoutError:
            continue
    if reader.dropped:
        yield _TOO_SLOW

"""Server-sent events: their form, and the streams of a service, which are looked after together.

A stream has no timer of its own: one task sees to the heartbeats of all, and to the end of those that are not read.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pgembedd.log import get_logger

RETRY_MS = 3000
POLL_S = 0.25
STOP_S = 0.5  # for streams to end by themselves once the service stops
SEND_TIMEOUT_S = 5.0
HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
DONE = b"data: [DONE]\n\n"  # the last event of OpenAI's streams
HEARTBEAT = b": heartbeat\n\n"
_encode = json.JSONEncoder(separators=(",", ":")).encode  # dumps() makes an encoder at each call


def frame(data: Mapping[str, Any], name: str = "", nth: int | None = None) -> bytes:
    """Returns a server-sent event: its number and its name, where it has one, and its data."""
    # ASCII only: a part of a text may end within a surrogate pair, which no UTF-8 can hold.
    return framed(_encode(data), name, "" if nth is None else str(nth))


def framed(line: str, name: str = "", identifier: str = "") -> bytes:
    """Returns a server-sent event whose data is one line."""
    head = f"id: {identifier}\n" * bool(identifier) + f"event: {name}\n" * bool(name)
    return f"{head}data: {line}\n\n".encode()


async def cut(scope: Scope, receive: Receive) -> None:
    """Closes the connection at once, whatever is still to be sent, and waits for its end."""
    scope["state"]["connection"].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


class OpenStreams:
    """The streams of a service that are open. Everything is called in the event loop."""

    def __init__(self, stopping: threading.Event, heartbeat_s: float) -> None:
        self._stopping, self._heartbeat_s = stopping, heartbeat_s
        self._open: set[EventStream] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, stream: "EventStream") -> None:
        """Looks after a stream until it is removed."""
        self._open.add(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, stream: "EventStream") -> None:
        """Leaves it alone."""
        self._open.discard(stream)

    async def _run(self) -> None:
        stopped_at = None
        while self._open:
            await asyncio.sleep(POLL_S)
            now = time.monotonic()
            if stopped_at is None and self._stopping.is_set():
                stopped_at = now
            for stream in list(self._open):
                late = stream.sending_since is not None and now > stream.sending_since + SEND_TIMEOUT_S
                if late or (stopped_at is not None and now > stopped_at + STOP_S):
                    get_logger().warning("events_reader_cut", stopping=self._stopping.is_set())
                    self.remove(stream)
                    stream.cut()
                elif now > stream.sent_at + self._heartbeat_s:
                    stream.beat()


class EventStream(StreamingResponse):
    """Events of one client, until it leaves, is too slow, or the service stops."""

    def __init__(
        self,
        events: AsyncIterator[bytes],
        leave: Callable[[], None],
        streams: OpenStreams,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`leave` is called at the end."""
        super().__init__(events, headers={**HEADERS, **(headers or {})})
        self._leave, self._streams = leave, streams
        self.sent_at = time.monotonic()
        self.sending_since: float | None = None
        self._heartbeat: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the stream is over."""
        self._send, self.cut = send, scope["state"]["connection"].abort
        self._streams.add(self)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.remove(self)
            self._leave()

    async def stream_response(self, send: Send) -> None:
        """Sends all events, and the end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._send_part(b"retry: %d\n\n" % RETRY_MS)
        async for part in self.body_iterator:
            await self._send_part(part)
        self._streams.remove(self)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def beat(self) -> None:
        """Sends a comment, unless something is being sent."""
        if self.sending_since is None:
            self._heartbeat = asyncio.create_task(self._send_part(HEARTBEAT))

    async def _send_part(self, part: Any) -> None:
        self.sending_since = self.sent_at = time.monotonic()
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        self.sending_since = None

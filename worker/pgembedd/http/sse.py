"""A response that goes on: a reader's events, heartbeats, and an end that waits for nobody."""

import asyncio
import threading
import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pgembedd.http.event_hub import EventHub, Reader
from pgembedd.log import get_logger

RETRY_MS = 3000
LOOK_S = 0.25  # at whether the service stops
PATIENCE_S = 5.0  # with a client that does not read

HEARTBEAT = b": heartbeat\n\n"
LISTENING = b": listening\n\n"
TOO_SLOW = b'event: too_slow\ndata: {"event": "too_slow", "pipeline": null, "pipeline_id": null}\n\n'


class EventStream(Response):
    """Server-sent events of one reader, until it goes, is too slow, or the service stops."""

    media_type = "text/event-stream"

    def __init__(
        self,
        audience: EventHub,
        reader: Reader,
        stopping: threading.Event,
        heartbeat_s: float,
        abort: Callable[[], None] | None,
    ) -> None:
        """`abort` cuts the connection of a client that does not read; without it only its end is waited for."""
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._audience, self._reader, self._stopping = audience, reader, stopping
        self._heartbeat_s, self._abort = heartbeat_s, abort
        self._sent_at = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until it is over."""
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._body(send, gone)
        finally:
            gone.cancel()
            self._audience.leave(self._reader)

    async def _body(self, send: Send, gone: "asyncio.Future[None]") -> None:
        text, told = b"retry: %d\n\n" % RETRY_MS, False
        while not gone.done():
            over = self._stopping.is_set() or self._reader.dropped or self._reader.over
            if self._reader.listening and not told:
                text, told = text + LISTENING, True
            text += self._reader.take()
            if over and self._reader.dropped:
                text += TOO_SLOW
            if (text or over) and not await self._send(send, text, more=not over):
                return
            if over:
                return
            text = await self._pause(gone)

    async def _pause(self, gone: "asyncio.Future[None]") -> bytes:
        """Wait for news, or for the time to look up; a heartbeat when one is due."""
        news = asyncio.ensure_future(self._news())
        await asyncio.wait({news, gone}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        due = time.monotonic() - self._sent_at >= self._heartbeat_s
        return HEARTBEAT if due and not self._reader.news.is_set() else b""

    async def _news(self) -> None:
        await self._reader.news.wait()

    async def _send(self, send: Send, text: bytes, *, more: bool) -> bool:
        """False, and an end to the connection, for a client that has not read for a while, or as the service stops."""
        sending = asyncio.ensure_future(send({"type": "http.response.body", "body": text, "more_body": more}))
        give_up_at = time.monotonic() + PATIENCE_S
        while not sending.done():
            await asyncio.wait({sending}, timeout=LOOK_S)
            if not sending.done() and (self._stopping.is_set() or time.monotonic() >= give_up_at):
                self._cut()
                sending.cancel()
                await asyncio.wait({sending})
                return False
        sending.result()
        self._sent_at = time.monotonic()
        return True

    def _cut(self) -> None:
        get_logger().warning("events_reader_cut", stopping=self._stopping.is_set())
        if self._abort is not None:
            self._abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

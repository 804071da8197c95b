"""A load of HTTP requests: so many connections, each sending its next request when it has the answer to its last.

Written on asyncio's protocols, since the client shares the machine with what it measures: a request costs it some
30 microseconds, a twentieth of what httpx takes.
"""

import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvloop

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Load:
    """What a load met: requests a second, and seconds that each took."""

    per_s: float
    seconds: list[float]

    def percentile(self, number: int) -> float:
        """Seconds within which that many of a hundred were answered."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[number - 1]


def post(path: str, body: Any) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return f"{head}\r\n\r\n".encode() + content


def send(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """All requests over so many connections. RuntimeError for an answer that is not 200."""
    return uvloop.run(_send(port, requests, connections))


def answer(port: int, request: bytes) -> Any:
    """What one request is answered, as JSON."""
    found: list[bytes] = []
    uvloop.run(_send(port, [request], 1, found))
    return json.loads(found[0])


async def _send(port: int, requests: Sequence[bytes], connections: int, keep: list[bytes] | None = None) -> Load:
    loop = asyncio.get_running_loop()
    todo, seconds = deque(requests), list[float]()
    clients = [_Client(todo, seconds, keep) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    started = time.perf_counter()
    for client in clients:
        client.next()
    async with asyncio.timeout(PATIENCE_S):
        ends = await asyncio.gather(*(client.finished for client in clients), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return Load(len(requests) / (time.perf_counter() - started), seconds)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, todo: deque[bytes], seconds: list[float], keep: list[bytes] | None) -> None:
        self._todo, self._seconds, self._keep = todo, seconds, keep
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._got, self._began = b"", 0.0
        self._error: RuntimeError | None = RuntimeError("The server closed the connection.")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def next(self) -> None:
        """Send one more, or be done."""
        if not self._todo:
            self._error = None
            self._transport.close()
            return
        self._got, self._began = b"", time.perf_counter()
        self._transport.write(self._todo.popleft())

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        if b" 200 " not in head[:16]:
            self._error = RuntimeError(self._got[:500].decode(errors="replace"))
            self._todo.clear()  # the others need not go on
            self._transport.close()
            return
        self._seconds.append(time.perf_counter() - self._began)
        if self._keep is not None:
            self._keep.append(body)
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._error or error:
            self.finished.set_exception(cast(Exception, error or self._error))
        else:
            self.finished.set_result(None)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError("An answer without content-length.")

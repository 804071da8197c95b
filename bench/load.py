"""A load of HTTP requests: so many connections, each sending its next request when it has the answer to its last.

Written on asyncio's streams, since the client shares the machine with what it measures: a request costs it a small
part of what it costs an HTTP library.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Load:
    """What a load met: requests a second, and seconds that each took."""

    per_s: float
    seconds: list[float]


def post(path: str, body: Any) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def send(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """All requests over so many connections. RuntimeError for an answer that is not 200."""
    return uvloop.run(_send(port, requests, connections))


async def _send(port: int, requests: Sequence[bytes], connections: int) -> Load:
    todo, seconds = deque(requests), list[float]()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while todo:
                began = time.perf_counter()
                writer.write(todo.popleft())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
                if b" 200 " not in head[:16]:
                    raise RuntimeError((head + body)[:500].decode(errors="replace"))
                seconds.append(time.perf_counter() - began)
        finally:
            writer.close()

    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    started = time.perf_counter()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(client(*stream) for stream in streams))
    return Load(len(requests) / (time.perf_counter() - started), seconds)

"""A client that says what no HTTP library would, and as slowly as it likes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson


@contextmanager
def connected(client: httpx.Client, *, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    """A connection to where `client` speaks; `receive_bytes` is how little it takes in before it reads."""
    with socket.socket() as connection:
        connection.settimeout(60)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect((client.base_url.host, client.base_url.port or 0))
        yield connection


def whole_answer(connection: socket.socket) -> bytes:
    """One answer with all of its body, which may come in several parts."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0 or len(received) < end + 4 + _declared_bytes(received[:end]):
        part = connection.recv(65_536)
        assert part, received
        received += part
    return received


def _declared_bytes(head: bytes) -> int:
    (length,) = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(length)


def rest(connection: socket.socket) -> bytes:
    """Everything until the other side ends it."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and code of a last answer that is a refusal, its sentence whole."""
    head, _, body = answer.partition(b"\r\n\r\n")
    said = orjson.loads(body)
    for header in (b"connection: close", b"cache-control: no-store", b"x-content-type-options: nosniff"):
        assert b"\r\n" + header in head
    assert said.keys() == {"error", "message"}
    assert said["message"].endswith((".", "again."))
    return int(head[9:12]), said["error"]


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A POST of JSON; `length` is what it says of its body, if that is another."""
    length = len(body) if length is None else length
    kind = "Content-Type: application/json"
    return (
        "\r\n".join(
            [f"POST {path} HTTP/1.1", "Host: localhost", kind, f"Content-Length: {length}", *headers, "", ""]
        ).encode()
        + body
    )


def open_files() -> int:
    """Counts the open files and sockets of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())

"""A server on the loopback that answers as a test tells it to, and notices clients that leave."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True)
class Received:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Cut:
    """The connection breaks here."""


class Hang:
    """Nothing more comes until the client leaves, or the test ends."""


@dataclass(frozen=True)
class Answer:
    """A status, headers, and the parts of a body: bytes, or what happens instead."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    parts: Sequence[bytes | Cut | Hang | Callable[[], object]] = ()


def json_answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """An answer of one JSON value; `retry_after` is the header Retry-After."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, [json.dumps(value).encode()])


class StandIn:
    """A server; `answer` makes the answer to each request, and may be replaced."""

    def __init__(self, answer: Callable[[Received], Answer]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.hanging, self.left = threading.Event(), threading.Event()
        """An answer hangs; its client left."""
        self.url = ""
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        """Listens while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def hang(self, connection: socket.socket) -> None:
        """Waits until the other side closes the connection."""
        self.hanging.set()
        while not self._ended.is_set():
            if select.select([connection], [], [], 0.01)[0] and not connection.recv(1024):
                self.left.set()
                return


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._serve(json.loads(body) if "json" in self.headers["content-type"] else body)

        def _serve(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.command, self.path, headers, body)
            stand_in.received.append(received)
            self.close_connection = True
            try:
                self._send(stand_in.answer(received))
            except OSError:
                stand_in.left.set()

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            # A client that is not told would send its next request on a connection that is about to end.
            headers = {"transfer-encoding": "chunked", "connection": "close", **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for part in answer.parts:
                if isinstance(part, bytes):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                elif isinstance(part, Cut):
                    return
                elif isinstance(part, Hang):
                    stand_in.hang(self.connection)
                    return
                else:
                    part()
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """Requests are kept in a list instead."""

    return Handler


def leave_while_it_hangs(stand_in: StandIn, service: httpx.Client, method: str, path: str, body: Any = None) -> None:
    """Sends a request to the service, and closes the connection once the stand-in has it and is silent."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = {**service.headers, "host": "127.0.0.1", "content-type": "application/json"}
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head += [f"content-length: {len(content)}", "", ""]
    with socket.create_connection(("127.0.0.1", service.base_url.port or 0)) as connection:
        connection.sendall("\r\n".join(head).encode() + content)
        assert stand_in.hanging.wait(PATIENCE_S)
    assert stand_in.left.wait(PATIENCE_S)

"""The load generator of bench.http, against a server on a real port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.load import post, send


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, in two writes; 500 at /broken."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:3])
        self.wfile.flush()
        self.wfile.write(body[3:])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as opened:
        opened.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=opened.serve_forever, args=(0.01,))
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("connections", [1, 7])
def test_every_request_is_sent_once_and_timed(server: ThreadingHTTPServer, connections: int) -> None:
    load = send(server.server_port, [post("/", number) for number in range(50)], connections)
    assert sorted(server.seen) == list(range(50))  # type: ignore[attr-defined]
    assert len(load.seconds) == 50
    assert load.per_s > 0


def test_an_answer_is_read_whole(server: ThreadingHTTPServer) -> None:
    sent = [{"input": str(number) * 100_000} for number in (1, 2)]
    send(server.server_port, [post("/", each) for each in sent], 1)
    assert server.seen == sent  # type: ignore[attr-defined]


def test_an_error_ends_the_measurement(server: ThreadingHTTPServer) -> None:
    with pytest.raises(RuntimeError, match="500"):
        send(server.server_port, [post("/broken", 1)] * 3, 2)

"""A stand-in for the Hugging Face Hub on the loopback, for its real client to talk to.

It answers the two requests that fetching a small file takes. It is no coverage of the Hub itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pgembedd.model.files.cache import sha256_of


@dataclass
class HubStandIn:
    """`url` for HF_ENDPOINT; `requests` lists what was asked for, as `METHOD path`."""

    url: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def hub_stand_in(folder: Path, revision: str) -> Iterator[HubStandIn]:
    """Serve the files of a folder as `/{owner}/{name}/resolve/{revision}/{file}`, whatever the repository."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            requests.append(f"{self.command} {self.path}")
            path = folder / self.path.rpartition("/")[2]
            if f"/resolve/{revision}/" not in self.path or not path.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", revision)
            self.send_header("ETag", f'"{sha256_of(path)}"')
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if with_body:
                self.wfile.write(path.read_bytes())

        def log_message(self, format: str, *args: object) -> None:
            """Requests are kept in a list instead."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield HubStandIn(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

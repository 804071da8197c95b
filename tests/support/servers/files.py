"""A web server of files, with faults: the standard library's, over TLS with an authority of its own.

Without TLS it stands in for S3, which cannot be had here: of its protocol it has what reading an object needs, and
believes every signature.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Fault = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FileServer:
    """`files` by path, each with its ETag, or what a fault makes of a request; the paths and headers `received`."""

    port: int = 0
    files: dict[str, bytes | int | str | Fault] = field(default_factory=dict)
    received: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of its root, with a slash at the end."""
        return f"https://localhost:{self.port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """A status, a redirect to a place, a file, or a fault."""
        self.received.append((request.path, {name.lower(): text for name, text in request.headers.items()}))
        match self.files.get(request.path, 404):
            case int() as status:
                respond(request, status)
            case str() as place:
                respond(request, 302, {"location": place})
            case bytes() as file:
                etag = f'"{sha256(file).hexdigest()[:8]}"'
                if request.headers.get("If-None-Match") == etag:
                    respond(request, 304, {"etag": etag})
                else:
                    respond(request, 200, {"etag": etag, "last-modified": formatdate(0, usegmt=True)}, file)
            case fault:
                fault(request)


def respond(
    request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> None:
    """Sends an answer; its Content-Length is right unless `headers` say another."""
    request.send_response(status)
    for name, text in ({} if status == 304 else {"content-length": str(len(body))} | dict(headers or {})).items():
        request.send_header(name, text)
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True


class Accepted(ssl.SSLSocket):
    """Closes itself where the client has hung up, as wrap_socket() would leave it open then."""

    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionAbortedError from error


@contextmanager
def file_server(certificates: tuple[Path, Path] | None) -> Iterator[FileServer]:
    """A server on a port of its own, with this key and certificate, or without TLS."""
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    context = None
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates[1], certificates[0])
        context.sslsocket_class = Accepted

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            request, address = super().get_request()
            if context is not None:
                request = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            return request, address

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that hang up are what is tested."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a key, and of its certificate for localhost and 127.0.0.1, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "key.pem", folder / "certificate.pem"
    files[0].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files

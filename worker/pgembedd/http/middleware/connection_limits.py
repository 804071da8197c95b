"""Bounds on connections that uvicorn has no setting for: time and size of a request's head, and how many are open.

uvicorn's own protocol does the rest and is not changed: a connection passes the events of asyncio on to it, and learns
from an ASGI middleware when a request is in progress.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pgembedd.http.errors.refusals import Refusal, refusal_response
from pgembedd.http.middleware.body_limit import HEAD_BYTES

HEAD_TIMEOUT_S = 10.0
HEAD_BUFFER_BYTES = 131_072  # of a head that is not complete; what a complete one may have is in body_limit.py
_TIMED_OUT = refusal_response(
    "", Refusal(408, f"The request's line and headers did not arrive within {HEAD_TIMEOUT_S:g} s.")
)
_TOO_LARGE = refusal_response("", Refusal(431, f"The request's line and headers have more than {HEAD_BYTES} bytes."))


class ConnectionLimits:
    """The open connections of a service. When there are too many, the one that has been idle for longest is closed."""

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self.open: set[HttpConnection] = set()
        self.busy = 0  # those with a request in progress

    def protocol(self, **arguments: Any) -> asyncio.Protocol:
        """Returns the protocol of a new connection, for uvicorn."""
        return HttpConnection(self, **arguments)

    def add(self, connection: "HttpConnection") -> None:
        """Adds a connection. If there are too many, closes another; those that are closing do not count."""
        self.open.add(connection)
        if len(self.open) <= self.max_connections:
            return
        connections = [one for one in self.open if not one.transport.is_closing()]
        idle = [one for one in connections if not one.requests and one is not connection]
        if len(connections) > self.max_connections and idle:
            min(idle, key=lambda one: one.idle_since).abort()


class HttpConnection(asyncio.Protocol):
    """One connection: uvicorn's protocol behind a deadline for the head of each request."""

    transport: asyncio.Transport

    def __init__(self, limits: ConnectionLimits, *, app_state: dict[str, Any], **arguments: Any) -> None:
        self.limits, self._loop = limits, asyncio.get_running_loop()
        self._state = {**app_state, "connection": self}
        self._uvicorn = HttpToolsProtocol(app_state=self._state, **arguments)
        self._deadline: asyncio.TimerHandle | None = None
        self._received, self._unread_body = 0, 0  # bytes; of a body that its request did not wait for
        self.requests = 0  # in progress
        self.idle_since = self._loop.time()

    def request_began(self, body_bytes: int) -> None:
        """Ends the deadline: the head has arrived, and it declares a body of so many bytes."""
        self.limits.busy += not self.requests
        self.requests += 1
        self._received, self._unread_body = 0, body_bytes
        self._cancel_deadline()

    def request_ended(self) -> None:
        """The response is complete."""
        self.requests -= 1
        self.limits.busy -= not self.requests
        self.idle_since = self._loop.time()

    def abort(self) -> None:
        """Closes the connection at once, whatever is still to be sent."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the first deadline."""
        self.transport = cast("asyncio.Transport", transport)
        self._start_deadline()
        self._uvicorn.connection_made(self.transport)
        self.limits.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Cancels the deadline."""
        self.limits.open.discard(self)
        self._cancel_deadline()
        # Without its exception: uvicorn would keep a connection that was reset until its keep-alive timer runs out.
        self._uvicorn.connection_lost(None)
        self._state.clear()  # which refers to this connection: it is freed now, with all that it received

    def data_received(self, data: bytes) -> None:
        """Starts a deadline with the first bytes of a head, and ends a head that is too large."""
        self._uvicorn.data_received(data)
        if not self.requests:
            self._received += len(data)
            self._start_deadline()
            if self._received > HEAD_BUFFER_BYTES + self._unread_body:
                self._loop.call_soon(self._refuse_unless_begun)  # its request begins before that

    def eof_received(self) -> None:
        """Passes the event on."""
        self._uvicorn.eof_received()

    def pause_writing(self) -> None:
        """Passes the event on."""
        self._uvicorn.pause_writing()

    def resume_writing(self) -> None:
        """Passes the event on."""
        self._uvicorn.resume_writing()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(HEAD_TIMEOUT_S, self._time_out)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if self._received:
            self._refuse(_TIMED_OUT)
        else:
            self.abort()

    def _refuse_unless_begun(self) -> None:
        if self._received > HEAD_BUFFER_BYTES + self._unread_body:
            self._refuse(_TOO_LARGE)

    def _refuse(self, response: Response) -> None:
        if not self.transport.is_closing():
            status = HTTPStatus(response.status_code)
            headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
            self.transport.write(line + headers + b"connection: close\r\n\r\n" + bytes(response.body))
            self.transport.close()


class RequestsInProgress:
    """ASGI middleware: reports to the connection that a request is in progress; 503 when too many are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request."""
        connection = scope.get("state", {}).get("connection")
        if scope["type"] != "http" or connection is None:
            await self._app(scope, receive, send)
            return
        connection.request_began(_declared_bytes(scope))
        try:
            if connection.limits.busy > connection.limits.max_connections:
                await _full(scope["path"])(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            connection.request_ended()
            del scope["state"]["connection"]  # a request that its own connection refers to would be freed late


def _declared_bytes(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) <= 18 else 0


def _full(path: str) -> Response:
    sentence = "All connections are at work (PGEMBEDD_HTTP_MAX_CONNECTIONS); try again."
    response = refusal_response(path, Refusal(503, sentence, "too_many_connections", retry_after_s=1))
    response.headers["connection"] = "close"
    return response

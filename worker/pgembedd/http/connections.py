"""Who keeps a connection, and for how long: uvicorn alone would wait for ever, and take heads of any length."""

import asyncio
from typing import Any

import orjson

from pgembedd.http.protocol import CuttingProtocol
from pgembedd.settings import HttpSettings

HEAD_S = 10.0  # a request's line and headers must come within this
MARGIN_S = 5.0  # the service's own answer to a slow body comes first
HEAD_BYTES = 65_536
FRAMING = 16  # bytes that a byte of a body may cost in a chunked one
TAKE_S = 30.0
READ_BYTES = 65_536  # a client that takes an answer takes so much of it in that time

BAD = (400, "bad_request", "This is not HTTP/1.1.")
NO_HOST = (400, "bad_request", "A request needs one header Host, not none and not several.")
TOO_MUCH = (431, "headers_too_large", f"The request's line and headers have more than {HEAD_BYTES} bytes.")
TOO_SLOW = (408, "too_slow", f"The request's line and headers did not arrive within {HEAD_S:g} seconds.")
FULL = (503, "too_many_connections", "All connections are at work (PGEMBEDD_HTTP_MAX_CONNECTIONS); try again.")
PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class PatientProtocol(CuttingProtocol):
    """One connection, with an end to every wait for its client.

    When there are too many connections, the one that has been idle for longest makes room: so connections that
    somebody opens and leaves keep nobody out.
    """

    most = 512
    head_s, take_s = HEAD_S, TAKE_S
    timeout_s = 60.0

    @classmethod
    def of(cls, http: HttpSettings, files: int) -> type["PatientProtocol"]:
        """The class of the connections of a service; half of the process's `files` are left to the rest of it."""
        most = max(1, min(http.http_max_connections, files // 2))
        return type("Protocol", (cls,), {"most": most, "timeout_s": http.http_timeout_s})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None  # for the client to send
        self._unread: asyncio.TimerHandle | None = None  # for it to read
        self._receiving = False  # a body
        self._came, self._came_body = 0, 0  # bytes of this request
        self._refusal = BAD
        self.idle_since = self.loop.time()

    @property
    def idle(self) -> bool:
        """Whether no request is under way, though one may have begun to arrive."""
        return self.cycle is None or self.cycle.response_complete

    # -- Connections -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One more."""
        super().connection_made(transport)
        self._arm(self.head_s)
        if len(self.connections) > self.most and not self._make_room():
            self._refuse(FULL)

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest; False where all are at work.

        What ends already has left: of connections that come together each makes room for itself.
        """
        here = [
            other
            for other in self.connections
            if isinstance(other, PatientProtocol) and not other.transport.is_closing()
        ]
        others = [other for other in here if other is not self and other.idle]
        if len(here) > self.most and others:
            min(others, key=lambda other: other.idle_since).transport.abort()
        return len(here) <= self.most or bool(others)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, and its timers with it."""
        self._disarm()
        self._unset_unread()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    # -- What comes --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        if self.transport.is_closing():
            return
        self._came += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._came - self._came_body > HEAD_BYTES + FRAMING * self._came_body:
            self._refuse(TOO_MUCH)
        elif self._timer is None and self.idle:
            self._arm(self.head_s)

    def on_headers_complete(self) -> None:
        """The head is there. What raises here is answered with send_400_response."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._refusal = TOO_MUCH
            raise ValueError
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            self._refusal = NO_HOST
            raise ValueError
        super().on_headers_complete()
        self._receiving = True
        self._arm(self.timeout_s + MARGIN_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what comes behind a body is none."""
        if not self._receiving:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Some of a body."""
        self._came_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request."""
        super().on_message_complete()
        self._receiving, self._came, self._came_body = False, 0, 0
        self._disarm()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  that is uvicorn's
        """What came cannot be read."""
        if self.idle or self._receiving:
            self._refuse(self._refusal)
        else:  # the rest comes behind a request that is under way: that one is answered, and nothing more is read
            self.cycle.keep_alive = False
            self.flow.pause_reading()

    def _unsupported_upgrade_warning(self) -> None:
        """Nobody is told: who asks for another protocol is answered in this one."""

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._impatient)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _impatient(self) -> None:
        """The client has not sent what it began."""
        self._timer = None
        if self._receiving or self._came == 0:
            self.transport.abort()
        else:
            self._refuse(TOO_SLOW)

    def _refuse(self, refusal: tuple[int, str, str]) -> None:
        """A last answer, unless another one has begun."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        status, code, sentence = refusal
        body = orjson.dumps({"error": code, "message": sentence})
        head = [
            f"HTTP/1.1 {status} {PHRASES[status]}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(["retry-after: 1"] if status == 503 else []),
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self._close()

    # -- What goes ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Answered; what the client has not read is still to be sent."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        self._close()

    def _close(self) -> None:
        """Send the rest, to a client that reads it."""
        self.transport.close()
        if self.transport.get_write_buffer_size() and self._unread is None:
            self._watch_reader()

    def pause_writing(self) -> None:
        """The client reads more slowly than we send."""
        super().pause_writing()
        if self._unread is None:
            self._watch_reader()

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unset_unread()

    def _watch_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.take_s, self._has_read, left)

    def _has_read(self, before: int) -> None:
        self._unread = None
        left = self.transport.get_write_buffer_size()
        if left and before - left < READ_BYTES:
            self.transport.abort()
        elif left:
            self._watch_reader()

    def _unset_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

"""What a body may be, decided before a route sees it: how large, how slow, and of what type."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgembedd.http.auth import FREE, Authenticator
from pgembedd.http.errors import Refusal, rendered
from pgembedd.http.middleware.request_metrics import GONE

STRANGERS_BYTES = 16_000  # the page's login
FORMS = ("/login", "/logout", "/retry", "/search")  # the page's, whose bodies are a browser's


class Limits:
    """ASGI middleware: 413, 415 and 408, before anything is parsed.

    What a stranger sends is not even read, so that nobody without a token can fill the memory.
    """

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, max_body_kb: int, timeout_s: float) -> None:
        """A body may have `max_body_kb` KB and take `timeout_s` seconds to arrive."""
        self._app, self._guard, self._max_bytes, self._timeout_s = app, authenticator, max_body_kb * 1000, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(Request(scope), receive)
        except Refusal as refusal:
            response = rendered(scope["path"], refusal)
            response.headers["connection"] = "close"  # the rest of the body is not read
            await response(scope, receive, send)
            return
        await self._app(scope, replayed(body, receive), send)

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """The whole body, so that no route runs before it is known to be one."""
        headers, path = request.headers, request.scope["path"]
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            return b""
        most = min(self._max_bytes, STRANGERS_BYTES) if path in FREE else self._max_bytes
        if path not in FREE and not self._guard.knows(request):
            return b""  # the route refuses them
        if length is not None and (len(length) > 18 or int(length) > most):
            raise _too_large(most)
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await _read(receive, most)
        except TimeoutError:
            raise Refusal(408, f"The body did not arrive within {self._timeout_s:g} seconds.") from None
        if body and headers.get("content-encoding", "identity").strip().casefold() != "identity":
            raise Refusal(415, "Send the body as it is: no Content-Encoding is understood here.")
        if body and path not in FORMS:
            _require_json(headers.get("content-type", ""))
        return body


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":  # half a body may well be JSON, but is not what was meant
            raise Refusal(GONE, "The client left before its body was there.", "client_left")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"The body is larger than {most // 1000} KB (PGEMBEDD_HTTP_MAX_BODY_KB): send fewer texts.")


def _require_json(content_type: str) -> None:
    kind = content_type.split(";")[0].strip().casefold()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refusal(415, "Send the body as JSON, with the header `Content-Type: application/json`.")


def replayed(body: bytes, receive: Receive) -> Receive:
    """What the application reads: the body at once, then what the client does next."""
    given = False

    async def reading() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return reading

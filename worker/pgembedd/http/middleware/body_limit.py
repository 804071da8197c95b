"""Limits the size of a head, and the size, the time and the type of a body, before a route sees them."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgembedd.http.auth.authenticator import PUBLIC_PATHS, Authenticator, is_page
from pgembedd.http.errors.refusals import CLIENT_CLOSED_REQUEST, Refusal, refusal_response
from pgembedd.settings.limits import ADDRESS

HEAD_BYTES = ADDRESS


class BodyLimit:
    """ASGI middleware: 400, 408, 413, 415 and 431, before anything is parsed.

    Without a valid token a body is not even read, so it cannot fill the memory.
    """

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, max_body_kb: int, timeout_s: float) -> None:
        """A body may have `max_body_kb` KB and take `timeout_s` seconds to arrive."""
        self._app, self._authenticator = app, authenticator
        self._max_bytes, self._timeout_s = max_body_kb * 1000, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = list(scope["headers"])  # uvicorn appends the trailers of a body to its own list
        try:
            body = await self._body(Request(scope), receive)
        except Refusal as refusal:
            response = refusal_response(scope["path"], refusal)
            response.headers["connection"] = "close"  # the rest of the body is not read
            await response(scope, receive, send)
            return
        await self._app(scope, replay_body(body, receive), send)

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """Returns the whole body: no route runs before all of it has arrived."""
        _check_head(request)
        headers, path = request.headers, request.scope["path"]
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            return b""
        if path in PUBLIC_PATHS or not self._authenticator.may_send_body(request):
            return b""  # the route takes none, or refuses the request
        if length is not None and (len(length) > 18 or int(length) > self._max_bytes):
            raise _too_large(self._max_bytes)
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await _read(receive, self._max_bytes)
        except TimeoutError:
            raise Refusal(408, f"The body did not arrive within {self._timeout_s:g} s.") from None
        if body and headers.get("content-encoding", "identity").strip().casefold() != "identity":
            raise Refusal(415, "Send the body as it is: no Content-Encoding is understood here.")
        if body and not is_page(request):
            _require_json(headers.get("content-type", ""))
        return body


def _check_head(request: Request) -> None:
    scope, headers = request.scope, request.scope["headers"]
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)
    if size > HEAD_BYTES:
        raise Refusal(431, f"The request's line and headers have more than {HEAD_BYTES} bytes.")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and scope["http_version"] != "1.0"):
        raise Refusal(400, "A request needs one header Host, not none and not several.")
    if sum(name == b"authorization" for name, _ in headers) > 1:
        raise Refusal(400, "A request has one header Authorization at most.")


async def _read(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":  # half a body may be valid JSON
            raise Refusal(CLIENT_CLOSED_REQUEST, "The client left before its body was there.", "client_left")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(
        413, f"The body is larger than {max_bytes // 1000} KB (PGEMBEDD_HTTP_MAX_BODY_KB): send fewer texts."
    )


def _require_json(content_type: str) -> None:
    kind = content_type.split(";")[0].strip().casefold()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refusal(415, "Send the body as JSON, with the header `Content-Type: application/json`.")


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that gives the body in one message, then the client's further messages."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay

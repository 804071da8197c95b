"""Tells the observer of every request, whatever becomes of it."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgembedd.telemetry.observer import Observer

GONE = 499  # the client went before it had an answer


class RequestMetrics:
    """ASGI middleware, before all others."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app, self._observer = app, observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, and tell of it when it is answered to its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, answered_at = GONE, None

        async def noting(message: Message) -> None:
            nonlocal status, answered_at
            if message["type"] == "http.response.start":
                status = message["status"]
                # A stream is open as long as its client likes: it is answered once it has begun.
                answered_at = time.monotonic() if _streams(message) else None
            await send(message)

        began = time.monotonic()
        self._observer.request_began()
        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        finally:
            self._observer.request_ended(
                scope["method"], _route(scope), status, (answered_at or time.monotonic()) - began, _traceparent(scope)
            )


def _streams(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"])


def _route(scope: Scope) -> str:
    """As the program has it, never with what a client put into it."""
    return getattr(scope.get("route"), "path", "unknown")


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value.decode("latin-1"))
    return None

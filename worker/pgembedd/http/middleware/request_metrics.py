"""Reports every request to the observer, with its status and duration."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgembedd.http.errors.refusals import CLIENT_CLOSED_REQUEST, route_of
from pgembedd.telemetry.observer import Observer


class RequestMetrics:
    """ASGI middleware, outside all others."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app, self._observer = app, observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request and reports it when its response is complete."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, answered_at = CLIENT_CLOSED_REQUEST, None

        async def record_status(message: Message) -> None:
            nonlocal status, answered_at
            if message["type"] == "http.response.start":
                status = message["status"]
                # A stream stays open as long as its client likes; its duration is the time until it starts.
                answered_at = time.monotonic() if _streams(message) else None
            await send(message)

        began = time.monotonic()
        self._observer.request_began()
        try:
            await self._app(scope, receive, record_status)
        except Exception:
            status = 500
            raise
        finally:
            self._observer.request_ended(
                scope["method"],
                route_of(scope),
                status,
                (answered_at or time.monotonic()) - began,
                Headers(scope=scope).get("traceparent"),
            )


def _streams(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")

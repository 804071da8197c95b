"""Answers a request that a defect of the service failed."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgembedd.http.errors.handlers import defect_response


class Defects:
    """ASGI middleware: answers a request whose error no handler took.

    To be added inside the one for CORS: the framework's own handler is outside of it, and a browser shows a page no
    response without these headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await defect_response(scope, error)(scope, receive, send)

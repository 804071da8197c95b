"""Two Edge Functions of Supabase's guides have one name: what a request to it holds says which of them is meant."""

from starlette.types import ASGIApp, Receive, Scope, Send

from pgembedd.http.middleware.body_limit import replayed

PATH = "/functions/v1/embed"


class SupabaseDispatch:
    """ASGI middleware: an object sent to the function's path is a question for /embed, an array are jobs."""

    def __init__(self, app: ASGIApp) -> None:
        """Behind the limits, which hand the body on in one piece."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, at the path that it means."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        if body.lstrip().startswith(b"{"):
            scope = {**scope, "path": "/embed", "raw_path": b"/embed"}
        await self._app(scope, replayed(body, receive), send)

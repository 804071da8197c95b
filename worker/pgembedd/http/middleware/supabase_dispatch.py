"""Two Edge Functions of Supabase's guides have one name; the type of the body tells them apart."""

from starlette.types import ASGIApp, Receive, Scope, Send

from pgembedd.http.middleware.body_limit import replay_body
from pgembedd.http.paths import FUNCTIONS

PATH = f"{FUNCTIONS}/embed"


class SupabaseDispatch:
    """ASGI middleware: routes an object that is sent to the function's path to /embed; an array holds jobs."""

    def __init__(self, app: ASGIApp) -> None:
        """To be added inside BodyLimit, which passes the body in one message."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request, at /embed if its body is an object."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        if body.lstrip().startswith(b"{"):
            scope = {**scope, "path": "/embed", "raw_path": b"/embed"}
        await self._app(scope, replay_body(body, receive), send)

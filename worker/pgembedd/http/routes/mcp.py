"""`POST /mcp`: the tools of `pgembedd mcp` over HTTP, for the tokens that may search."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pgembedd.answers.questions import Question
from pgembedd.http.auth.authenticator import require_scope
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, sentence_of
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.mcp.tools import ANSWER_TIMEOUT_S
from pgembedd.search.engine import SearchEngine
from pgembedd.settings.documentation import page

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from pgembedd.mcp.server import Context

PATH = "/mcp"
_MISSING = f"This service has no tools for assistants: {{}} is missing ({page('how-to/mcp.md')})."


class McpEndpoint:
    """The ASGI application of the path. Each request stands for itself: there are no sessions to keep."""

    def __init__(self, service: ServiceContext) -> None:
        self._service = service
        self._manager: StreamableHTTPSessionManager | None = None
        self._missing = "a role that searches (PGEMBEDD_SEARCH_URL)"
        if service.authenticator.has_search_role:
            try:
                self._manager = _manager(service)
            except ModuleNotFoundError as error:
                self._missing = f"the package {error.name} (pip install 'pgembedd[mcp]')"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Yields while requests are served."""
        if self._manager is None:
            yield
        else:
            async with self._manager.run():
                yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request. Refusal 401, 403, 429 without a token that may search; 501 where something is missing."""
        caller = self._service.authenticator.check(Request(scope, receive), "search")
        if self._manager is None:
            raise Refusal(501, _MISSING.format(self._missing), "no_search_role")
        await self._manager.handle_request({**scope, "caller": caller}, receive, send)

    def router(self) -> APIRouter:
        """Returns the route."""
        return APIRouter(routes=[Route(PATH, self, methods=["POST"])])


def _manager(service: ServiceContext) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from pgembedd.mcp.server import build_server

    def searches_of(context: "Context") -> SearchEngine:
        assert context.request is not None
        return service.searches(context.request.scope["caller"])

    async def answer(context: "Context", asked: Question) -> dict[str, Any]:
        """Refusal 403 without the scope for it, 429, 499, 503; SearchError."""
        assert context.request is not None
        caller = context.request.scope["caller"]
        require_scope(caller, "answers")
        viewer = await service.answers.ask_and_watch(caller, asked)
        try:
            return await while_connected(context.request, viewer.finished(ANSWER_TIMEOUT_S))
        finally:
            viewer.abandon()  # which stops an answer that has not ended

    # Hosts and origins are checked by the service itself.
    server = build_server(searches_of, answer, sentence_of)
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True)

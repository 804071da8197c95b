"""`POST /mcp`: the tools of `pgembedd mcp` over HTTP, for the tokens that may search."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pgembedd.answers.questions import Question, with_vector
from pgembedd.answers.watch import ask_and_wait
from pgembedd.http.auth.authenticator import require_scope
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, sentence_of
from pgembedd.mcp.tools import ANSWER_TIMEOUT_S, AssistantSearches
from pgembedd.settings.documentation import page

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from pgembedd.mcp.server import Context

PATH = "/mcp"
_MISSING = f"This service has no tools for assistants: {{}} is missing ({page('how-to/mcp.md')})."


class CallersSearches(AssistantSearches):
    """The searches and questions of one caller. SearchError, Refusal, ModelMismatchError."""

    def __init__(self, service: ServiceContext, caller: Caller) -> None:
        super().__init__(*service.search_ports(caller))
        self._answers, self._caller = service.answers, caller

    def answer(self, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question. Refusal 403 without the scope for it, 429, 503; SearchError."""
        require_scope(self._caller, "answers")
        with self._answers.place(self._caller):
            return ask_and_wait(self._answers.of(self._caller), with_vector(asked, self), ANSWER_TIMEOUT_S)


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
    async def running(self, _: Any) -> AsyncIterator[None]:
        """The lifespan of the service."""
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

    def of_request(context: "Context") -> CallersSearches:
        assert context.request is not None
        return CallersSearches(service, context.request.scope["caller"])

    # Hosts and origins are checked by the service itself.
    server = build_server(of_request, sentence_of)
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True)

"""The application: all routes, behind the middleware."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from pgembedd.http.auth.origin import parse_origins
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard import routes as dashboard
from pgembedd.http.errors.handlers import add_handlers
from pgembedd.http.errors.openapi import NamedModels
from pgembedd.http.errors.refusals import Problem
from pgembedd.http.middleware.body_limit import BodyLimit
from pgembedd.http.middleware.connection_limits import RequestsInProgress
from pgembedd.http.middleware.defects import Defects
from pgembedd.http.middleware.request_metrics import RequestMetrics
from pgembedd.http.middleware.security_headers import SecurityHeaders
from pgembedd.http.middleware.supabase_dispatch import SupabaseDispatch
from pgembedd.http.routes import (
    answers,
    chat,
    embed,
    events,
    generate,
    health,
    metrics,
    openai,
    openai_models,
    operate,
    rerank,
    search,
    supabase,
    tasks,
    webhooks,
)
from pgembedd.http.routes.mcp import McpEndpoint

THREADS = 100  # for what waits: the database, a model that is loaded


def build_app(service: ServiceContext, worker_health: Callable[[], str] = lambda: "ok") -> FastAPI:
    """Returns the ASGI application of a service; `worker_health` is asked by the probes."""
    assistants = McpEndpoint(service)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        async with assistants.running():
            yield

    app = NamedModels(
        Problem,
        openai.OpenAIErrorAnswer,
        title="pgembedd",
        version=version("pgembedd"),
        description="The embedding daemon for Postgres.",
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=running,
        # FastAPI's own spans and logs have arguments of requests; older versions ignore it.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.include_router(health.router(service, worker_health))
    language = (openai_models, generate, chat, tasks, answers)
    for part in (embed, search, openai, rerank, supabase, webhooks, events, metrics, operate, dashboard, *language):
        app.include_router(part.router(service))
    app.include_router(assistants.router())
    add_handlers(app)
    _add_middleware(app, service)
    return app


def _add_middleware(app: FastAPI, service: ServiceContext) -> None:
    """Adds it from the innermost to the outermost."""
    http = service.http
    app.add_middleware(SupabaseDispatch)
    app.add_middleware(
        BodyLimit, authenticator=service.authenticator, max_body_kb=http.http_max_body_kb, timeout_s=http.http_timeout_s
    )
    app.add_middleware(Defects)
    if origins := parse_origins(http.http_cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            # The others are those of supabase-js: who it is, where a function is to run, which attempt it is.
            allow_headers=["authorization", "content-type", "apikey", "x-client-info", "x-region", "x-retry-count"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestsInProgress)
    app.add_middleware(RequestMetrics, observer=service.observer)

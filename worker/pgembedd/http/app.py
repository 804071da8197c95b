"""The application: every capability's routes, behind the limits."""

import re
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from pgembedd.errors import ConfigurationError
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard import routes
from pgembedd.http.errors import add_handlers
from pgembedd.http.middleware.body_limit import Limits
from pgembedd.http.middleware.request_metrics import RequestMetrics
from pgembedd.http.middleware.security_headers import SecurityHeaders
from pgembedd.http.routes import embed, events, health, metrics, openai, operate, supabase, webhooks
from pgembedd.http.routes.supabase_dispatch import SupabaseDispatch

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")


def build_app(service: ServiceContext) -> FastAPI:
    """The ASGI application of a service."""
    app = FastAPI(
        title="pgembedd",
        version=version("pgembedd"),
        description="The embedding daemon for Postgres.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    for part in (health, embed, openai, supabase, webhooks, events, metrics, operate, routes):
        app.include_router(part.router(service))
    add_handlers(app)
    http = service.http
    app.add_middleware(SupabaseDispatch)
    app.add_middleware(
        Limits, authenticator=service.authenticator, max_body_kb=http.http_max_body_kb, timeout_s=http.http_timeout_s
    )
    if origins := origins_of(http.http_cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestMetrics, observer=service.observer)  # the last one added stands before all others
    return app


def origins_of(listed: str) -> list[str]:
    """Origins as browsers send them. ConfigurationError for what none sends, which would allow nobody."""
    origins = [origin.strip() for origin in listed.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"{origin!r} of PGEMBEDD_HTTP_CORS_ORIGINS is no origin: write https://app.example, without a path."
            )
    return origins

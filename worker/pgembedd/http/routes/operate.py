"""The page's functions for programs: `/api/v1/status` and `/api/v1/retry`."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from pgembedd.http.auth.origin import parse_origins, require_own_origin
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard import queries
from pgembedd.http.errors.refusals import responses
from pgembedd.http.paths import API
from pgembedd.http.routes.bodies import StrictModel
from pgembedd.settings.limits import NAME

Word = Annotated[str, Field(max_length=NAME, pattern=r"^[^\u0000]*$")]


class StatusAnswer(BaseModel):
    """Every pipeline: stopped ones first, then those that no worker can serve, then by name."""

    pipelines: list[queries.PipelineStatus]


class RetryRequest(StrictModel):
    """A choice of dead letters: of one pipeline or of all, of one reason or of any."""

    pipeline: Word | None = None
    reason: Word | None = None


class RetryAnswer(BaseModel):
    """The number of dead letters that were queued again."""

    retried: int


def router(service: ServiceContext) -> APIRouter:
    """GET /api/v1/status and POST /api/v1/retry."""
    routes = APIRouter(prefix=API, tags=["operate"], dependencies=[service.authenticator.require("admin")])

    @routes.get("/status", responses=responses(401, 403, 429, 501, 503))
    def status() -> StatusAnswer:
        """The columns of `pgembedd status`."""
        with queries.connection_for_page(service) as connection:
            return StatusAnswer(pipelines=queries.statuses(connection))

    own_origin = require_own_origin(parse_origins(service.http.http_cors_origins))

    @routes.post(
        "/retry", dependencies=[own_origin], responses=responses(400, 401, 403, 404, 413, 415, 422, 429, 501, 503)
    )
    def retry(asked: RetryRequest) -> RetryAnswer:
        """Put dead letters back into their queue, with attempts counted again."""
        with queries.connection_for_page(service) as connection:
            return RetryAnswer(retried=queries.retry_dead_letters(connection, asked.pipeline, asked.reason))

    return routes

"""`/functions/v1/embed`: jobs that pg_cron and pg_net post, as in Supabase's automatic-embeddings guide."""

import json
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors import Refusal, responses
from pgembedd.http.raw_json import Body, body_schema, parse_finite_float, parse_json, work_pushed_jobs
from pgembedd.http.routes.embed import Embeddings, OneEmbedding
from pgembedd.loop.pushed_jobs import Outcome

MULTI_STATUS = 207


class Answer(BaseModel):
    """Each job as it was posted; those that failed with an `error`, a sentence."""

    completed: list[Any] = Field(alias="completedJobs")
    failed: list[Any] = Field(alias="failedJobs")


def _jobs() -> dict[str, Any]:
    # The items require nothing: one that is no job is a failed job and does not affect the others.
    example = {"jobId": 7, "id": 1, "schema": "public", "table": "documents", "contentFunction": "embedding_input"}
    about = "jobId, id, schema, table, contentFunction, embeddingColumn; of ours also pipeline, queue, readCt."
    return {"type": "array", "items": {"description": about, "examples": [{**example, "embeddingColumn": "embedding"}]}}


def router(service: ServiceContext) -> APIRouter:
    """POST /functions/v1/embed, for a service with a database."""
    routes = APIRouter(tags=["jobs"], dependencies=[service.authenticator.require("jobs")])
    pushes = service.pushes
    if pushes is None:
        return routes

    @routes.post(
        "/functions/v1/embed",
        status_code=MULTI_STATUS,
        response_model=Answer,
        responses={
            200: {"model": OneEmbedding | Embeddings},
            **responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503, 504),
        },
        openapi_extra=body_schema(
            "What `pgembedd.process_embeddings()` posts, or the guide's; or an object, which is answered as by /embed.",
            lambda: {"anyOf": [_jobs(), {"$ref": "#/components/schemas/EmbedRequest"}]},
        ),
    )
    def embed_jobs(body: Body) -> Response:
        """Work the jobs. The answer lists each; a failed one stays in the queue, with its attempt counted."""
        text, jobs = parse_json(body, parse_finite_float)
        if not isinstance(jobs, list):
            raise Refusal(422, "The body is no array: send the jobs as an array.")
        if len(jobs) > service.http.http_max_inputs:
            limit = service.http.http_max_inputs
            raise Refusal(
                413, f"{len(jobs)} jobs are more than {limit} (PGEMBEDD_HTTP_MAX_INPUTS): post fewer at a time."
            )
        outcomes = dict[int, Outcome]()
        if jobs:
            results = work_pushed_jobs(pushes, lambda jobs, lease_s: jobs.claim_pushed(text, lease_s))
            outcomes = {posted.number: outcome for posted, outcome in results if posted.number is not None}
        return _answer(jobs, outcomes)

    return routes


def _answer(jobs: list[Any], outcomes: dict[int, Outcome]) -> Response:
    completed = [job for number, job in enumerate(jobs) if outcomes[number].done]
    failed = [_failed(job, outcomes[number]) for number, job in enumerate(jobs) if not outcomes[number].done]
    headers = {"x-completed-jobs": str(len(completed)), "x-failed-jobs": str(len(failed))}
    body = json.dumps({"completedJobs": completed, "failedJobs": failed}, separators=(",", ":"))
    return Response(body, MULTI_STATUS, headers, "application/json")


def _failed(job: Any, outcome: Outcome) -> dict[str, Any]:
    return {**(job if isinstance(job, dict) else {"job": job}), "error": outcome.sentence}

"""`/functions/v1/embed`: jobs that pg_cron and pg_net post, as in Supabase's automatic-embeddings guide."""

import json
from functools import partial
from itertools import compress
from typing import Any

import psycopg
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from pgembedd.database.pushed_jobs import Posted, PushedJobRepository, release_pushed
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import FUNCTIONS
from pgembedd.http.routes import supabase_guide
from pgembedd.http.routes.bodies import (
    Body,
    body_schema,
    parse_finite_float,
    parse_json,
    split_array,
    translate_errors,
)
from pgembedd.http.routes.embed import Embeddings, OneEmbedding
from pgembedd.loop.pushed_jobs import RELEASE_DELAY_S, PushedJobs
from pgembedd.loop.pushed_request import UNFINISHED, BusyError, Outcome

MULTI_STATUS = 207
PART_SIZE = 16  # jobs claimed at a time: a request with many lets others in between
RETRY_AFTER_S = 10  # as often as pg_cron posts


class JobsAnswer(BaseModel):
    """Each job as it was posted; those that failed with an `error`, a sentence."""

    completed: list[Any] = Field(alias="completedJobs")
    failed: list[Any] = Field(alias="failedJobs")


# The items require nothing: one that is no job is a failed job and does not affect the others.
_EXAMPLE = {"jobId": 7, "queue": "pgembedd_fresh", "readCt": 1, "id": 1, "pipeline": 1}
_ABOUT = "jobId, queue, readCt, id and pipeline, as process_embeddings() posts them; or what the guide's SQL posts."
_JOBS = {"type": "array", "items": {"description": _ABOUT, "examples": [_EXAMPLE]}}


def router(service: ServiceContext) -> APIRouter:
    """POST /functions/v1/embed with jobs."""
    routes = APIRouter(tags=["jobs"], dependencies=[service.authenticator.require("jobs")])

    @routes.post(
        f"{FUNCTIONS}/embed",
        responses={
            200: {"model": JobsAnswer | OneEmbedding | Embeddings},
            MULTI_STATUS: {"model": JobsAnswer, "description": "Some of the jobs failed."},
            **responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504),
        },
        openapi_extra=body_schema(
            "What `pgembedd.process_embeddings()` posts, or the guide's; or an object, which is answered as by /embed.",
            {"anyOf": [_JOBS, {"$ref": "#/components/schemas/EmbedRequest"}]},
        ),
    )
    def embed_jobs(body: Body) -> Response:
        """Work the jobs. The answer lists each; a failed one stays in the queue, with its attempt counted."""
        pushed, database = service.job_parts()
        texts, jobs = _posted(body, service.http.http_max_inputs)
        guides = [_is_guides(job) for job in jobs]
        ours = [item for item, guide in zip(texts, guides, strict=True) if not guide]
        of_ours = iter(_process(pushed, ours, database) if ours else [])
        of_guide = iter(
            supabase_guide.process(service, list(compress(zip(texts, jobs, strict=True), guides)))
            if any(guides)
            else []
        )
        return _answer(jobs, [next(of_guide if guide else of_ours) for guide in guides])

    return routes


def _posted(body: Any, limit: int) -> tuple[list[str], list[Any]]:
    """Returns each job as its text and as its value. Refusal for a body that is no array of at most `limit` jobs."""
    text, jobs = parse_json(body, parse_finite_float)
    if not isinstance(jobs, list):
        raise Refusal(422, "The body is no array: send the jobs as an array.")
    if len(jobs) > limit:
        raise Refusal(413, f"{len(jobs)} jobs are more than {limit} (PGEMBEDD_HTTP_MAX_INPUTS): post fewer at a time.")
    return split_array(text), jobs


def _is_guides(job: Any) -> bool:
    """Tells that a job is the guide's: it names no pipeline."""
    return isinstance(job, dict) and "pipeline" not in job


def _process(pushed: PushedJobs, items: list[str], database: DatabasePool) -> list[Outcome]:
    """Has the jobs processed; what finds no room or no time is released at once. Refusal where none was started."""
    parts = [f"[{','.join(items[start : start + PART_SIZE])}]" for start in range(0, len(items), PART_SIZE)]
    results: list[tuple[Posted, Outcome]] = []
    try:
        with translate_errors():
            results = pushed.process([partial(PushedJobRepository.claim_pushed, jobs=part) for part in parts])
    except BusyError as busy:
        raise Refusal(503, str(busy), "busy", retry_after_s=RETRY_AFTER_S) from None
    finally:
        if len(results) < len(items):
            _release(pushed, f"[{','.join(items)}]", database)
    return [outcome for _, outcome in results] + [UNFINISHED] * (len(items) - len(results))


def _release(pushed: PushedJobs, jobs: str, database: DatabasePool) -> None:
    """Releases what was not claimed, which would else be hidden until the lease of its sender expires.

    At once where the database can be reached, else by the worker, once it is there again.
    """
    try:
        with database.connection() as connection:
            release_pushed(connection, jobs, RELEASE_DELAY_S)
    except (psycopg.Error, Refusal):
        pushed.release_later(jobs)


def _answer(jobs: list[Any], outcomes: list[Outcome]) -> Response:
    settled = list(zip(jobs, outcomes, strict=True))
    completed = [job for job, outcome in settled if outcome.done]
    failed = [_failed(job, outcome) for job, outcome in settled if not outcome.done]
    headers = {"x-completed-jobs": str(len(completed)), "x-failed-jobs": str(len(failed))}
    body = json.dumps({"completedJobs": completed, "failedJobs": failed}, separators=(",", ":"))
    return Response(body, MULTI_STATUS if failed else 200, headers, "application/json")


def _failed(job: Any, outcome: Outcome) -> dict[str, Any]:
    return {**(job if isinstance(job, dict) else {"job": job}), "error": outcome.sentence}

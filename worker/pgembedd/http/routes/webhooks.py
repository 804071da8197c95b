"""`/webhooks/database`: embeds the row that a database webhook reports as changed."""

from typing import Any

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel

from pgembedd.database.pushed_jobs import Posted, queue_changed
from pgembedd.errors import OtherSchemaError
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.routes.bodies import Body, body_schema, parse_json, translate_errors
from pgembedd.loop.pushed_request import BusyError, Outcome


class PipelineOutcome(BaseModel):
    """A pipeline's outcome for one row: written, unchanged, cleared, gone or skipped.

    Or attempt_failed, dead_letter or queued, and why.
    """

    pipeline: str
    outcome: str
    message: str | None = None


class ChangesAnswer(BaseModel):
    """One entry for each pipeline of the table and each row: an UPDATE that changes the key is about two."""

    pipelines: list[PipelineOutcome]


def _of_type(kind: str, *records: str) -> dict[str, Any]:
    row = {"type": "object", "description": "The row; of it the primary key is used."}
    return {
        "type": "object",
        "required": ["type", "schema", "table", *records],
        "properties": {
            "type": {"const": kind},
            "schema": {"type": "string"},
            "table": {"type": "string"},
            **dict.fromkeys(records, row),
        },
    }


_WEBHOOK = {
    "oneOf": [
        _of_type("INSERT", "record"),
        _of_type("UPDATE", "record", "old_record"),
        _of_type("DELETE", "old_record"),
    ]
}


def router(service: ServiceContext) -> APIRouter:
    """POST /webhooks/database."""
    routes = APIRouter(tags=["jobs"], dependencies=[service.authenticator.require("jobs")])

    @routes.post(
        "/webhooks/database",
        response_model=ChangesAnswer,
        responses=responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 501, 503),
        openapi_extra=body_schema("What Supabase's database webhooks post.", _WEBHOOK),
    )
    def database_webhook(body: Body) -> Response:
        """Embed the row, or clear its vectors; what fails stays in the queue. Only the key is taken from the body."""
        pushed, database = service.job_parts()
        text, _ = parse_json(body)
        try:
            with translate_errors():
                results = pushed.process([lambda jobs: jobs.claim_changed(text)])
        except (BusyError, OtherSchemaError):  # a webhook is sent once, so it must not be lost
            with translate_errors(), database.connection() as connection:
                queued = queue_changed(connection, text)
            results = [(posted, Outcome(posted.state, posted.reason)) for posted in queued]
        if not results:
            raise Refusal(404, "No pipeline embeds this table: make one with pgembedd.create_pipeline().")
        entries = [_entry(posted, outcome) for posted, outcome in results]
        return Response(orjson.dumps({"pipelines": entries}), media_type="application/json")

    return routes


def _entry(posted: Posted, outcome: Outcome) -> dict[str, str]:
    # A job that could not be claimed was put into the queue just before, whatever the reason.
    word = "queued" if posted.state == "failed" else outcome.word
    entry = {"pipeline": posted.subject or "", "outcome": word}
    return entry if outcome.sentence is None else {**entry, "message": outcome.sentence}

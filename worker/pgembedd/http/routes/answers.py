"""`/api/v1/answers`: questions about a table, answered as a stream of events that any number of clients may watch."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field, create_model

from pgembedd.answers.options import AskOptions
from pgembedd.answers.questions import Question
from pgembedd.answers.watch import Viewer
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.openapi import event_stream
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import API
from pgembedd.http.routes.bodies import StrictModel
from pgembedd.http.streams.sse import EventStream, frame
from pgembedd.search.fields import Name, option_fields
from pgembedd.settings import limits

STREAM = event_stream("`status`, `sources`, `delta` and `citation` events, then `done` or `error`.")
_OVER: dict[int | str, dict[str, Any]] = {204: {"description": "The answer is finished, and no event is left."}}
_ERRORS = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504)


class PipelineQuestion(StrictModel):
    """A question to a pipeline."""

    pipeline: Name = Field(description="The name of a pipeline.")
    question: str = Field(max_length=limits.QUESTION, description="The question.")


if TYPE_CHECKING:
    AskRequest = PipelineQuestion
else:
    AskRequest = create_model(
        "AskRequest",
        __base__=PipelineQuestion,
        __doc__="The arguments of pgembedd.ask() in SQL; those left out have its defaults.",
        **option_fields(AskOptions),
    )


class AnswerStatus(BaseModel):
    """An answer that was to be stopped, as it is now."""

    answer: UUID = Field(description="Its id.")
    status: str = Field(description="`stopped`; `complete`, `refused` or `failed` where it was finished before.")


def router(service: ServiceContext) -> APIRouter:
    """POST /api/v1/answers, GET /api/v1/answers/{id}, POST /api/v1/answers/{id}/stop."""
    routes = APIRouter(prefix=API, tags=["answers"])
    allowed = service.authenticator.require("answers")

    def streamed(viewer: Viewer) -> Response:
        headers = {"location": f"{API}/answers/{viewer.state.id}"}
        return EventStream(_frames(viewer), viewer.close, service.streams, headers)

    @routes.post("/answers", response_class=Response, responses={**STREAM, **_ERRORS})
    async def ask(asked: AskRequest, caller: Caller = allowed) -> Response:
        """The answer to a question, from the rows that the role of the token may read."""
        return streamed(await service.answers.ask_and_watch(caller, Question(**asked.model_dump())))

    @routes.get("/answers/{answer}", response_class=Response, responses={**STREAM, **_OVER, **_ERRORS})
    async def watch(
        answer: UUID,
        after: Annotated[int, Query(ge=0, le=limits.INT4, description="Only events after this one.")] = 0,
        last_event_id: Annotated[Name | None, Header(description="The same, as browsers send it.")] = None,
        caller: Caller = allowed,
    ) -> Response:
        """An answer while it is made, and afterwards: what happened so far, then what happens."""
        viewer = await service.answers.watch(caller, answer, _last(after, last_event_id))
        if await viewer.has_seen_all():
            return Response(status_code=204)  # on which a browser does not connect again
        return streamed(viewer)

    @routes.post("/answers/{answer}/stop", responses=_ERRORS)
    def stop(answer: UUID, caller: Caller = allowed) -> AnswerStatus:
        """Ends an answer that is queued or being made; one that is finished is left as it is."""
        return AnswerStatus(answer=answer, status=service.answers.stop(caller, answer).status)

    return routes


async def _frames(viewer: Viewer) -> AsyncIterator[bytes]:
    """Yields the events as they are sent; `status` names the answer and its thread, and `error` is a Problem."""
    named = {"answer": str(viewer.state.id), "thread": str(viewer.state.thread) if viewer.state.thread else None}
    added: dict[str, dict[str, str | None]] = {"status": named, "error": {"error": "answer_failed"}}
    async for events in viewer.batches():
        yield b"".join([frame({**one.data, **added.get(one.name, {})}, one.name, one.seq or None) for one in events])


def _last(after: int, last_event_id: str | None) -> int:
    """Returns the later of both numbers. Refusal 422 for a header that is no number."""
    if last_event_id is None or last_event_id == "":
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
        raise Refusal(422, "The header last-event-id is no number of an event.", "wrong_shape")
    return max(after, int(last_event_id))

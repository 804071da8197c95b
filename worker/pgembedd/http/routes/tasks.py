"""`/api/v1/tasks/{task}`: tasks of Hugging Face's inference API, and the image function of Supabase's guide."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import API, FUNCTIONS
from pgembedd.http.routes.bodies import StrictModel
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.language.huggingface import TASKS
from pgembedd.search.fields import Name

GUIDES_IMAGE_MODEL = "stabilityai/stable-diffusion-2"
ERRORS = responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 501, 502, 503, 504)
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer: JSON, or the bytes of an image or a sound with their type.",
        "content": {"application/json": {}, "image/*": {}, "audio/*": {}, "application/octet-stream": {}},
    }
}


class TaskRequest(StrictModel):
    """The input and parameters of a task."""

    inputs: Any = Field(description="A text, a list of texts, or what else the task takes; files in base64.")
    parameters: dict[str, Any] | None = Field(default=None, description="The task's own, passed on as they are.")
    model: Name | None = Field(default=None, description="A model of the Hub; without it, that of the settings.")
    use_cache: bool = Field(default=True, description="False: an equal request is worked on again.")


class ImageRequest(StrictModel):
    """A description of an image."""

    prompt: str = Field(description="The description.")


def router(service: ServiceContext) -> APIRouter:
    """POST /api/v1/tasks/{task} and /functions/v1/text-to-image."""
    routes = APIRouter(tags=["tasks"], dependencies=[service.authenticator.require("tasks")])

    @routes.post(f"{API}/tasks/{{task}}", response_class=Response, responses={**ANSWER, **ERRORS})
    async def run_task(
        task: Annotated[Name, Path(description="A task, as the Hub names it.")], asked: TaskRequest, request: Request
    ) -> Response:
        """The answer of a model to a task."""
        if task not in TASKS:
            raise Refusal(404, f"There is no such task; there are {', '.join(sorted(TASKS))}.", "unknown_task")
        model = asked.model or service.language.tasks.model_for(task)
        if model is None:
            raise Refusal(422, "model: Name one, as no default one is set (PGEMBEDD_TASKS_MODELS).", "no_model")
        return await _run(service, request, task, asked, model)

    @routes.post(f"{FUNCTIONS}/text-to-image", response_class=Response, responses={**ANSWER, **ERRORS})
    async def text_to_image(asked: ImageRequest, request: Request) -> Response:
        """An image of what the prompt describes, as the Edge Function of Supabase's guide answers."""
        model = service.language.tasks.model_for("text-to-image") or GUIDES_IMAGE_MODEL
        task = TaskRequest(inputs=asked.prompt, use_cache=False)
        return await _run(service, request, "text-to-image", task, model)

    return routes


async def _run(service: ServiceContext, request: Request, task: str, asked: TaskRequest, model: str) -> Response:
    gateway = service.language
    if asked.inputs in ("", [], {}, None):
        raise Refusal(422, "The input is empty.", "empty_input", param="inputs")
    try:
        gateway.check_size(len(orjson.dumps([asked.inputs, asked.parameters])))
    except orjson.JSONEncodeError:
        raise Refusal(
            422,
            "The input cannot be sent on: it has half of a surrogate pair, a number of more than 64 bits, or lists of "
            "more than 250 levels.",
        ) from None
    with gateway.slot():
        work = gateway.tasks.run(task, asked.inputs, asked.parameters, model, use_cache=asked.use_cache)
        answer = await while_connected(request, work)
    return Response(answer.content, headers={"content-type": answer.content_type})

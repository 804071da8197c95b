"""`/api/v1/generate` and `/functions/v1/generate`: the text of a language model, as it is made."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.openapi import event_stream
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import API, FUNCTIONS
from pgembedd.http.routes.bodies import Body, parse_json
from pgembedd.http.streams.generation_response import Frames, events, raw_text, streamed
from pgembedd.search.fields import Name
from pgembedd.settings.limits import IN_ADDRESS

STREAM = event_stream("The answer, until it is complete.")
ERRORS = responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 501, 502, 503, 504)

Prompt = Annotated[
    str, Query(max_length=IN_ADDRESS, description='The prompt; a POST may have it in its body, as `{"prompt": …}`.')
]
Model = Annotated[Name | None, Query(description="A language model; without it, the default one.")]


def router(service: ServiceContext) -> APIRouter:
    """GET and POST /api/v1/generate and /functions/v1/generate."""
    routes = APIRouter(tags=["generate"], dependencies=[service.authenticator.require("generate")])

    @routes.get(f"{FUNCTIONS}/generate", response_class=Response, responses={**STREAM, **ERRORS})
    @routes.post(f"{FUNCTIONS}/generate", response_class=Response, responses={**STREAM, **ERRORS})
    async def generate_text(request: Request, body: Body, prompt: Prompt = "", model: Model = None) -> Response:
        """The text alone, in parts, as the Edge Function of Supabase's guide sends it."""
        return await _answer(service, request, prompt or _prompt_of(body), model, raw_text)

    @routes.get(f"{API}/generate", response_class=Response, responses={**STREAM, **ERRORS})
    @routes.post(f"{API}/generate", response_class=Response, responses={**STREAM, **ERRORS})
    async def generate(request: Request, body: Body, prompt: Prompt = "", language_model: Model = None) -> Response:
        """The text as events: `delta`, then `done` or `error`."""
        return await _answer(service, request, prompt or _prompt_of(body), language_model, events)

    return routes


def _prompt_of(body: bytes) -> str:
    """Returns the prompt of a body, "" for one without. Refusal 400 for invalid JSON."""
    value = parse_json(body)[1] if body else None
    prompt = value.get("prompt") if isinstance(value, dict) else None
    return prompt if isinstance(prompt, str) else ""


async def _answer(
    service: ServiceContext, request: Request, prompt: str, model: str | None, frames: Frames
) -> Response:
    if not prompt.strip():
        raise Refusal(422, "The prompt is empty: send it as ?prompt=.", "empty_prompt", param="prompt")
    gateway = service.language
    gateway.check_size(len(prompt.encode("utf-8", "replace")))
    return await streamed(request, gateway.generation(model, prompt, stream=True), frames, gateway.slot())

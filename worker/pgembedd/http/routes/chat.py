"""`/v1/chat/completions`: passed on to the language model's server, streamed."""

import json
from contextlib import ExitStack

from fastapi import APIRouter, Request, Response

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors import Refusal
from pgembedd.http.generation_response import GenerationResponse, openai_events
from pgembedd.http.language_gateway import while_connected
from pgembedd.http.raw_json import Body, body_schema, parse_finite_float, parse_json
from pgembedd.http.routes.openai import openai_errors

STATUSES = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 502, 503, 504)


def router(service: ServiceContext) -> APIRouter:
    """POST /v1/chat/completions."""
    routes = APIRouter(prefix="/v1", tags=["openai"], dependencies=[service.authenticator.require("generate")])
    gateway = service.language

    @routes.post(
        "/chat/completions",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/event-stream": {}}}, **openai_errors(*STATUSES)},
        openapi_extra=body_schema("What OpenAI's clients send; passed on as it is.", lambda: {"type": "object"}),
    )
    async def chat(request: Request, body: Body) -> Response:
        """The answer to a chat, whole or as events."""
        gateway.check_size(len(body))
        _, asked = parse_json(body, parse_finite_float)
        if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
            raise Refusal(400, "messages: It has to be a list of messages.", "wrong_shape", param="messages")
        stream, model = asked.get("stream") is True, asked.get("model")
        if model is not None and not isinstance(model, str):
            raise Refusal(400, "model: It has to be a name.", "wrong_shape", param="model")
        prompt = {name: value for name, value in asked.items() if name != "model"}
        generation = gateway.generation(model, prompt, stream=stream, mode="openaicompatible")
        with ExitStack() as held:
            held.enter_context(gateway.slot())
            if not stream:
                answer = await while_connected(request, generation.answer())
                return Response(json.dumps(answer), media_type="application/json")
            await while_connected(request, generation.start())
            return GenerationResponse(generation, openai_events, held.pop_all())

    return routes

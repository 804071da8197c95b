"""`/v1/chat/completions`: answered from a table, or passed on to the language model's server; streamed."""

import json
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from pgembedd.errors import GenerationError, SearchError
from pgembedd.http.auth.authenticator import require_scope
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.generation.chat_chores import chore_reply
from pgembedd.http.generation.table_chat import PREFIX, Reply, TableChat, complete, messages_of, parts_of
from pgembedd.http.paths import OPENAI
from pgembedd.http.routes.bodies import Body, body_schema, parse_finite_float, parse_json
from pgembedd.http.routes.model_names import model_names
from pgembedd.http.routes.openai import openai_errors
from pgembedd.http.streams.generation_response import AnswerStream, openai_events, streamed
from pgembedd.http.streams.sse import DONE, HEADERS, frame
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.settings.limits import INT4, NAME

LIMITS = ("max_tokens", "max_completion_tokens")  # OpenAI's older and newer name of the same
STATUSES = (400, 401, 403, 404, 408, 413, 415, 422, 409, 429, 500, 501, 502, 503, 504)


def router(service: ServiceContext) -> APIRouter:
    """POST /v1/chat/completions."""
    routes = APIRouter(prefix=OPENAI, tags=["openai"])
    either = service.authenticator.require("generate", "answers")
    gateway, tables = service.language, TableChat(service.answers)

    @routes.post(
        "/chat/completions",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/event-stream": {}}}, **openai_errors(*STATUSES)},
        openapi_extra=body_schema("What OpenAI's clients send; passed on as it is.", {"type": "object"}),
    )
    async def chat(request: Request, body: Body, caller: Caller = either) -> Response:
        """The answer to a chat, whole or as events; `table:documents` answers from the table of that pipeline."""
        gateway.check_size(len(body))
        _, asked = parse_json(body, parse_finite_float)
        if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
            raise Refusal(400, "messages: It has to be a list of messages.", "wrong_shape", param="messages")
        asked = _with_limits(asked)
        model = asked.get("model")
        if model is not None and not (isinstance(model, str) and len(model) <= NAME):
            raise Refusal(400, "model: It has to be a name, of 200 characters at most.", "wrong_shape", param="model")
        if model is not None and model.startswith(PREFIX):
            require_scope(caller, "answers")
            return await _from_table(service, tables, request, caller, model, asked)
        await _check_language_model(service, caller, model)
        try:
            return await _passed_on(service, request, model, asked)
        except GenerationError as error:
            served = await model_names(service, caller) if error.status == 404 else None
            if served is None or not served.language or (model or service.http.language_model) in served.language:
                raise
            raise served.not_found() from None

    return routes


def _with_limits(asked: dict[str, Any]) -> dict[str, Any]:
    """Returns the request without a limit of -1, by which clients of local servers say that there is none.

    Refusal 400 for what is no limit of an answer's tokens: servers differ in what they make of it.
    """
    asked = {name: value for name, value in asked.items() if name not in LIMITS or value != -1}
    for name in LIMITS:
        value = asked.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= INT4):
            raise Refusal(
                400,
                f"{name}: It has to be a whole number of tokens, 1 or more and no more than 2147483647.",
                "wrong_shape",
                param=name,
            )
    return asked


async def _check_language_model(service: ServiceContext, caller: Caller, model: str | None) -> None:
    """Raises Refusal 404 for a table without its prefix, and where the caller may chat with tables alone."""
    may_pass_on = "generate" in caller.scopes and service.language.has_server
    if may_pass_on and model not in [name for name, *_ in await run_in_threadpool(service.served.pipelines)]:
        return
    served = await model_names(service, caller)
    if may_pass_on and (model in served.language or f"{PREFIX}{model}" not in served.tables):
        return
    if served.tables or "generate" not in caller.scopes:
        raise served.not_found()


async def _passed_on(service: ServiceContext, request: Request, model: str | None, asked: dict[str, Any]) -> Response:
    """Returns the answer of the language models' server. GenerationError; Refusal 503 without a server."""
    gateway, stream = service.language, asked.get("stream") is True
    prompt = {name: value for name, value in asked.items() if name != "model"}
    if service.http.language_mode == "ollama" and prompt.get("max_completion_tokens"):
        # Ollama knows OpenAI's older name alone, and would answer without a limit.
        newer = prompt.pop("max_completion_tokens")
        prompt["max_tokens"] = prompt.get("max_tokens") or newer
    generation = gateway.generation(model, prompt, stream=stream, mode="openaicompatible")
    if stream:
        return await streamed(request, generation, openai_events, gateway.slot())
    with gateway.slot():
        answer = await while_connected(request, generation.answer())
    return Response(json.dumps(answer), media_type="application/json")


async def _from_table(
    service: ServiceContext, tables: TableChat, request: Request, caller: Caller, model: str, asked: dict[str, Any]
) -> Response:
    stream, messages = asked.get("stream") is True, messages_of(asked)
    options = asked.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    if (text := chore_reply(messages)) is not None:
        reply = Reply(model, uuid4().hex, text)
        if not stream:
            return Response(json.dumps(reply.whole()), media_type="application/json")
        parts = [reply.chunk({"role": "assistant", "content": text}), reply.chunk({}, "stop")]
        parts += [reply.usage_chunk()] if with_usage else []
        return Response(b"".join([*map(frame, parts), DONE]), headers=HEADERS)
    try:
        viewer = await tables.ask(request, caller, model, messages)
    except SearchError as error:
        refused = error.is_refusal and error.sqlstate != "42501"  # not for want of rights
        served = await model_names(service, caller) if refused else None
        if served is None or model in served.tables:
            raise
        raise served.not_found() from None
    reply = Reply(model, viewer.state.id.hex)
    if not stream:
        whole = await while_connected(request, complete(viewer, reply))
        return Response(json.dumps(whole), media_type="application/json")
    with ExitStack() as held:
        held.callback(viewer.abandon)  # the answer is of no chat that it could be read in
        return AnswerStream(parts_of(viewer, reply, with_usage=with_usage), held.pop_all())

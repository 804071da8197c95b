"""`/embed`: texts in, vectors out, in the shape that Edge Functions with `Session('gte-small')` have."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, FailFast, Field
from typing_extensions import TypeAliasType

from pgembedd.http.context import Service
from pgembedd.http.errors import Refusal, responses
from pgembedd.http.middleware.request_metrics import GONE
from pgembedd.http.strict_model import NoOthers
from pgembedd.model.embedder import Embedded, Embedder
from pgembedd.model.futures import Text

BYTES_PER_TOKEN = 4
MATRIX_TOKENS = 8_192  # 384 numbers each make 40 MB of JSON
PATIENT_S = 0.1
Kind = Literal["query", "document"]
Found = TypeVar("Found")
# Refused at the first that is no text: an error for each of a million numbers would be a gigabyte.
Texts = TypeAliasType("Texts", Annotated[list[str], FailFast()])


class EmbedRequest(NoOthers):
    """A text or several, and how to embed them."""

    model_config = ConfigDict(strict=True)

    input: str | Texts = Field(description="A text, or a list of texts.")
    model: str | None = Field(default=None, description="A served model; without it, the default one.")
    pipeline: str | None = Field(default=None, description="Instead of `model`: this pipeline's.")
    kind: Kind = Field(default="query", description="Which prefix a model that was trained with prefixes gets.")
    mean_pool: bool = Field(default=True, description="False: a vector for each token instead of one.")
    normalize: bool = Field(default=True, description="Whether vectors have the norm 1.")
    truncate: bool = Field(default=True, description="False: refuse a text that is longer than the model reads.")


class OneEmbedding(BaseModel):
    """The answer to one text."""

    embedding: list[float] | list[list[float]]


class Embeddings(BaseModel):
    """The answer to several."""

    embeddings: list[list[float]] | list[list[list[float]]]


def router(service: Service) -> APIRouter:
    """POST and GET /embed."""
    routes = APIRouter(tags=["embed"], dependencies=[service.guard.needs("embed")])
    errors = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503, 504)

    @routes.post("/embed", responses={200: {"model": OneEmbedding | Embeddings}, **errors})
    async def embed(asked: EmbedRequest, request: Request) -> Response:
        """The vector of a text, or of each of several."""
        one = isinstance(asked.input, str)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors, cut = await _answer(service, asked, texts, request)
        return _json({"embedding": vectors[0]} if one else {"embeddings": vectors}, cut)

    @routes.get("/functions/v1/embed", responses={200: {"model": list[float]}, **errors})
    @routes.get("/embed", responses={200: {"model": list[float]}, **errors})
    async def embed_query(
        request: Request,
        input: Annotated[str, Query(description="The text.")],
        model: Annotated[str | None, Query(description="A served model.")] = None,
        pipeline: Annotated[str | None, Query(description="Instead of `model`: that of this pipeline.")] = None,
        kind: Annotated[Kind, Query(description="Which prefix.")] = "query",
    ) -> Response:
        """The vector of a text, as a bare array."""
        asked = EmbedRequest(input=input, model=model, pipeline=pipeline, kind=kind)
        vectors, cut = await _answer(service, asked, [input], request)
        return _json(vectors[0], cut)

    return routes


async def _answer(service: Service, asked: EmbedRequest, texts: list[str], request: Request) -> tuple[Any, int]:
    """The vectors, and how many tokens were cut of all texts together."""
    embedder = await model_for(service, asked.model, asked.pipeline)
    check_inputs(service, embedder, texts)
    if not (asked.mean_pool and asked.normalize):
        if not asked.truncate:
            raise Refusal(
                422,
                "truncate: false goes with mean_pool: true and normalize: true only.",
                "wrong_shape",
                param="truncate",
            )
        if not asked.mean_pool and (tokens := _tokens(embedder, texts)) > MATRIX_TOKENS:
            raise Refusal(
                413,
                f"The texts have about {tokens} tokens, and with mean_pool: false each gets a vector: send no more "
                f"than {MATRIX_TOKENS} at a time.",
                param="input",
            )
        return await _awaited(service, service.unpooled.submit(_raw, embedder, texts, asked), request), 0
    embedded = await vectors_of(service, embedder, texts, asked.kind, request)
    cut = int(embedded.dropped.sum())
    if cut and not asked.truncate:
        worst = int(np.argmax(embedded.dropped))
        raise Refusal(422, too_long(worst, int(embedded.tokens[worst]), embedder), "text_too_long", param="input")
    return embedded.vectors, cut


def too_long(number: int, tokens: int, embedder: Embedder) -> str:
    """The sentence for a text that the model does not read whole."""
    return (
        f"Text {number} has {tokens} tokens, but {embedder.name} reads {embedder.max_tokens}: "
        "shorten it, cut it into chunks, or send truncate: true."
    )


async def model_for(service: Service, model: str | None, pipeline: str | None) -> Embedder:
    """The model a request means; loading it, or asking the database for the pipeline, waits in a thread."""
    if pipeline is None:
        found = service.at_hand(model)
        return found if found is not None else await run_in_threadpool(service.model, model)
    if model is not None:
        raise Refusal(422, "Name a model or a pipeline, not both.", "wrong_shape", param="pipeline")
    return await run_in_threadpool(service.model_of, pipeline)


def check_inputs(service: Service, embedder: Embedder, texts: list[str]) -> None:
    """Refusal for texts that are too many or too much, or nothing."""
    http = service.http
    if not texts or any(not text.strip() for text in texts):
        raise Refusal(
            422, "The input is empty: send at least one text, none of them blank.", "empty_input", param="input"
        )
    if len(texts) > http.http_max_inputs:
        raise Refusal(
            413, f"{len(texts)} texts are more than {http.http_max_inputs} (PGEMBEDD_HTTP_MAX_INPUTS).", param="input"
        )
    tokens = _tokens(embedder, texts)
    if tokens > http.http_max_tokens:
        raise Refusal(
            413,
            f"The texts have about {tokens} tokens, more than {http.http_max_tokens} (PGEMBEDD_HTTP_MAX_TOKENS): "
            "send fewer at a time.",
            param="input",
        )


async def vectors_of(
    service: Service, embedder: Embedder, texts: Sequence[Text], kind: Kind, request: Request
) -> Embedded:
    """The texts through the desk. Refusal 504 when that takes too long; what nobody waits for is dropped."""
    return await _awaited(service, service.desk.ask(embedder, texts, kind=kind), request)


async def _awaited(service: Service, asked: Future[Found], request: Request) -> Found:
    timeout_s = service.http.http_timeout_s
    vectors = asyncio.wrap_future(asked)
    try:
        # Nearly always the vectors are there before it is worth the while to look after the client.
        await asyncio.wait([vectors], timeout=min(PATIENT_S, timeout_s))
        if not vectors.done():
            await _while_connected(vectors, request, timeout_s - PATIENT_S)
        if vectors.done():
            return vectors.result()
    finally:
        vectors.cancel()
    raise Refusal(504, f"The vectors were not there after {timeout_s:g} seconds: send fewer texts.")


async def _while_connected(vectors: asyncio.Future[Found], request: Request, timeout_s: float) -> None:
    """Wait for the vectors, but no longer than that, nor than the client does."""
    # The body is read, so nothing but a disconnect can come.
    left: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    waited_for: list[asyncio.Future[Any]] = [vectors, left]
    try:
        await asyncio.wait(waited_for, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        if left.done() and not vectors.done():
            raise Refusal(GONE, "The client left before its vectors were there.", "client_left")
    finally:
        left.cancel()


def _tokens(embedder: Embedder, texts: list[str]) -> int:
    """About so many that the model reads."""
    bytes_of = (len(text.encode("utf-8", "replace")) for text in texts)
    return sum(min(length // BYTES_PER_TOKEN + 1, embedder.max_tokens) for length in bytes_of)


def _raw(embedder: Embedder, texts: list[str], asked: EmbedRequest) -> list[Any]:
    parts = embedder.run(texts, mean_pool=asked.mean_pool, normalize=asked.normalize, kind=asked.kind)
    return list(parts)


def _json(value: Any, cut: int) -> Response:
    """float32 in its shortest form; what was cut is told beside it."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json", headers={"x-truncated-tokens": str(cut)} if cut else None)

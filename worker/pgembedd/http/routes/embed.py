"""`/embed`: texts in, vectors out, in the shape that Edge Functions with `Session('gte-small')` have."""

from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, FailFast, Field
from typing_extensions import TypeAliasType

from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.models.embedding import check_inputs, estimated_tokens, model_for, too_long, truncation
from pgembedd.http.paths import FUNCTIONS
from pgembedd.http.routes.bodies import StrictModel
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Kind
from pgembedd.search.fields import Name
from pgembedd.settings import limits

MATRIX_TOKENS = 8_192  # 384 numbers each make 40 MB of JSON
# Fails at the first that is no text: an error for each of a million numbers would be a gigabyte.
Texts = TypeAliasType("Texts", Annotated[list[str], FailFast()])


class EmbedRequest(StrictModel):
    """A text or several, and how to embed them."""

    input: str | Texts = Field(description="A text, or a list of texts.")
    model: Name | None = Field(default=None, description="A served model; without it, the default one.")
    pipeline: Name | None = Field(default=None, description="Instead of `model`: this pipeline's.")
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


def router(service: ServiceContext) -> APIRouter:
    """POST and GET /embed."""
    routes = APIRouter(tags=["embed"])
    embed_only = service.authenticator.require("embed")
    errors = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504)

    @routes.post("/embed", responses={200: {"model": OneEmbedding | Embeddings}, **errors})
    async def embed(asked: EmbedRequest, request: Request, caller: Caller = embed_only) -> Response:
        """The vector of a text, or of each of several."""
        one = isinstance(asked.input, str)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors, headers = await _answer(service, asked, texts, request, caller)
        return _json({"embedding": vectors[0]} if one else {"embeddings": vectors}, headers)

    @routes.get(f"{FUNCTIONS}/embed", responses={200: {"model": list[float]}, **errors})
    @routes.get("/embed", responses={200: {"model": list[float]}, **errors})
    async def embed_query(
        request: Request,
        input: Annotated[str, Query(max_length=limits.IN_ADDRESS, description="The text.")],
        model: Annotated[Name | None, Query(description="A served model.")] = None,
        pipeline: Annotated[Name | None, Query(description="Instead of `model`: that of this pipeline.")] = None,
        kind: Annotated[Kind, Query(description="Which prefix.")] = "query",
        caller: Caller = embed_only,
    ) -> Response:
        """The vector of a text, as a bare array."""
        asked = EmbedRequest(input=input, model=model, pipeline=pipeline, kind=kind)
        vectors, headers = await _answer(service, asked, [input], request, caller)
        return _json(vectors[0], headers)

    return routes


async def _answer(
    service: ServiceContext, asked: EmbedRequest, texts: list[str], request: Request, caller: Caller
) -> tuple[Any, dict[str, str] | None]:
    """Returns the vectors, and the headers of the answer: the number of tokens cut from all texts together."""
    embedder = await model_for(service.served, asked.model, asked.pipeline)
    check_inputs(service.http, embedder, texts)
    if not (asked.mean_pool and asked.normalize):
        if not asked.truncate:
            raise Refusal(
                422,
                "truncate: false goes with mean_pool: true and normalize: true only.",
                "wrong_shape",
                param="truncate",
            )
        if not asked.mean_pool and (tokens := estimated_tokens(texts, embedder.max_tokens)) > MATRIX_TOKENS:
            raise Refusal(
                413,
                f"The texts have about {tokens} tokens, and with mean_pool: false each gets a vector: send no more "
                f"than {MATRIX_TOKENS} at a time.",
                param="input",
            )
        started = service.unpooled.submit(_embed_unpooled, embedder, texts, asked)
        return await service.result_of(started, request), None
    embedded = await service.result_of(service.batcher.ask(embedder, texts, asked.kind, caller.user), request)
    if not asked.truncate and embedded.dropped.any():
        worst = int(np.argmax(embedded.dropped))
        raise Refusal(422, too_long(worst, int(embedded.tokens[worst]), embedder), "text_too_long", param="input")
    return embedded.vectors, truncation(service.observer, embedded, embedder)


def _embed_unpooled(embedder: Embedder, texts: list[str], asked: EmbedRequest) -> list[Any]:
    parts = embedder.run(texts, mean_pool=asked.mean_pool, normalize=asked.normalize, kind=asked.kind)
    return list(parts)


def _json(value: Any, headers: dict[str, str] | None) -> Response:
    """Returns float32 in its shortest form."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json", headers=headers)

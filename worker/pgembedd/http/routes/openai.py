"""`/v1`: the embeddings API of OpenAI, for the clients that speak it."""

import base64
from typing import Annotated, Any, Literal, cast

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field
from typing_extensions import TypeAliasType

from pgembedd.errors import UnknownTokenError
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.openapi import body_of
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.embedding import check_tokens, estimated_tokens, model_for, truncation
from pgembedd.http.paths import OPENAI
from pgembedd.http.routes.bodies import one_error
from pgembedd.http.routes.embed import Texts
from pgembedd.http.routes.model_names import model_names
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Text
from pgembedd.search.fields import Name
from pgembedd.settings import HttpSettings

ESTIMATE_CHARS = 65_536  # the tokens of longer texts are not all counted


CLIENTS = "In LangChain set check_embedding_ctx_length=False."

# Fails at the first that does not fit, as in /embed.
Ids = TypeAliasType("Ids", Annotated[list[int], FailFast()])
ListsOfIds = TypeAliasType("ListsOfIds", Annotated[list[Ids], FailFast()])
Input = Annotated[
    str | Texts | Ids | ListsOfIds,
    one_error("it must be a string, a list of strings, a list of token ids, or a list of lists of token ids"),
]


class EmbeddingsRequest(BaseModel):
    """The texts to embed, and how. Fields that are not named here are ignored, as OpenAI's API does."""

    model_config = ConfigDict(strict=True)

    input: Input = Field(description="A text, a list of texts, a text's token ids, or a list of such.")
    model: Name | None = Field(default=None, description="A served model; without it, the default one.")
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="`float`, or `base64`: float32, little-endian."
    )
    dimensions: int | None = Field(default=None, description="The model's own number, or nothing.")
    user: str | None = Field(default=None, description="Ignored.")
    kind: Literal["query", "document"] = Field(
        default="document", description="Not OpenAI's: which prefix a model that was trained with prefixes gets."
    )
    truncate: bool | None = Field(
        default=None,
        description="Not OpenAI's: cut texts that are longer than the model reads; else as the setting says.",
    )


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read, special ones included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """The vectors in the order of the input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class OpenAIError(BaseModel):
    """An error in the shape that OpenAI's clients expect."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorAnswer(BaseModel):
    """An error of /v1."""

    error: OpenAIError


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the errors that a route of /v1 declares in the OpenAPI document."""
    return {status: body_of(OpenAIErrorAnswer) for status in statuses}


def router(service: ServiceContext) -> APIRouter:
    """POST /v1/embeddings."""
    routes = APIRouter(prefix=OPENAI, tags=["openai"])
    embed_only = service.authenticator.require("embed")

    @routes.post(
        "/embeddings",
        responses={
            200: {"model": EmbeddingsAnswer},
            **openai_errors(400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504),
        },
    )
    async def embeddings(asked: EmbeddingsRequest, request: Request, caller: Caller = embed_only) -> Response:
        """The vectors of one text or several, as OpenAI's API gives them."""
        texts = _texts_of(asked.input, service.http)
        try:
            embedder = await model_for(service.served, asked.model, None)
        except Refusal as refusal:
            if refusal.code != "model_not_found":
                raise
            raise (await model_names(service, caller)).not_found() from None
        _check(service, asked, texts, embedder)
        try:
            embedded = await service.result_of(service.batcher.ask(embedder, texts, asked.kind, caller.user), request)
        except UnknownTokenError as error:
            raise Refusal(400, f"{error} {CLIENTS}", "unknown_token", param="input") from None
        cuts = service.http.http_truncate == "on" if asked.truncate is None else asked.truncate
        if not cuts and embedded.dropped.any():
            raise _too_long(texts, embedded, embedder)
        body = _answer(embedded, embedder.name, asked.encoding_format)
        headers = truncation(service.observer, embedded, embedder)
        return Response(body, media_type="application/json", headers=headers)

    return routes


def _texts_of(given: Input, http: HttpSettings) -> list[Text]:
    """Returns the input as texts and token ids. Refusal for an empty one, and for token ids that are not allowed.

    Clients send the ids of OpenAI's vocabulary, not all of which can be told from the model's own; the vector would be
    that of other words.
    """
    if isinstance(given, str):
        texts: list[Text] = [given]
    elif given and isinstance(given[0], int):
        texts = [tuple(given)]
    else:
        texts = [each if isinstance(each, str) else tuple(each) for each in cast(list[str | list[int]], given)]
    if not texts or not all(texts):
        sentence = "The input is empty: send at least one text, none of them empty."
        raise Refusal(400, sentence, "empty_input", param="input")
    if http.http_input_token_ids == "refuse" and not all(isinstance(text, str) for text in texts):
        sentence = f"Token ids are not taken here: send texts. {CLIENTS} PGEMBEDD_HTTP_INPUT_TOKEN_IDS=own allows them."
        raise Refusal(400, sentence, "token_ids_refused", param="input")
    return texts


def _check(service: ServiceContext, asked: EmbeddingsRequest, texts: list[Text], embedder: Embedder) -> None:
    """Raises Refusal for dimensions that the model does not have, and for too many inputs or tokens."""
    http = service.http
    if asked.dimensions not in (None, embedder.dims):
        raise Refusal(
            400,
            f"The vectors of {embedder.name} have {embedder.dims} dimensions and cannot be cut: "
            f"send {embedder.dims}, or leave dimensions out.",
            "invalid_dimensions",
            param="dimensions",
        )
    if len(texts) > http.http_max_inputs:
        raise Refusal(
            400,
            f"{len(texts)} inputs are more than {http.http_max_inputs} (PGEMBEDD_HTTP_MAX_INPUTS): send fewer.",
            "too_many_inputs",
            param="input",
        )
    tokens = estimated_tokens(texts, embedder.max_tokens)
    check_tokens(http, tokens, "The inputs have", 400, "max_tokens_per_request")


def _too_long(texts: list[Text], embedded: Embeddings, embedder: Embedder) -> Refusal:
    """Returns the refusal for the longest text, in the words that clients search for."""
    worst = int(np.argmax(embedded.dropped))
    about = "about " if len(texts[worst]) > ESTIMATE_CHARS else ""
    return Refusal(
        400,
        f"This model's maximum context length is {embedder.max_tokens} tokens, but input {worst} has {about}"
        f"{int(embedded.tokens[worst])}: shorten it, cut it into chunks, or send truncate: true.",
        "context_length_exceeded",
        param="input",
    )


def _answer(embedded: Embeddings, model: str, encoding: str | None) -> bytes:
    """Returns the body: float32 in its shortest form, or its bytes, little-endian, in base64."""
    rows = (
        [base64.b64encode(row).decode() for row in embedded.vectors.astype("<f4")]
        if encoding == "base64"
        else embedded.vectors
    )
    tokens = int((embedded.tokens - embedded.dropped).sum())
    return orjson.dumps(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )

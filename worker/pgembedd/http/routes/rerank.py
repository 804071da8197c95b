"""`/v1/rerank` and `/v2/rerank`: the reranking APIs of Cohere and Jina, for the clients that speak them."""

import uuid
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, FailFast, Field
from typing_extensions import TypeAliasType

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.models.embedding import about_tokens, check_tokens
from pgembedd.http.routes.bodies import one_error
from pgembedd.model.reranker import Scores
from pgembedd.search.fields import Name
from pgembedd.settings.limits import DOCUMENTS, INT4, QUERY


class Document(BaseModel):
    """A document as an object; other fields are ignored."""

    text: str


# Fails at the first that does not fit, as in /embed.
Documents = TypeAliasType("Documents", Annotated[list[str | Document], FailFast()])


class RerankRequest(BaseModel):
    """The documents to rank for a query. Fields that are not named here are ignored, as Cohere's API does."""

    model_config = ConfigDict(strict=True)

    model: Name | None = Field(default=None, description="The reranker served; without it, the same.")
    query: str = Field(max_length=QUERY, description="The question or the words.")
    documents: Annotated[Documents, one_error("it must be a list of texts, or of objects with a text")] = Field(
        description="Texts, or objects with a `text`; at most 1,000."
    )
    top_n: int | None = Field(default=None, ge=1, le=INT4, description="How many results; all without it.")
    return_documents: bool | None = Field(default=None, description="Whether a result has its document's text.")


class RankedDocument(BaseModel):
    """A document's place in the request, and its relevance between 0 and 1."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankUsage(BaseModel):
    """Tokens that the model read, the query's for each document."""

    prompt_tokens: int
    total_tokens: int


class RerankAnswer(BaseModel):
    """The results, most relevant first; the tokens as Cohere (`meta`) and as Jina (`usage`) name them."""

    id: str
    object: str
    model: str
    results: list[RankedDocument]
    meta: dict[str, Any]
    usage: RerankUsage


def router(service: ServiceContext) -> APIRouter:
    """POST /v1/rerank and /v2/rerank."""
    routes = APIRouter(tags=["rerank"], dependencies=[service.authenticator.require("embed")])
    errors = responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)

    @routes.post("/v1/rerank", responses={200: {"model": RerankAnswer}, **errors})
    async def rerank_v1(asked: RerankRequest, request: Request) -> Response:
        """The documents in the order of their relevance for the query, as Cohere's and Jina's APIs give them."""
        return await _rerank(service, asked, request, "1")

    @routes.post("/v2/rerank", responses={200: {"model": RerankAnswer}, **errors})
    async def rerank_v2(asked: RerankRequest, request: Request) -> Response:
        """The same, as version 2 of Cohere's API."""
        return await _rerank(service, asked, request, "2")

    return routes


async def _rerank(service: ServiceContext, asked: RerankRequest, request: Request, version: str) -> Response:
    texts = [each if isinstance(each, str) else each.text for each in asked.documents]
    _check_shape(asked.query, texts)
    reranker = await run_in_threadpool(service.reranker.get, asked.model)
    of_query = about_tokens(asked.query)
    tokens = sum(min(of_query + about_tokens(text), reranker.max_tokens) for text in texts)
    check_tokens(service.http, tokens, "The documents, each with the query, have", param="documents")
    started = await run_in_threadpool(service.reranker.start, reranker, asked.query, texts)
    scores = await service.result_of(started, request, "scores")
    shown = texts if asked.return_documents else None
    return Response(_answer(scores, reranker.name, asked.top_n, shown, version), media_type="application/json")


def _check_shape(query: str, texts: list[str]) -> None:
    """Raises Refusal for a blank query, no documents, or too many."""
    if not query.strip():
        raise Refusal(422, "The query is empty: send some words.", "empty_input", param="query")
    if not texts:
        raise Refusal(422, "There are no documents: send at least one.", "empty_input", param="documents")
    if len(texts) > DOCUMENTS:
        sentence = f"{len(texts)} documents are more than {DOCUMENTS}: send fewer at a time."
        raise Refusal(413, sentence, param="documents")


def _answer(found: Scores, model: str, top_n: int | None, texts: list[str] | None, version: str) -> bytes:
    """Returns the body; equally relevant documents keep the request's order."""
    relevance = 1 / (1 + np.exp(-found.scores.astype(np.float64)))
    results: list[dict[str, Any]] = []
    for index in np.argsort(-found.scores, kind="stable")[:top_n].tolist():
        results.append({"index": index, "relevance_score": float(relevance[index])})
        if texts is not None:
            results[-1]["document"] = {"text": texts[index]}
    tokens = int(found.tokens.sum())
    return orjson.dumps(
        {
            "id": str(uuid.uuid4()),
            "object": "list",
            "model": model,
            "results": results,
            "meta": {"api_version": {"version": version}, "tokens": {"input_tokens": tokens, "output_tokens": 0}},
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )

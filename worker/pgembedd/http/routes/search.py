"""`/search`: one search in SQL, as the role of the caller's token."""

import json
from dataclasses import fields
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pgembedd import limits
from pgembedd.http.bounded import Filter, Mark, Name, Similarity, Weight
from pgembedd.http.context import ServiceContext
from pgembedd.http.error_responses import Refusal, responses
from pgembedd.http.searching import Searcher, parse_filter
from pgembedd.http.strict_model import StrictModel
from pgembedd.http.tokens import Caller
from pgembedd.search.calls import SearchOptions
from pgembedd.search.hits import Hit, Hits

_ERRORS = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504)


class SearchRequest(StrictModel):
    """The arguments of pgembedd.search() in SQL; those left out have its defaults."""

    model_config = ConfigDict(strict=True)

    pipeline: Name = Field(description="The name of a pipeline.")
    query: str = Field(max_length=limits.QUERY, description="Some words.")
    k: int = Field(default=10, ge=1, le=limits.HITS, description="How many hits.")
    filter: Filter | None = Field(
        default=None, description="Conditions on columns of the source, as docs/how-to/search.md has them."
    )
    mode: Name = Field(default="hybrid", description="By meaning and words: `hybrid`; `semantic`, `text`: by one.")
    per: Name = Field(default="row", description="`row`: each row once, with its best chunk; `chunk`: every chunk.")
    min_similarity: Similarity | None = Field(default=None, description="Leaves out what is less similar.")
    snippet_length: int = Field(default=200, ge=0, le=limits.SNIPPET, description="In characters; 0: no snippet.")
    rerank: Name | None = Field(
        default=None, description="The reranker served, for the first 20 hits; none: no reranking."
    )
    weights: list[Weight] = Field(default=[1, 1], max_length=2, description="Of the lists by meaning and by words.")
    rrf_k: int = Field(default=60, ge=1, le=limits.RRF_K, description="How little the first places of a list count.")
    after: int | None = Field(
        default=None, ge=0, le=limits.HITS, description="How many hits to leave out: the next page."
    )
    marks: list[Mark] = Field(default=["**", "**"], max_length=2, description="Around the words of the query.")


class FoundRow(BaseModel):
    """A hit."""

    key: Any = Field(description="The value, or an object of a key of several columns.")
    chunk_no: int | None
    score: float
    similarity: float | None
    semantic_rank: int | None
    text_rank: int | None
    rerank_score: float | None
    snippet: str | None
    row: dict[str, Any] = Field(description="The columns that the role may read, without vectors.")


class SearchAnswer(BaseModel):
    """The hits, best first, and sentences about the search."""

    hits: list[FoundRow]
    notices: list[str] = Field(description="For example how many rows wait for their vectors.")


def router(service: ServiceContext) -> APIRouter:
    """POST /search and /functions/v1/search, GET /api/search."""
    routes = APIRouter(tags=["search"])
    searcher = Searcher(service)
    allowed = service.authenticator.require("search")

    @routes.post("/functions/v1/search", responses={200: {"model": SearchAnswer}, **_ERRORS})
    @routes.post("/search", responses={200: {"model": SearchAnswer}, **_ERRORS})
    def search(asked: SearchRequest, caller: Caller = allowed) -> Response:
        """The best rows or chunks for a query, as the role of the token may see them."""
        options = asked.model_dump(exclude_unset=True, exclude={"pipeline", "query", "rerank"})
        return _answer(searcher, caller, asked.pipeline, asked.query, options, asked.rerank)

    @routes.get("/api/search", responses={200: {"model": SearchAnswer}, **_ERRORS})
    def search_by_address(
        pipeline: Annotated[Name, Query(description="The name of a pipeline.")],
        query: Annotated[str, Query(max_length=limits.IN_ADDRESS, description="Some words.")],
        k: Annotated[int | None, Query(ge=1, le=limits.HITS, description="How many hits; 10.")] = None,
        filter: Annotated[
            str | None, Query(max_length=limits.IN_ADDRESS, description="As in the body, as JSON.")
        ] = None,
        mode: Annotated[Name | None, Query(description="How to search.")] = None,
        per: Annotated[Name | None, Query(description="`row` or `chunk`.")] = None,
        min_similarity: Annotated[Similarity | None, Query(description="Leaves out what is less similar.")] = None,
        snippet_length: Annotated[int | None, Query(ge=0, le=limits.SNIPPET, description="In characters; 200.")] = None,
        rerank: Annotated[Name | None, Query(description="The reranker served.")] = None,
        weights: Annotated[list[Weight] | None, Query(max_length=2, description="Two numbers: twice.")] = None,
        rrf_k: Annotated[
            int | None, Query(ge=1, le=limits.RRF_K, description="How little the first places count.")
        ] = None,
        after: Annotated[int | None, Query(ge=0, le=limits.HITS, description="How many hits to leave out.")] = None,
        marks: Annotated[list[Mark] | None, Query(max_length=2, description="Two texts: twice.")] = None,
        *,
        request: Request,
        caller: Caller = allowed,
    ) -> Response:
        """The same with the arguments in the address, which logs may keep."""
        _refuse_unknown(request)
        options = {
            "k": k, "mode": mode, "per": per, "min_similarity": min_similarity, "snippet_length": snippet_length,
            "weights": weights, "rrf_k": rrf_k, "after": after, "marks": marks,
            "filter": None if filter is None else parse_filter(filter),
        }  # fmt: skip
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        return _answer(searcher, caller, pipeline, query, given, rerank)

    return routes


def _refuse_unknown(request: Request) -> None:
    """Raises Refusal 422 for a parameter of the address that a search has not: one misspelt would be left out."""
    if not request.query_params.keys() <= SearchRequest.model_fields.keys():
        raise Refusal(422, f"A parameter is none of {', '.join(SearchRequest.model_fields)}.", "extra_forbidden")


def _answer(
    searcher: Searcher, caller: Caller, pipeline: str, query: str, given: dict[str, Any], rerank: str | None
) -> Response:
    options = cast("SearchOptions", given)
    if rerank is None:
        hits = searcher.search(caller, pipeline, query, options)
    else:
        hits = searcher.search_reranked(caller, pipeline, query, options, rerank)
    return Response(hits_as_json(hits), media_type="application/json")


def hits_as_json(hits: Hits) -> str:
    """Returns the hits as JSON; a similarity that is no number, of a vector of length 0, as null."""
    found = [{name: None if value != value else value for name, value in _members(hit)} for hit in hits]
    return json.dumps({"hits": found, "notices": hits.notices}, separators=(",", ":"))


def _members(hit: Hit) -> list[tuple[str, Any]]:
    return [(field.name, getattr(hit, field.name)) for field in fields(hit)]

"""`/api/v1/search`: one search in SQL, as the role of the caller's token."""

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import API, FUNCTIONS
from pgembedd.http.routes.bodies import StrictModel
from pgembedd.http.searches import parse_filter
from pgembedd.search.fields import Name, option_fields
from pgembedd.search.hits import Hit, Hits
from pgembedd.search.options import SearchOptions
from pgembedd.settings import limits

_ERRORS = responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504)


class PipelineQuery(StrictModel):
    """A query to a pipeline."""

    pipeline: Name = Field(description="The name of a pipeline.")
    query: str = Field(max_length=limits.QUERY, description="Some words.")


if TYPE_CHECKING:
    SearchRequest = PipelineQuery
else:
    SearchRequest = create_model(
        "SearchRequest",
        __base__=PipelineQuery,
        __doc__="The arguments of pgembedd.search() in SQL; those left out have its defaults.",
        **option_fields(SearchOptions),
    )


class SearchAddress(SearchRequest):
    """The same in an address, where all is text."""

    model_config = ConfigDict(strict=False)

    query: str = Field(max_length=limits.IN_ADDRESS, description="Some words.")
    filter: str | None = Field(default=None, max_length=limits.IN_ADDRESS, description="As in the body, as JSON.")


class SearchAnswer(BaseModel):
    """The hits, best first, and sentences about the search."""

    hits: list[Hit]
    notices: list[str] = Field(description="For example how many jobs wait in the backfill.")


def router(service: ServiceContext) -> APIRouter:
    """POST and GET /api/v1/search, POST /functions/v1/search."""
    routes = APIRouter(tags=["search"])
    allowed = service.authenticator.require("search")
    answers: dict[int | str, Any] = {200: {"model": SearchAnswer}, **_ERRORS}

    @routes.post(f"{FUNCTIONS}/search", responses=answers)
    @routes.post(f"{API}/search", responses=answers)
    def search(asked: SearchRequest, caller: Caller = allowed) -> Response:
        """The best rows or chunks for a query, as the role of the token may see them."""
        return _answer(service.searches(caller).search(**asked.model_dump(exclude_unset=True)))

    @routes.get(f"{API}/search", responses=answers, dependencies=[Depends(_refuse_unknown)])
    def search_by_address(asked: Annotated[SearchAddress, Query()], caller: Caller = allowed) -> Response:
        """The same with the arguments in the address, which logs may keep."""
        given = asked.model_dump(exclude_unset=True)
        if asked.filter is not None:
            given["filter"] = parse_filter(asked.filter)
        return _answer(service.searches(caller).search(**given))

    return routes


def _refuse_unknown(request: Request) -> None:
    """Raises Refusal 422 for a parameter of the address that a search has not: one misspelt would be left out."""
    if not request.query_params.keys() <= SearchAddress.model_fields.keys():
        raise Refusal(422, f"A parameter is none of {', '.join(SearchAddress.model_fields)}.", "wrong_shape")


def _answer(hits: Hits) -> Response:
    return Response(hits_as_json(hits), media_type="application/json")


def hits_as_json(hits: Hits) -> str:
    """Returns the hits as JSON; a similarity that is no number, of a vector of length 0, as null."""
    found = [{name: None if value != value else value for name, value in _members(hit)} for hit in hits]
    return json.dumps({"hits": found, "notices": hits.notices}, separators=(",", ":"))


def _members(hit: Hit) -> list[tuple[str, Any]]:
    return [(field.name, getattr(hit, field.name)) for field in fields(hit)]

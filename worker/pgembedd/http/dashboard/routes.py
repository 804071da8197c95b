"""The page at `/`: pipelines, their last hour, dead letters with a retry, search, chat. Rendered here; no script."""

from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import RedirectResponse, Response

from pgembedd.database.queries import query
from pgembedd.http.auth.origin import require_own_origin
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard import queries, search_hits
from pgembedd.http.dashboard.chat import add_chat
from pgembedd.http.dashboard.forms import form_fields
from pgembedd.http.dashboard.render import PageRoute, Renderer, asset
from pgembedd.http.errors.refusals import Refusal, own_refusal
from pgembedd.http.searches import parse_filter
from pgembedd.search.fields import Name
from pgembedd.search.hits import Pipeline
from pgembedd.search.options import MODES, SearchOptions

PIPELINES_PER_PAGE = 40
LIMITS = (5, 10, 20, 50)
MAX_PAGE = 2000  # of the dead letters

Fields = Annotated[dict[str, str], Depends(form_fields)]
PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def router(service: ServiceContext) -> APIRouter:
    """The page's routes. Not part of the interface for programs, so not in the OpenAPI document."""
    renderer = Renderer()
    routes = APIRouter(include_in_schema=False, route_class=PageRoute.of(renderer))
    admin = service.authenticator.require("admin")
    _add_views(routes, service, renderer, [admin])
    _add_forms(routes, service, renderer, [admin, require_own_origin()])
    add_chat(routes, service, renderer)
    for name, kind in (("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        routes.add_api_route(f"/{name}", asset(name, kind), methods=["GET"])
    return routes


def _add_views(routes: APIRouter, service: ServiceContext, renderer: Renderer, checks: list[Any]) -> None:
    @routes.get("/", dependencies=checks)
    def overview(page: PageNumber = 1, retried: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None) -> Response:
        with queries.connection_for_page(service) as connection:
            statuses = queries.statuses(connection)
            curves = queries.history(connection)
            reasons = queries.reasons(connection)
            workers = (connection.execute(query("doctor_workers")).fetchone() or [0])[0]
        pages = max(ceil(len(statuses) / PIPELINES_PER_PAGE), 1)
        shown = statuses[(min(page, pages) - 1) * PIPELINES_PER_PAGE :][:PIPELINES_PER_PAGE]
        values = {"statuses": statuses, "shown": shown, "page": min(page, pages), "pages": pages, "curves": curves}
        values |= {"reasons": reasons, "workers": workers, "retried": retried, "now": datetime.now(UTC)}
        names = sorted(status.pipeline for status in statuses if status.model is not None)  # else it parses files
        return renderer.page("overview.html", values | _search_form({name: [] for name in names}))

    @routes.get("/dead-letters", dependencies=checks)
    def dead_letters(pipeline: Name | None = None, reason: Name | None = None, page: PageNumber = 1) -> Response:
        if "\0" in f"{pipeline}{reason}":
            raise Refusal(400, "The address of this page cannot be read.")
        with queries.connection_for_page(service) as connection:
            found, more = queries.dead_letters(connection, pipeline, reason, page)
        values = {"dead_letters": found, "more": more and page < MAX_PAGE, "page": page, "now": datetime.now(UTC)}
        values |= {"pipeline": pipeline, "reason": reason}
        return renderer.page("dead_letters.html", values)

    searches = search_hits.page_searches(service)

    @routes.get("/search", dependencies=checks)
    def empty_search() -> Response:
        return renderer.page("search.html", _search_form(_columns(searches.pipelines())))

    # The page of a search is reloaded by its address, too.
    @routes.get("/hits", dependencies=checks)
    def empty_hits() -> Response:
        return RedirectResponse("/search", 303)


def _add_forms(routes: APIRouter, service: ServiceContext, renderer: Renderer, checks: list[Any]) -> None:
    @routes.post("/retry", dependencies=checks)
    def retry(fields: Fields) -> Response:
        if not fields.keys() <= {"pipeline", "reason"}:  # a form without fields retries all
            raise Refusal(400, "The form cannot be read.")
        with queries.connection_for_page(service) as connection:
            jobs = queries.retry_dead_letters(connection, fields.get("pipeline") or None, fields.get("reason") or None)
        return RedirectResponse(f"/?retried={jobs}", 303)

    searches = search_hits.page_searches(service)

    # By POST: the text of a search belongs into no log of addresses.
    @routes.post("/hits", dependencies=checks)
    def search(fields: Fields) -> Response:
        pipelines = searches.pipelines()
        form = _search_form(_columns(pipelines), fields)
        try:
            where = search_hits.chosen(searches, pipelines, fields.get("pipeline", ""))
            limit, text, options = _limit(fields.get("limit", "")), fields.get("text", ""), _options(fields)
            hits = search_hits.find(searches, where, text, limit, options)
        except Exception as error:
            refusal = own_refusal(error)
            return renderer.page("search.html", form | {"refusal": refusal}, refusal.status)
        values = {"found": search_hits.grouped(hits, where, limit), "where": where, "notices": hits.notices}
        values |= {"statement": search_hits.as_sql(where, text, options, limit), "marked": search_hits.marked}
        return renderer.page("search.html", form | values)


def _columns(pipelines: list[Pipeline]) -> dict[str, list[str]]:
    return {one.name: list(one.columns) for one in pipelines}


def _search_form(columns: dict[str, list[str]], fields: dict[str, str] | None = None) -> dict[str, Any]:
    """Returns what the form of a search shows: pipelines with columns, and the fields sent before, or empty ones."""
    given = fields or {}
    asked = {name: given.get(name, "") for name in ("pipeline", "text", "limit", "mode", "filter")}
    return {"pipelines": columns, "limits": LIMITS, "modes": MODES, "asked": asked}


def _limit(given: str) -> int:
    if given not in map(str, LIMITS):
        raise Refusal(422, f"A search shows {', '.join(map(str, LIMITS))} rows.", "wrong_shape")
    return int(given)


def _options(fields: dict[str, str]) -> SearchOptions:
    options: SearchOptions = {}
    if mode := fields.get("mode"):
        options["mode"] = mode
    if condition := fields.get("filter", "").strip():
        options["filter"] = parse_filter(condition)
    return options

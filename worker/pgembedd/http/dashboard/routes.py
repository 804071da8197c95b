"""The page at `/`: pipelines, their last hour, failures with a retry, and a search. Rendered here; no script at all."""

from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from pgembedd.database.queries import query
from pgembedd.http.auth import Authenticator, refuse_other_pages, refuse_strangers
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard import queries, search_hits
from pgembedd.http.dashboard.csrf import check_form, fields_of
from pgembedd.http.dashboard.render import LoginNeeded, PageRoute, Renderer, asset
from pgembedd.http.errors import Refusal, refusal_of
from pgembedd.http.sessions import Throttle
from pgembedd.search.semantic import Target

PIPELINES = 40  # on a page
LIMITS = (5, 10, 20, 50)
FURTHEST = 2000  # pages of failures

Fields = Annotated[dict[str, str], Depends(fields_of)]
PageNumber = Annotated[int, Query(ge=1, le=FURTHEST)]


def router(service: ServiceContext) -> APIRouter:
    """Everything that a browser shows. Not part of the interface for programs, so not in its document."""
    renderer = Renderer(service.authenticator)
    routes = APIRouter(include_in_schema=False, route_class=PageRoute.of(renderer))
    guarded = [Depends(admits(service.authenticator))]
    _add_looking(routes, service, renderer, guarded)
    _add_acting(routes, service, renderer, guarded)
    _add_login(routes, service.authenticator, renderer)
    for name, kind in (("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        routes.add_api_route(f"/{name}", asset(name, kind), methods=["GET"])
    return routes


def admits(authenticator: Authenticator) -> Any:
    """A dependency that lets in who may look after the service. LoginNeeded for strangers; Refusal 403 for others."""

    async def check(request: Request) -> None:
        if authenticator.open:
            refuse_strangers(request)
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        scopes = authenticator.scopes_of(request, given if scheme.casefold() == "bearer" else None)
        if scopes is None:
            raise LoginNeeded
        if "admin" not in scopes:
            raise Refusal(403, "The page needs a token with the scope admin.", "scope_missing")

    return check


def _add_looking(routes: APIRouter, service: ServiceContext, renderer: Renderer, guarded: list[Any]) -> None:
    @routes.get("/", dependencies=guarded)
    def overview(request: Request, page: PageNumber = 1, retried: int | None = None) -> Response:
        with queries.looking(service) as connection:
            statuses = queries.statuses(connection)
            curves = queries.history(connection)
            reasons = queries.reasons(connection)
            workers = (connection.execute(query("doctor_workers")).fetchone() or [0])[0]
        pages = max(ceil(len(statuses) / PIPELINES), 1)
        shown = statuses[(min(page, pages) - 1) * PIPELINES :][:PIPELINES]
        values = {"statuses": statuses, "shown": shown, "page": min(page, pages), "pages": pages, "curves": curves}
        values |= {"reasons": reasons, "workers": workers, "retried": retried, "now": datetime.now(UTC)}
        names = sorted(status.pipeline for status in statuses)
        return renderer.page(request, "overview.html", values | _form(names))

    @routes.get("/failures", dependencies=guarded)
    def failures(
        request: Request, pipeline: str | None = None, reason: str | None = None, page: PageNumber = 1
    ) -> Response:
        if "\0" in f"{pipeline}{reason}":
            raise Refusal(400, "The address of this page cannot be read.")
        with queries.looking(service) as connection:
            found, more = queries.failures(connection, pipeline, reason, page)
        values = {"failures": found, "more": more and page < FURTHEST, "page": page, "now": datetime.now(UTC)}
        values |= {"pipeline": pipeline, "reason": reason}
        return renderer.page(request, "failures.html", values)


def _add_acting(routes: APIRouter, service: ServiceContext, renderer: Renderer, guarded: list[Any]) -> None:
    sessions = service.authenticator.sessions

    @routes.post("/retry", dependencies=guarded)
    def retry(request: Request, fields: Fields) -> Response:
        check_form(sessions, request, fields)
        with queries.looking(service) as connection:
            jobs = queries.retry_failed(connection, fields.get("pipeline") or None, fields.get("reason") or None)
        return RedirectResponse(f"/?retried={jobs}", 303)

    @routes.get("/search", dependencies=guarded)
    def empty(request: Request) -> Response:
        names = [where.name for where in search_hits.searchable(service)]
        return renderer.page(request, "search.html", _form(names))

    # By POST: what people search for belongs into no log of addresses, and no other page can make us compute.
    @routes.post("/search", dependencies=guarded)
    def search(request: Request, fields: Fields) -> Response:
        check_form(sessions, request, fields)
        wheres = search_hits.searchable(service)
        form = _form([where.name for where in wheres], fields)
        try:
            where, limit = _where(wheres, fields.get("pipeline", "")), _limit(fields.get("limit", ""))
            hits = search_hits.find(service, where, fields.get("text", ""), limit)
        except Exception as error:
            if (refusal := refusal_of(error)) is None:
                raise
            return renderer.page(request, "search.html", form | {"refusal": refusal}, refusal.status)
        return renderer.page(request, "search.html", form | {"hits": hits, "where": where})


def _form(names: list[str], fields: dict[str, str] | None = None) -> dict[str, Any]:
    """What the form of a search shows: what was asked before, or nothing yet."""
    given = fields or {}
    asked = {"pipeline": given.get("pipeline", ""), "text": given.get("text", ""), "limit": given.get("limit", "")}
    return {"names": names, "limits": LIMITS, "asked": asked}


def _where(wheres: list[Target], name: str) -> Target:
    for where in wheres:
        if where.name == name:
            return where
    raise Refusal(404, "There is no pipeline of this name.", "pipeline_not_found")


def _limit(given: str) -> int:
    if given not in map(str, LIMITS):
        raise Refusal(422, f"A search shows {', '.join(map(str, LIMITS))} rows.", "wrong_shape")
    return int(given)


def _add_login(routes: APIRouter, authenticator: Authenticator, renderer: Renderer) -> None:
    throttle = Throttle()

    @routes.get("/login")
    def form(request: Request) -> Response:
        if authenticator.open:
            return RedirectResponse("/", 303)
        return renderer.page(request, "login.html", {})

    @routes.post("/login")
    def login(request: Request, fields: Fields) -> Response:
        refuse_other_pages(request, "Log in on this service's own page.")
        check_form(authenticator.sessions, request, fields)
        address = request.client.host if request.client else ""
        if (wait_s := throttle.wait_s(address)) > 0:
            sentence = f"Too many wrong tokens: try again in {ceil(wait_s)} seconds."
            raise Refusal(429, sentence, retry_after_s=ceil(wait_s))
        scopes = authenticator.scopes_of_token(fields.get("token", "").strip())
        if scopes is None:
            throttle.failed(address)
            return renderer.page(request, "login.html", {"refusal": "This token is not known here."}, 401)
        if "admin" not in scopes:
            return renderer.page(request, "login.html", {"refusal": "This token lacks the scope admin."}, 403)
        response = RedirectResponse("/", 303)
        authenticator.sessions.open(request, response, scopes)
        return response

    @routes.post("/logout")
    def logout(request: Request, fields: Fields) -> Response:
        refuse_other_pages(request, "Log out on this service's own page.")
        check_form(authenticator.sessions, request, fields)
        response = RedirectResponse("/login", 303)
        authenticator.sessions.close(request, response)
        return response

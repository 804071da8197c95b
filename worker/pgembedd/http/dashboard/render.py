"""Renders templates/ to HTML: every value escaped, every response with headers that let a browser do nothing else."""

import hashlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from pgembedd.http.dashboard.sparkline import HEIGHT, WIDTH
from pgembedd.http.errors.refusals import Refusal, own_refusal, refusal_headers
from pgembedd.text.quantities import age, share

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # Not no-referrer: with that a browser hides a form's origin from ourselves, too.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_STATIC = files("pgembedd.http.dashboard") / "static"


class Renderer:
    """Renders pages from templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("pgembedd.http.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._environment.filters |= {"age": age, "share": share, "ago": _ago, "number": "{:,}".format, "utc": _utc}
        self._environment.globals |= {"WIDTH": WIDTH, "HEIGHT": HEIGHT, "style": _version("page.css")}

    def page(self, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
        """Renders the template with these values."""
        return HTMLResponse(self._environment.get_template(template).render(values), status)

    def refused(self, refusal: Refusal) -> Response:
        """Renders a refusal; with 401 the browser asks for a token."""
        page = self.page("error.html", {"refusal": refusal}, refusal.status)
        page.headers.update(refusal_headers(refusal, challenge='Basic realm="pgembedd"'))
        return page


class PageRoute(APIRoute):
    """A route that answers in HTML, also when it refuses."""

    renderer: Renderer

    @classmethod
    def of(cls, renderer: Renderer) -> type["PageRoute"]:
        """Returns the class of the routes that refuse with this renderer."""
        return type("PageRoute", (cls,), {"renderer": renderer})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the handler that FastAPI calls."""
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                response = await handle(request)
            except RequestValidationError:
                response = self.renderer.refused(Refusal(400, "The address of this page cannot be read."))
            except Exception as error:
                response = self.renderer.refused(own_refusal(error))
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle_as_page


def asset(name: str, kind: str) -> Callable[[], Response]:
    """Returns a route for a file of static/. Its address changes with it, so it may be cached for long."""
    content = (_STATIC / name).read_bytes()

    def send() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "public, max-age=604800"})

    return send


def _version(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def _ago(at: datetime, now: datetime) -> str:
    return f"{age(max((now - at).total_seconds(), 0.0))} ago"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

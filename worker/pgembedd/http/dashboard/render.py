"""HTML out of templates/: every value escaped, every answer with headers that let a browser do nothing else."""

import hashlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from pgembedd.http.auth import Authenticator
from pgembedd.http.dashboard.sparkline import HEIGHT, WIDTH
from pgembedd.http.errors import Refusal, headers_of, refusal_of
from pgembedd.text.quantities import age, share

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # Not no-referrer: with that a browser hides a form's origin from ourselves, too.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_STATIC = files("pgembedd.http.dashboard") / "static"


class LoginNeeded(Exception):  # noqa: N818  what to do about it
    """Nobody is logged in."""


class Renderer:
    """Makes pages of templates."""

    def __init__(self, authenticator: Authenticator) -> None:
        """`authenticator` knows who is logged in."""
        self._guard = authenticator
        self._environment = Environment(
            loader=PackageLoader("pgembedd.http.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._environment.filters |= {"age": age, "share": share, "ago": _ago, "number": "{:,}".format, "utc": _utc}
        self._environment.globals |= {"WIDTH": WIDTH, "HEIGHT": HEIGHT, "style": _version("page.css")}

    def page(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
        """The template with these values, and what its forms need."""
        cookies = Response()
        session = self._guard.sessions
        own = {"form_token": session.form_token(request, cookies), "logged_in": session.of(request) is not None}
        page = HTMLResponse(self._environment.get_template(template).render(values | own), status)
        page.raw_headers.extend(header for header in cookies.raw_headers if header[0] == b"set-cookie")
        return page

    def refused(self, request: Request, refusal: Refusal) -> Response:
        """A refusal for people."""
        page = self.page(request, "error.html", {"refusal": refusal}, refusal.status)
        page.headers.update({name: value for name, value in headers_of(refusal).items() if name == "retry-after"})
        return page


class PageRoute(APIRoute):
    """A route that answers in HTML, also when it refuses."""

    renderer: Renderer

    @classmethod
    def of(cls, renderer: Renderer) -> type["PageRoute"]:
        """The class of the routes of this renderer."""
        return type("PageRoute", (cls,), {"renderer": renderer})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What the framework calls."""
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                response = await handle(request)
            except LoginNeeded:
                response = RedirectResponse("/login", 303)
            except RequestValidationError:
                response = self.renderer.refused(request, Refusal(400, "The address of this page cannot be read."))
            except Exception as error:
                if (refusal := refusal_of(error)) is None:
                    raise
                response = self.renderer.refused(request, refusal)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle_for_people


def asset(name: str, kind: str) -> Callable[[], Response]:
    """A route for a file of static/; its address changes with it, so it may be kept for long."""
    content = (_STATIC / name).read_bytes()

    def send() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "public, max-age=604800"})

    return send


def _version(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def _ago(at: datetime, now: datetime) -> str:
    return f"{age(max(now - at, timedelta()))} ago"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

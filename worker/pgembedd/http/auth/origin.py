"""Checks of Host, Origin and Sec-Fetch-Site: a browser must not act here on behalf of another site's page."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from pgembedd.errors import ConfigurationError
from pgembedd.http.errors.refusals import Refusal
from pgembedd.settings.servers import is_loopback

PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")


def require_own_origin(cors_origins: Sequence[str] = ()) -> Any:
    """Returns a route's dependency: Refusal 403 for a request of another site's page, unless it is in `cors_origins`.

    For what changes something: a browser adds the password of HTTP Basic to a form that any page sends.
    """

    async def check(request: Request) -> None:
        if request.headers.get("origin") not in cors_origins and "*" not in cors_origins:
            check_origin(request, "No other web page may do this.")

    return Depends(check)


def check_local(request: Request) -> None:
    """Raises Refusal 403 for a request that does not come from this machine's own programs or the service's own page.

    For a service without tokens. A DNS name that is made to point to 127.0.0.1 shows in Host, another site's page in
    Origin. A proxy on this machine could bring in other machines' requests, so none may have passed one.
    """
    host = requested_host(request)
    if host is None or not is_loopback(host[0]):
        raise Refusal(
            403,
            "Without a token the service answers only requests to 127.0.0.1 or localhost: set PGEMBEDD_HTTP_TOKEN.",
            "host_not_allowed",
        )
    if any(name in request.headers for name in PROXY_HEADERS):
        raise Refusal(
            403, "Without a token the service answers no proxy: set PGEMBEDD_HTTP_TOKEN.", "proxy_not_allowed"
        )
    check_origin(request, "Without a token no other web page may call the service.")


def check_origin(request: Request, sentence: str) -> None:
    """Raises Refusal 403, with this sentence, for what a browser sends on behalf of another site's page."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if (origin is not None and not _is_own(origin, request)) or site in ("cross-site", "same-site"):
        raise Refusal(403, sentence, "origin_not_allowed")


def _is_own(origin: str, request: Request) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:  # not a port number
        return False
    return parts.hostname is not None and (parts.hostname, port) == requested_host(request)


def requested_host(request: Request) -> tuple[str, int | None] | None:
    """Returns the name and port of the header Host, None where it is not exactly one name."""
    found = _HOST.fullmatch(request.headers.get("host", ""))
    if found is None:
        return None
    name, port = found[1].strip("[]").lower(), found[2]
    return name, int(port) if port else None


def parse_origins(listed: str) -> list[str]:
    """Returns the origins of PGEMBEDD_HTTP_CORS_ORIGINS. ConfigurationError for text that no browser sends as one."""
    origins = [origin.strip() for origin in listed.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"{origin!r} of PGEMBEDD_HTTP_CORS_ORIGINS is no origin: write https://app.example, without a path."
            )
    return origins

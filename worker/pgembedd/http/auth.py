"""Who may do what: bearer tokens with scopes, and what is refused where there are none."""

import hashlib
import hmac
import ipaddress
import re
import shlex
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pgembedd.errors import ConfigurationError
from pgembedd.http.errors import Refusal
from pgembedd.http.sessions import Sessions
from pgembedd.log import get_logger
from pgembedd.settings import HttpSettings, read_secret

Scope = Literal["embed", "jobs", "admin"]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
SHORTEST = 16  # characters of a token
FREE = frozenset({"/livez", "/readyz", "/startupz", "/openapi.json", "/login"})  # nobody needs a token for these
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?")
_BEARER = HTTPBearer(auto_error=False, description="A token of PGEMBEDD_HTTP_TOKEN or PGEMBEDD_HTTP_TOKEN_FILE.")


@dataclass(frozen=True, slots=True)
class Token:
    """What a bearer of it may do; only a digest is kept."""

    digest: bytes
    scopes: frozenset[str]


class Authenticator:
    """Checks every request that is not about health."""

    def __init__(self, tokens: Sequence[Token], host: str) -> None:
        """Without tokens everything is allowed to this machine; ConfigurationError when others could reach `host`."""
        self._tokens = tuple(tokens)
        self.sessions = Sessions()
        if not tokens and not is_loopback(host):
            raise ConfigurationError(
                f"The service would listen on {host}, where other machines reach it, so it needs a token: set "
                "PGEMBEDD_HTTP_TOKEN or PGEMBEDD_HTTP_TOKEN_FILE (openssl rand -hex 32), or listen on 127.0.0.1."
            )

    @property
    def open(self) -> bool:
        """Whether there are no tokens."""
        return not self._tokens

    def scopes_of_token(self, given: str) -> frozenset[str] | None:
        """What this token allows, None for a wrong one. Takes as long for a wrong one as for a right one."""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found: frozenset[str] | None = None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.digest):
                found = token.scopes
        return found

    def scopes_of(self, request: Request, given: str | None) -> frozenset[str] | None:
        """What a request may do by its token, or by its session's cookie; None for strangers.

        Refusal 403 when another page's form or script would use the cookie: one at another port is of the same site.
        """
        if given is not None:
            return self.scopes_of_token(given)
        scopes = self.sessions.scopes_of(request)
        if scopes is not None and request.method not in ("GET", "HEAD"):
            refuse_other_pages(request, "No other web page may use this login.")
        return scopes

    def knows(self, request: Request) -> bool:
        """Whether this is somebody whose body is worth reading; what they may do is for the route to say."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            if not self.open:
                return self.scopes_of(request, given.strip() if scheme.casefold() == "bearer" else None) is not None
            refuse_strangers(request)
        except Refusal:
            return False
        return True

    def needs(self, scope: Scope) -> Any:
        """A route's dependency: Refusal 401 or 403 for those who may not."""

        async def check(
            request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
        ) -> None:
            self.check(request, bearer.credentials if bearer else None, scope)

        return Depends(check)

    def check(self, request: Request, given: str | None, scope: Scope) -> None:
        """Refusal 401 or 403 unless this request may do what `scope` names."""
        if self.open:
            refuse_strangers(request)
            return
        scopes = self.scopes_of(request, given)
        if scopes is None:
            raise Refusal(
                401,
                "This token is not known here." if given else "Send the header `Authorization: Bearer <token>`.",
                "invalid_api_key",
            )
        if scope not in scopes:
            raise Refusal(403, f"This token may not do this: it needs the scope {scope}.", "scope_missing")


def refuse_strangers(request: Request) -> None:
    """Without tokens a web page that somebody has open must not get at the service through their browser.

    A name that is made to point to 127.0.0.1 shows in Host, a form or script of another page in Origin. Nor may a
    proxy bring in others: it speaks from this machine, and may well name 127.0.0.1 as the host.
    """
    host = host_of(request)
    if host is None or not is_loopback(host[0]):
        raise Refusal(
            403,
            "Without a token the service answers only requests to 127.0.0.1 or localhost: set PGEMBEDD_HTTP_TOKEN.",
            "host_not_allowed",
        )
    if any(name in request.headers for name in FORWARDED):
        raise Refusal(
            403, "Without a token the service answers no proxy: set PGEMBEDD_HTTP_TOKEN.", "proxy_not_allowed"
        )
    refuse_other_pages(request, "Without a token no other web page may call the service.")


def refuse_other_pages(request: Request, sentence: str) -> None:
    """Refusal 403 for what a browser sends on behalf of a page that is not ours."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if (origin is not None and not _same(origin, request)) or site in ("cross-site", "same-site"):
        raise Refusal(403, sentence, "origin_not_allowed")


def _same(origin: str, request: Request) -> bool:
    try:
        theirs = urlsplit(origin)
        port = theirs.port
    except ValueError:  # a port that is none
        return False
    return theirs.hostname is not None and (theirs.hostname, port) == host_of(request)


def host_of(request: Request) -> tuple[str, int | None] | None:
    """Name and port that the client called, None where the header does not say one name clearly."""
    found = _HOST.fullmatch(request.headers.get("host", ""))
    if found is None:
        return None
    name, port = found[1].strip("[]").lower(), found[2]
    return name, int(port) if port else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can mean itself by it."""
    if host.rstrip(".").casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def tokens_of(settings: HttpSettings) -> list[Token]:
    """The tokens of the settings. ConfigurationError for a file that says what cannot be meant."""
    tokens = [_token(settings.http_token, SCOPES, "PGEMBEDD_HTTP_TOKEN")] if settings.http_token else []
    if settings.http_token_file:
        _warn_if_readable(Path(settings.http_token_file))
        lines = read_secret(settings.http_token_file, "PGEMBEDD_HTTP_TOKEN_FILE").splitlines()
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                tokens.append(_parse(line, f"line {number} of {settings.http_token_file}"))
        if not tokens:
            raise ConfigurationError(f"The file {settings.http_token_file} names no token, only comments.")
    return tokens


def _warn_if_readable(path: Path) -> None:
    with suppress(OSError):  # reading it says what is wrong
        if path.stat().st_mode & stat.S_IROTH:
            get_logger().warning("token_file_readable", path=str(path), remedy=f"chmod o-r {shlex.quote(str(path))}")


def _parse(line: str, where: str) -> Token:
    secret, *words = line.replace(",", " ").split()
    if unknown := sorted(set(words) - SCOPES):
        raise ConfigurationError(f"There is no scope {unknown[0]!r} ({where}); there are embed, jobs and admin.")
    return _token(secret, frozenset(words) or SCOPES, where)


def _token(secret: str, scopes: frozenset[str], where: str) -> Token:
    if len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            f"A token must be {SHORTEST} or more letters, digits and signs ({where}): openssl rand -hex 32 makes one."
        )
    return Token(hashlib.sha256(secret.encode()).digest(), scopes)

"""Tokens and their scopes: sent as a bearer token by programs, as the password of HTTP Basic by a browser."""

import base64
import binascii
import hashlib
import hmac
import shlex
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pgembedd.errors import ConfigurationError
from pgembedd.http.errors import Refusal
from pgembedd.http.origin import check_local, is_loopback
from pgembedd.http.throttle import Throttle
from pgembedd.log import get_logger
from pgembedd.settings import HttpSettings, read_secret

Scope = Literal["embed", "jobs", "admin"]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
MIN_TOKEN_CHARACTERS = 16
PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/openapi.json"})
PAGE_PATHS = frozenset({"/", "/failures", "/retry", "/search"})
"""Only here HTTP Basic is accepted: a browser repeats the password by itself, so programs' paths must not take it."""

_BEARER = HTTPBearer(auto_error=False, description="A token of PGEMBEDD_HTTP_TOKEN or PGEMBEDD_HTTP_TOKEN_FILE.")


@dataclass(frozen=True, slots=True)
class Token:
    """The digest of a token, and its scopes."""

    digest: bytes
    scopes: frozenset[str]


class Authenticator:
    """Checks the token and the scope of every request that is not about health."""

    def __init__(self, tokens: Sequence[Token], host: str) -> None:
        """Without tokens everything is allowed to this machine; ConfigurationError when others could reach `host`."""
        self._tokens = tuple(tokens)
        # Apart: a program with a wrong token keeps no one from the page.
        self._passwords, self._bearers = Throttle(), Throttle()
        if not tokens and not is_loopback(host):
            raise ConfigurationError(
                f"The service would listen on {host}, where other machines reach it, so it needs a token: set "
                "PGEMBEDD_HTTP_TOKEN or PGEMBEDD_HTTP_TOKEN_FILE (openssl rand -hex 32), or listen on 127.0.0.1."
            )

    @property
    def has_tokens(self) -> bool:
        """False for a service that is open to this machine."""
        return bool(self._tokens)

    def may_send_body(self, request: Request) -> bool:
        """Returns true for a request with a valid token, of any scope, or a local one where no token is needed."""
        try:
            if self.has_tokens:
                return self._scopes(request) is not None
            check_local(request)
        except Refusal:
            return False
        return True

    def require(self, scope: Scope) -> Any:
        """Returns a route's dependency: Refusal 401 or 403 for a request without this scope."""

        async def check(
            request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
        ) -> None:
            self.check(request, scope)

        return Depends(check)

    def check(self, request: Request, scope: Scope) -> None:
        """Raises Refusal 401, 403 or 429 unless the request's token has this scope."""
        if not self.has_tokens:
            check_local(request)
            return
        scopes = self._scopes(request)
        if scopes is None:
            raise self._unauthorized(request)
        if scope not in scopes:
            raise Refusal(403, f"This token may not do this: it needs the scope {scope}.", "scope_missing")

    def _scopes(self, request: Request) -> frozenset[str] | None:
        """Returns the scopes of the request's token, None without a valid one. Refusal 429 for an address to wait.

        A right bearer token is never made to wait: programs behind one address do not lock each other out.
        """
        if (password := _password(request)) is None:
            given = _bearer_token(request)
            scopes = self._scopes_of(given)
            if scopes is None and given:
                _refuse_throttled(self._bearers, request)
            return scopes
        _refuse_throttled(self._passwords, request)
        return self._scopes_of(password)

    def _scopes_of(self, given: str) -> frozenset[str] | None:
        """Returns None for a wrong token, after as long as for a right one."""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found: frozenset[str] | None = None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.digest):
                found = token.scopes
        return found

    def _unauthorized(self, request: Request) -> Refusal:
        if _password(request) is not None:
            self._passwords.record_failure(_address(request))
        elif _bearer_token(request):
            self._bearers.record_failure(_address(request))
        else:
            on_page = request.scope["path"] in PAGE_PATHS
            return Refusal(
                401,
                "Log in with a token of the scope admin as the password; any user name will do."
                if on_page
                else "Send the header `Authorization: Bearer <token>`.",
                "invalid_api_key",
            )
        return Refusal(401, "This token is not known here.", "invalid_api_key")


def _refuse_throttled(throttle: Throttle, request: Request) -> None:
    if (wait_s := throttle.wait_s(_address(request))) > 0:
        sentence = f"Too many wrong tokens: try again in {ceil(wait_s)} seconds."
        raise Refusal(429, sentence, retry_after_s=ceil(wait_s))


def _bearer_token(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.casefold() == "bearer" else ""


def _password(request: Request) -> str | None:
    """Returns the password of HTTP Basic where it is accepted, "" for one that cannot be decoded."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "basic" or request.scope["path"] not in PAGE_PATHS:
        return None
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2].strip()
    except (binascii.Error, ValueError):
        return ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def load_tokens(settings: HttpSettings) -> list[Token]:
    """Returns the tokens of the settings. ConfigurationError for a token or a file that is not well formed."""
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
    if len(secret) < MIN_TOKEN_CHARACTERS or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            f"A token must be {MIN_TOKEN_CHARACTERS} or more letters, digits and signs ({where}): "
            "openssl rand -hex 32 makes one."
        )
    return Token(hashlib.sha256(secret.encode()).digest(), scopes)

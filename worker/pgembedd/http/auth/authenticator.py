"""Tokens and their scopes: sent as a bearer token by programs, as the password of HTTP Basic by a browser."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pgembedd.errors import ConfigurationError
from pgembedd.http.auth.origin import check_local
from pgembedd.http.auth.throttle import Throttle
from pgembedd.http.auth.tokens import SCOPES, Caller, Scope, Token
from pgembedd.http.auth.user_tokens import UserTokens
from pgembedd.http.errors.refusals import Refusal
from pgembedd.settings.servers import is_loopback
from pgembedd.text.quantities import counted

PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/openapi.json"})
PAGE_PATHS = frozenset({"/", "/dead-letters", "/retry", "/search", "/hits", "/chat"})
"""Only here HTTP Basic is accepted: a browser repeats the password by itself, so programs' paths must not take it."""

_BEARER = HTTPBearer(auto_error=False, description="A token; the header `apikey` takes one, too.")


def is_page(request: Request) -> bool:
    """Tells that the request is of the page, for a person with a browser."""
    path = request.scope["path"]
    return path in PAGE_PATHS or path.startswith("/chat/")


USER_SCOPES: frozenset[Scope] = frozenset({"search", "answers"})


class Authenticator:
    """Checks the token and the scope of every request that is not about health."""

    def __init__(
        self, tokens: Sequence[Token], host: str, users: UserTokens | None = None, search_url: str = ""
    ) -> None:
        """Without tokens everything is allowed to this machine; ConfigurationError when others could reach `host`.

        `users` verifies JWTs, and `search_url` is the role that they, and requests without a token, search as.
        """
        self._tokens, self._users = tuple(tokens), users
        self._local = Caller(SCOPES, search_url)
        # Apart: a program with a wrong token keeps no one from the page.
        self._passwords, self._bearers = Throttle(), Throttle()
        if not self.has_tokens and not is_loopback(host):
            raise ConfigurationError(
                f"The service would listen on {host}, where other machines reach it, so it needs a token: set "
                "PGEMBEDD_HTTP_TOKEN or PGEMBEDD_HTTP_TOKENS_FILE (openssl rand -hex 32), or listen on 127.0.0.1."
            )

    @property
    def has_tokens(self) -> bool:
        """False for a service that is open to this machine."""
        return bool(self._tokens) or self._users is not None

    @property
    def has_search_role(self) -> bool:
        """False where no caller could search, for want of a role."""
        return any(caller.search_url for caller in (self._local, *(token.caller for token in self._tokens)))

    def may_send_body(self, request: Request) -> bool:
        """Returns true for a request with a valid token, of any scope, or a local one where no token is needed."""
        try:
            if self.has_tokens:
                return self._caller(request) is not None
            check_local(request)
        except Refusal:
            return False
        return True

    def require(self, *scopes: Scope) -> Any:
        """Returns a route's dependency, a Caller: Refusal 401 or 403 for a request with none of these scopes."""

        async def check(
            request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
        ) -> Caller:
            return self.check(request, *scopes)

        return Depends(check)

    def check(self, request: Request, *scopes: Scope) -> Caller:
        """Returns the caller. Refusal 401, 403 or 429 unless the request's token has one of these scopes."""
        if not self.has_tokens:
            check_local(request)
            return self._local
        caller = self._caller(request)
        if caller is None:
            raise self._unauthorized(request)
        require_scope(caller, *scopes)
        return caller

    def _caller(self, request: Request) -> Caller | None:
        """Returns whose token the request has, None without a valid one. Refusal 429 for an address to wait.

        A right bearer token is never made to wait: programs behind one address do not lock each other out.
        """
        if (password := _password(request)) is None:
            given = _bearer_token(request)
            caller = self._caller_of(given) or self._user_of(given, request.headers.get("apikey", "").strip())
            if caller is None and given:
                _refuse_throttled(self._bearers, request)
            return caller
        _refuse_throttled(self._passwords, request)
        return self._caller_of(password)

    def _caller_of(self, given: str) -> Caller | None:
        """Returns None for a wrong token, after as long as for a right one."""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.digest):
                found = token.caller
        return found

    def _user_of(self, given: str, apikey: str) -> Caller | None:
        """Returns the caller of a verified JWT, who may search and ask, and what the project's key allows besides.

        supabase-js sends both for a user who is signed in. Where no JWT is verified here, the key alone counts.
        """
        project = self._caller_of(apikey)
        if self._users is None:
            return project
        claims = self._users.claims(given) if given else None
        if claims is None:
            return None
        scopes = USER_SCOPES | (project.scopes - {"admin"} if project is not None else frozenset())
        return Caller(scopes, self._local.search_url, claims)

    def _unauthorized(self, request: Request) -> Refusal:
        if _password(request) is not None:
            self._passwords.record_failure(_address(request))
        elif _bearer_token(request):
            self._bearers.record_failure(_address(request))
        else:
            on_page = is_page(request)
            return Refusal(
                401,
                "Log in with a token of the scope admin as the password; any user name will do."
                if on_page
                else "Send the header `Authorization: Bearer <token>`, with the word Bearer before the token.",
                "invalid_api_key",
            )
        return Refusal(401, "This token is not known here.", "invalid_api_key")


def require_scope(caller: Caller, *scopes: Scope) -> None:
    """Raises Refusal 403 for a caller with none of these scopes."""
    if caller.scopes.isdisjoint(scopes):
        needed = " or ".join(scopes)
        raise Refusal(403, f"This token may not do this: it needs the scope {needed}.", "scope_missing")


def _refuse_throttled(throttle: Throttle, request: Request) -> None:
    if (wait_s := throttle.wait_s(_address(request))) > 0:
        sentence = f"Too many wrong tokens: try again in {counted(ceil(wait_s), 'second')}."
        raise Refusal(429, sentence, retry_after_s=ceil(wait_s))


def _bearer_token(request: Request) -> str:
    """Returns the token of the header authorization, else that of apikey, as supabase-js sends it."""
    given = request.headers.get("authorization")
    if given is None:
        return request.headers.get("apikey", "").strip()
    scheme, _, token = given.partition(" ")
    return token.strip() if scheme.casefold() == "bearer" else ""


def _password(request: Request) -> str | None:
    """Returns the password of HTTP Basic where it is accepted, "" for one that cannot be decoded."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "basic" or not is_page(request):
        return None
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2].strip()
    except (binascii.Error, ValueError):
        return ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""

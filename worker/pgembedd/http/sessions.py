"""Who has logged in with a browser, which cannot send a bearer token: cookies, and what a form has to bring along.

A session is a random id in a cookie and an entry in this process's memory, so it ends with the process, too.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request, Response

LIFETIME_S = 12 * 3600
MOST_SESSIONS = 1000
FAILURES, PER_S = 5, 60.0  # wrong tokens from an address in so many seconds
MOST_ADDRESSES = 1000
_SESSION, _FORM = "pgembedd_session", "pgembedd_form"


@dataclass(frozen=True, slots=True)
class Session:
    """What the bearer of a cookie may do, until when on the monotonic clock, and what their forms must hold."""

    scopes: frozenset[str]
    form_token: str
    until: float


class Sessions:
    """The sessions of this process. Every method is one step under the interpreter's lock, so any thread may call."""

    def __init__(self, *, lifetime_s: float = LIFETIME_S, now: Callable[[], float] = time.monotonic) -> None:
        """Nobody is logged in; `now` is the clock that sessions end by."""
        self._lifetime_s, self._now = lifetime_s, now
        self._key = secrets.token_bytes(32)
        self._open: dict[bytes, Session] = {}

    def open(self, request: Request, response: Response, scopes: frozenset[str]) -> None:
        """Log in: a new session, whatever the browser had before."""
        self._open.pop(_digest(request.cookies.get(_name(request, _SESSION), "")), None)
        name = secrets.token_urlsafe(32)
        while len(self._open) >= MOST_SESSIONS:
            self._open.pop(next(iter(self._open)), None)  # the oldest
        self._open[_digest(name)] = Session(scopes, secrets.token_urlsafe(32), self._now() + self._lifetime_s)
        _set_cookie(request, response, _SESSION, name)

    def close(self, request: Request, response: Response) -> None:
        """Log out."""
        self._open.pop(_digest(request.cookies.get(_name(request, _SESSION), "")), None)
        _set_cookie(request, response, _SESSION, "", lifetime_s=0)

    def of(self, request: Request) -> Session | None:
        """The session that the request's cookie names, None when it is over or was never there."""
        key = _digest(request.cookies.get(_name(request, _SESSION), ""))
        found = self._open.get(key)
        if found is not None and found.until <= self._now():
            self._open.pop(key, None)
            return None
        return found

    def scopes_of(self, request: Request) -> frozenset[str] | None:
        """What the request may do by its cookie, None without a session."""
        session = self.of(request)
        return None if session is None else session.scopes

    def form_token(self, request: Request, response: Response) -> str:
        """What a form of ours holds; where there is no session, it belongs to a cookie that is set here."""
        if (session := self.of(request)) is not None:
            return session.form_token
        cookie = request.cookies.get(_name(request, _FORM), "")
        if not cookie:
            cookie = secrets.token_urlsafe(32)
            _set_cookie(request, response, _FORM, cookie)
        return self._derived(cookie)

    def is_ours(self, request: Request, form_token: str) -> bool:
        """Whether a form with this token was made for the browser that sends it."""
        session, cookie = self.of(request), request.cookies.get(_name(request, _FORM), "")
        if session is None and not cookie:
            return False
        wanted = self._derived(cookie) if session is None else session.form_token
        return hmac.compare_digest(wanted.encode(), form_token.encode())

    def _derived(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()


class Throttle:
    """Slows down whoever tries tokens out."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Nobody has failed yet."""
        self._now = now
        self._failures: dict[str, list[float]] = {}

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 at once."""
        recent = self._recent(address)
        return recent[-FAILURES] + PER_S - self._now() if len(recent) >= FAILURES else 0.0

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        recent = self._recent(address)
        while len(self._failures) >= MOST_ADDRESSES and address not in self._failures:
            self._failures.pop(next(iter(self._failures)), None)
        self._failures[address] = [*recent, self._now()][-FAILURES:]

    def _recent(self, address: str) -> list[float]:
        return [at for at in self._failures.get(address, []) if at > self._now() - PER_S]


def _digest(name: str) -> bytes:
    """Sessions are looked up by this, so how long a look takes says nothing about the names there are."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _name(request: Request, name: str) -> str:
    """Under the prefix no other host of the domain can set the cookie; browsers take it over HTTPS only."""
    return f"__Host-{name}" if request.url.scheme == "https" else name


def _set_cookie(request: Request, response: Response, name: str, value: str, lifetime_s: int | None = None) -> None:
    response.set_cookie(
        _name(request, name),
        value,
        max_age=lifetime_s,  # None: until the browser is closed
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )

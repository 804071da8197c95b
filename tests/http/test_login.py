"""Logging in with a browser: a cookie instead of a token, and what it may be used for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import Request, Response

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.http.sessions import FAILURES, MOST_SESSIONS, PER_S, Sessions, Throttle
from pgembedd.model import Session
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.page import Visitor, text_of

ADMIN = frozenset({"admin"})


@pytest.fixture(scope="module")
def address(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.URL]:
    path = tmp_path_factory.mktemp("tokens") / "tokens of mine"
    path.write_text("only-for-embedding-01 embed\n")
    with (
        fresh_database(server, template.name) as database,
        serving(only(model), database.conninfo, http_token=TOKEN, http_token_file=str(path)) as client,
    ):
        yield client.base_url


@pytest.fixture
def visitor(address: httpx.URL) -> Iterator[Visitor]:
    with Visitor(address) as visitor:
        yield visitor


def test_strangers_are_sent_to_the_login(visitor: Visitor) -> None:
    for path in ("/", "/failures", "/search"):
        page = visitor.get(path)
        assert (page.status_code, page.headers["location"]) == (303, "/login")
    for path in ("/retry", "/search"):
        assert visitor.post(path, before="/login").headers["location"] == "/login"
    assert visitor.get("/api/status").status_code == 401


def test_the_right_token_logs_in_and_out(visitor: Visitor) -> None:
    answer = visitor.login(TOKEN)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert cookie.startswith("pgembedd_session=")
    assert "; HttpOnly; Path=/; SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "There is no pipeline yet." in text_of(visitor.get())

    kept = dict(visitor.client.cookies)
    assert visitor.post("/logout").headers["location"] == "/login"
    assert "pgembedd_session" not in visitor.client.cookies
    visitor.client.cookies.update(kept)
    assert visitor.get().status_code == 303, "a cookie that somebody copied is worth nothing any more"


def test_a_wrong_token_does_not(visitor: Visitor) -> None:
    for token, status, sentence in (
        (TOKEN[:-1], 401, "This token is not known here."),
        ("", 401, "This token is not known here."),
        ("only-for-embedding-01", 403, "This token lacks the scope admin."),
    ):
        page = visitor.login(token)
        assert (page.status_code, sentence in text_of(page)) == (status, True)
        assert not token or token not in page.text
        assert visitor.get().status_code == 303


def test_a_login_that_another_page_sends_is_refused(visitor: Visitor) -> None:
    assert visitor.post("/login", before="/login", headers={"origin": "null"}, token=TOKEN).status_code == 403
    assert visitor.post("/login", form_token="", token=TOKEN).status_code == 403
    assert "pgembedd_session" not in visitor.client.cookies


def test_who_tries_tokens_out_has_to_wait(model: Session) -> None:
    with serving(only(model), http_token=TOKEN) as client, Visitor(client.base_url) as visitor:
        assert [visitor.login("wrong").status_code for _ in range(FAILURES + 1)] == [401] * FAILURES + [429]
        answer = visitor.login(TOKEN)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= PER_S


def test_a_bearer_token_opens_the_page_too(visitor: Visitor) -> None:
    def status(token: str) -> int:
        return visitor.client.get("/", headers={"authorization": f"Bearer {token}"}).status_code

    assert [status(TOKEN), status("only-for-embedding-01"), status("x")] == [200, 403, 303]


def test_a_session_serves_the_other_paths_but_no_other_page(visitor: Visitor) -> None:
    visitor.login(TOKEN)
    assert visitor.get("/api/status").json() == {"pipelines": []}

    def retried(**headers: str) -> int:
        return visitor.client.post("/api/retry", json={}, headers=headers).status_code

    assert retried() == 200
    assert retried(origin=str(visitor.client.base_url).rstrip("/")) == 200
    assert retried(origin="http://localhost:3000") == 403
    assert retried(**{"sec-fetch-site": "same-site"}) == 403


def test_behind_https_cookies_are_for_https_and_this_host_alone(visitor: Visitor) -> None:
    page = visitor.client.get("/login", headers={"x-forwarded-proto": "https"})
    (cookie,) = page.headers.get_list("set-cookie")

    assert cookie.startswith("__Host-pgembedd_form=")
    assert cookie.endswith("; HttpOnly; Path=/; SameSite=strict; Secure")


# -- The parts, with their own clock -------------------------------------------------------------------------


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def request(cookies: dict[str, str]) -> Request:
    header = "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()
    return Request(
        {"type": "http", "scheme": "http", "headers": [(b"cookie", header)], "path": "/", "server": ("x", 80)}
    )


def logged_in(sessions: Sessions, before: dict[str, str] | None = None) -> Request:
    response = Response()
    sessions.open(request(before or {}), response, ADMIN)
    name, _, rest = response.headers["set-cookie"].partition("=")
    return request({name: rest.split(";")[0]})


def test_a_session_ends() -> None:
    clock = Clock()
    sessions = Sessions(lifetime_s=60, now=clock)
    mine = logged_in(sessions)
    clock.now_s += 59
    assert sessions.scopes_of(mine) == ADMIN
    clock.now_s += 1
    assert sessions.scopes_of(mine) is None


def test_sessions_are_bounded_and_the_oldest_goes() -> None:
    sessions = Sessions()
    first, second = logged_in(sessions), logged_in(sessions)
    for _ in range(MOST_SESSIONS - 1):
        logged_in(sessions)
    assert sessions.scopes_of(first) is None
    assert sessions.scopes_of(second) == ADMIN


def test_logging_in_again_ends_the_session_before() -> None:
    sessions = Sessions()
    mine = logged_in(sessions)
    again = logged_in(sessions, mine.cookies)
    assert mine.cookies != again.cookies
    assert sessions.scopes_of(mine) is None
    assert sessions.scopes_of(again) == ADMIN


def test_a_form_belongs_to_one_session() -> None:
    sessions = Sessions()
    mine, theirs, nobody = logged_in(sessions), logged_in(sessions), request({})
    token = sessions.form_token(mine, Response())
    assert sessions.is_ours(mine, token)
    assert not sessions.is_ours(theirs, token)
    assert not sessions.is_ours(nobody, token)
    assert not sessions.is_ours(nobody, "")
    assert not sessions.is_ours(mine, "ä")
    assert not Sessions().is_ours(mine, token)


def test_the_throttle_counts_each_address_for_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(now=clock)
    for _ in range(FAILURES):
        assert throttle.wait_s("a") == 0
        throttle.failed("a")
        clock.now_s += 1
    assert throttle.wait_s("a") == PER_S - FAILURES
    assert throttle.wait_s("b") == 0
    clock.now_s += PER_S - FAILURES
    assert throttle.wait_s("a") == 0

"""HTTP Basic on the page: the token as the password, its scopes, and what other sites' pages may not do with it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.http.auth.throttle import MAX_ADDRESSES, MAX_FAILURES, WINDOW_S, Throttle
from pgembedd.model import Session
from tests.http.page import Visitor, text_of
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving

EMBED_ONLY = "only-for-embedding-01"
PAGES = ("/", "/dead-letters", "/search")
FORMS = ("/retry", "/hits")


@pytest.fixture(scope="module")
def address(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.URL]:
    path = tmp_path_factory.mktemp("tokens") / "tokens of mine"
    path.write_text(f"{EMBED_ONLY} embed\n")
    with (
        fresh_database(server, template.name) as database,
        serving(only(model), database.conninfo, http_token=TOKEN, http_tokens_file=str(path)) as client,
    ):
        yield client.base_url


@pytest.fixture
def visitor(address: httpx.URL) -> Iterator[Visitor]:
    with Visitor(address) as visitor:
        yield visitor


def test_without_a_token_the_browser_is_asked_for_one(visitor: Visitor) -> None:
    answers = [*map(visitor.get, PAGES), *map(visitor.post, FORMS)]

    for answer in answers:
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="pgembedd"')
        assert "Log in with a token of the scope admin" in text_of(answer)
        assert "set-cookie" not in answer.headers
    assert [visitor.get(path).status_code for path in ("/page.css", "/icon.svg")] == [200, 200]


@pytest.mark.parametrize("user", ["", "admin", "käthe"])
def test_the_token_is_the_password_of_any_user(visitor: Visitor, user: str) -> None:
    visitor.log_in(TOKEN, user)

    assert [visitor.get(path).status_code for path in PAGES] == [200] * 3
    assert "There is no pipeline yet." in text_of(visitor.get())
    assert visitor.post("/retry").headers["location"] == "/?retried=0"
    assert "set-cookie" not in visitor.get().headers


@pytest.mark.parametrize("token", [TOKEN[:-1], f"{TOKEN}x"])
def test_a_wrong_token_is_asked_for_again(visitor: Visitor, token: str) -> None:
    visitor.log_in(token)
    page = visitor.get()

    assert (page.status_code, page.headers["www-authenticate"]) == (401, 'Basic realm="pgembedd"')
    assert "This token is not known here." in text_of(page)
    assert token not in page.text


def test_a_token_needs_the_scope_admin(visitor: Visitor) -> None:
    visitor.log_in(EMBED_ONLY)

    for answer in (*map(visitor.get, PAGES), *map(visitor.post, FORMS)):
        assert (answer.status_code, "it needs the scope admin" in text_of(answer)) == (403, True)


def test_a_bearer_token_opens_the_page_too(visitor: Visitor) -> None:
    def status(token: str) -> int:
        return visitor.client.get("/", headers={"authorization": f"Bearer {token}"}).status_code

    assert [status(TOKEN), status(EMBED_ONLY), status("x")] == [200, 403, 401]


def test_the_search_of_programs_takes_no_password(visitor: Visitor) -> None:
    visitor.log_in(TOKEN)
    answer = visitor.client.post("/api/v1/search", json={"pipeline": "documents", "query": "x"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert visitor.get("/hits").headers["location"] == "/search"


@pytest.mark.parametrize(
    "path", ["/api/v1/status", "/api/v1/search", "/embed?input=x", "/api/v1/events", "/metrics", "/v1/models"]
)
def test_programs_paths_take_no_password(visitor: Visitor, path: str) -> None:
    """A browser would send it along with any page's request."""
    visitor.log_in(TOKEN)
    answer = visitor.get(path)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("given", ["", "x", "\xff", "==", "bm8gY29sb24=", b64encode(b"\xff:\xff").decode()])
def test_a_password_that_is_none(model: Session, given: str) -> None:
    with serving(only(model), http_token=TOKEN) as client:
        answer = client.get("/", headers=[(b"authorization", f"Basic {given}".strip().encode("latin-1"))])

    assert answer.status_code == 401


FOREIGN = [
    {"origin": "https://example.org"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", FORMS)
def test_a_form_of_another_sites_page_is_refused(visitor: Visitor, path: str, headers: dict[str, str]) -> None:
    visitor.log_in(TOKEN)

    assert visitor.post(path, headers=headers).status_code == 403
    assert visitor.get().status_code == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_retry_by_another_sites_page_is_refused(visitor: Visitor, headers: dict[str, str]) -> None:
    def retried(**headers: str) -> int:
        given = {"authorization": f"Bearer {TOKEN}", **headers}
        return visitor.client.post("/api/v1/retry", json={}, headers=given).status_code

    assert retried() == 200
    assert retried(origin=str(visitor.client.base_url).rstrip("/"), **{"sec-fetch-site": "same-origin"}) == 200
    assert retried(**headers) == 403


def test_a_page_that_cors_allows_may_retry_with_its_token(database: Database, model: Session) -> None:
    origin = "https://app.example"
    with serving(only(model), database.conninfo, http_token=TOKEN, http_cors_origins=origin) as client:

        def retried(sent: str) -> int:
            headers = {"origin": sent, "sec-fetch-site": "cross-site"}
            return client.post("/api/v1/retry", json={}, headers=headers).status_code

        assert [retried(origin), retried("https://other.example")] == [200, 403]


def test_many_wrong_tokens_have_to_wait(model: Session) -> None:
    with serving(only(model), http_token=TOKEN) as client, Visitor(client.base_url) as visitor:
        assert [visitor.get().status_code for _ in range(MAX_FAILURES + 1)] == [401] * (MAX_FAILURES + 1)
        visitor.log_in("wrong")
        assert [visitor.get().status_code for _ in range(MAX_FAILURES + 1)] == [401] * MAX_FAILURES + [429]
        visitor.log_in(TOKEN)
        answer = visitor.get()
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S
        large = visitor.client.post("/retry", content=b"x" * 5_000_000)
        assert large.status_code == 429, "else a body that is read or not would tell a right token from a wrong one"
        assert client.get("/v1/models").status_code == 200, "programs send no password"


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_throttle_counts_each_address_for_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(now=clock)
    for _ in range(MAX_FAILURES):
        assert throttle.wait_s("a") == 0
        throttle.record_failure("a")
        clock.now_s += 1
    assert throttle.wait_s("a") == WINDOW_S - MAX_FAILURES
    assert throttle.wait_s("b") == 0
    clock.now_s += WINDOW_S - MAX_FAILURES
    assert throttle.wait_s("a") == 0


def test_the_throttle_forgets_the_oldest_of_too_many_addresses() -> None:
    throttle = Throttle(now=Clock())
    for number in range(MAX_ADDRESSES + 1):
        for _ in range(MAX_FAILURES):
            throttle.record_failure(str(number))
    assert [throttle.wait_s(str(number)) for number in (0, 1, MAX_ADDRESSES)] == [0, WINDOW_S, WINDOW_S]
    assert len(throttle._failures) == MAX_ADDRESSES

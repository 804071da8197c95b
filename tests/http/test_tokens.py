"""Who may do what: tokens and their scopes, and what a service without tokens answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.http.auth.authenticator import Authenticator
from pgembedd.http.auth.throttle import MAX_FAILURES, WINDOW_S
from pgembedd.http.auth.tokens import load_tokens
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.support.embedders import only
from tests.support.http import TOKEN, serving

ASKED = {"input": "hello world"}


@pytest.fixture(scope="module")
def guarded(model: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service with a token for everything, and one that may push jobs alone."""
    path = tmp_path_factory.mktemp("tokens") / "tokens of mine"
    path.write_text("# what Postgres has\nonly-for-pushing-jobs  jobs\n\nfor-two-things-0123 embed,jobs\n")
    with serving(only(model), http_token=TOKEN, http_tokens_file=str(path)) as client:
        yield client


@pytest.fixture(scope="module")
def unguarded(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model)) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_the_right_token_may(guarded: httpx.Client) -> None:
    assert guarded.post("/embed", json=ASKED).status_code == 200
    assert guarded.post("/embed", json=ASKED, headers=bearer("for-two-things-0123")).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xff\xfe", TOKEN],
)
def test_anything_else_may_not(guarded: httpx.Client, header: str) -> None:
    answer = guarded.post("/embed", json=ASKED, headers=[(b"authorization", header.encode("latin-1"))])

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.parametrize("second", [f"Bearer {TOKEN}", "Bearer wrong", ""])
def test_a_request_has_one_token(guarded: httpx.Client, second: str) -> None:
    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"authorization", second.encode())]
    answer = guarded.post("/embed", json=ASKED, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def test_wrong_tokens_have_to_wait_and_right_ones_not(model: Session) -> None:
    with serving(only(model), http_token=TOKEN) as client:
        wrong = [client.post("/embed", json=ASKED, headers=bearer("wrong")) for _ in range(MAX_FAILURES + 1)]
        assert [answer.status_code for answer in wrong] == [401] * MAX_FAILURES + [429]
        assert 0 < int(wrong[-1].headers["retry-after"]) <= WINDOW_S
        assert client.post("/embed", json=ASKED).status_code == 200
        assert client.get("/", auth=("any", TOKEN)).status_code != 429, "the page has its own count"


@pytest.mark.parametrize(("trusted", "last"), [("", 429), ("127.0.0.1", 401), ("192.0.2.7", 429)])
def test_a_forwarded_address_is_believed_from_a_named_proxy_only(model: Session, trusted: str, last: int) -> None:
    with serving(only(model), http_token=TOKEN, http_trusted_proxies=trusted) as client:
        for number in range(MAX_FAILURES + 1):
            headers = bearer("wrong") | {"x-forwarded-for": f"198.51.100.{number}"}
            answer = client.post("/embed", json=ASKED, headers=headers)
        assert answer.status_code == last


def test_after_a_401_the_connection_ends(guarded: httpx.Client) -> None:
    """Else a large body would be read to its end."""
    answer = guarded.post("/embed", content=b"x" * 100_000_000, headers={"authorization": ""})
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")


def test_a_token_may_what_its_scopes_name(guarded: httpx.Client) -> None:
    answer = guarded.post("/embed", json=ASKED, headers=bearer("only-for-pushing-jobs"))

    assert (answer.status_code, answer.json()["error"]) == (403, "scope_missing")
    assert "embed" in answer.json()["message"]


def test_who_may_not_learns_nothing_of_the_body(guarded: httpx.Client) -> None:
    answer = guarded.post("/embed", json={"input": 5}, headers=bearer("wrong-wrong-wrong-wrong"))

    assert answer.status_code == 401


def test_health_needs_no_token(guarded: httpx.Client) -> None:
    assert guarded.get("/livez", headers=bearer("wrong")).status_code == 200


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8432", "LOCALHOST.", "127.8.8.8"])
def test_without_tokens_this_machine_is_answered(unguarded: httpx.Client, host: str) -> None:
    assert unguarded.post("/embed", json=ASKED, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "rebound.example"},
        {"host": "localhost.example"},
        {"host": "127.0.0.1.example"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:port"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-forwarded-for": "198.51.100.7"},
        {"via": "1.1 proxy"},
    ],
    ids=str,
)
def test_without_tokens_other_pages_are_refused(unguarded: httpx.Client, headers: dict[str, str]) -> None:
    answer = unguarded.post("/embed", json=ASKED, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["error"] in ("host_not_allowed", "origin_not_allowed", "proxy_not_allowed")


def test_its_own_page_is_no_stranger(unguarded: httpx.Client) -> None:
    headers = {"origin": str(unguarded.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}

    assert unguarded.post("/embed", json=ASKED, headers=headers).status_code == 200


# -- Settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a token"):
        Authenticator([], host)
    Authenticator(load_tokens(HttpSettings(http_token=TOKEN)), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert not Authenticator([], host).has_tokens


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("# nothing\n", "names no token"),
        ("short embed", "16 or more"),
        ("a-long-enough-token write", "no scope 'write'"),
        ("a-long-enough-token answers,search=postgresql://app:hush@db/x", "no scope 'search=' .* a word of its own"),
        ("ein-längeres-zeichen", "16 or more"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=said) as refused:
        load_tokens(HttpSettings(http_tokens_file=str(path)))

    assert "a-long-enough-token" not in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_tokens(HttpSettings(http_tokens_file=str(tmp_path / "none")))


# -- A user's token next to the project's key, as supabase-js sends them ------------------------------------

SECRET = "a secret of thirty-two bytes, or more"
PROJECT_KEY = "key-of-the-project"


def signed_in(expires_in_s: int = 600) -> dict[str, str]:
    """The headers of a user who is signed in."""
    claims = {"sub": "ann", "exp": int(time.time()) + expires_in_s}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}", "apikey": PROJECT_KEY}


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    path = tmp_path / "tokens"
    path.write_text(f"{PROJECT_KEY} embed,admin\n")
    path.chmod(0o600)
    return str(path)


def test_a_signed_in_user_may_do_what_the_key_of_the_project_allows(model: Session, keys_file: str) -> None:
    with serving(only(model), http_token=TOKEN, http_tokens_file=keys_file, http_jwt_secret=SECRET) as client:
        path = "/functions/v1/embed"
        assert client.post(path, json=ASKED, headers=signed_in()).status_code == 200
        assert client.post(path, json=ASKED, headers={**signed_in(), "apikey": "not-the-key-0123"}).status_code == 403
        assert client.post(path, json=ASKED, headers=signed_in(expires_in_s=-60)).status_code == 401
        assert client.get("/metrics", headers=signed_in()).status_code == 403, "an administrator's key is no user's"


def test_the_key_counts_where_no_jwt_is_verified(model: Session, keys_file: str) -> None:
    with serving(only(model), http_token=TOKEN, http_tokens_file=keys_file) as client:
        assert client.post("/functions/v1/embed", json=ASKED, headers=signed_in()).status_code == 200
        wrong = {**signed_in(), "apikey": "not-the-key-0123"}
        assert client.post("/functions/v1/embed", json=ASKED, headers=wrong).status_code == 401


def test_a_key_without_the_word_bearer_is_told_what_is_missing(guarded: httpx.Client) -> None:
    refused = guarded.post("/embed", json=ASKED, headers={"authorization": TOKEN})
    assert refused.status_code == 401
    assert "with the word Bearer before the token" in refused.text


def test_without_a_database_a_wrong_token_is_one_all_the_same(model: Session) -> None:
    with serving(only(model), http_token=TOKEN) as client:
        for path in ("/functions/v1/embed", "/webhooks/database"):
            assert client.post(path, json=[], headers=bearer("wrong")).status_code == 401
            refused = client.post(path, json=[])
            assert (refused.status_code, "--no-database" in refused.text) == (501, True)

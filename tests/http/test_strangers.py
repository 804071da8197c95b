"""What a service tells those that it does not know, and what it takes from them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.http.auth.origin import parse_origins
from pgembedd.http.auth.tokens import load_tokens
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.http.raw import connected, refusal, rest
from tests.support.embedders import Wrapped, only
from tests.support.http import TOKEN, serving

ASKED = {"input": "hello world"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def guarded(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), http_token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def unguarded(model: Session) -> Iterator[httpx.Client]:
    with serving(only(model)) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "application/json"), (b"x" * 5_000_000, "application/json"), (b"a=1", "text/plain")]
)
def test_nothing_is_said_of_a_strangers_body(model: Session, body: bytes, kind: str) -> None:
    headers = {"authorization": "Bearer wrong", "content-type": kind}
    with serving(only(model), http_token=TOKEN) as client:
        paths = ("/embed", "/v1/embeddings", "/api/v1/retry", "/nowhere")
        answers = [client.post(path, content=body, headers=headers).status_code for path in paths]

    assert answers == [401, 401, 401, 404]


HOSTS = ["", "[::1", "localhost:x", "localhost:999999", "evil@localhost", "localhost/.evil", "localhost#evil",
         "localhost evil", "localhost\\.evil", "127.0.0.1,evil", "localhost:1:2", "\xfflocalhost", "0.0.0.0", "[::]",
         "[::2]", "127.0.0.1.evil"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_not_clearly_this_machine_is_none(unguarded: httpx.Client, host: str) -> None:
    answer = unguarded.post("/embed", json=ASKED, headers=[(b"host", host.encode("latin-1"))])

    assert (answer.status_code, answer.json()["error"]) == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: localhost\r\nHost: evil\r\n", b"Host: localhost\r\nHost: localhost\r\n"]
)
def test_a_request_has_one_host(unguarded: httpx.Client, hosts: bytes) -> None:
    with connected(unguarded) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + hosts + b"\r\n")

        assert refusal(rest(connection)) == (400, "bad_request")


@pytest.mark.parametrize("name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"])
def test_without_tokens_no_proxy_brings_in_others(unguarded: httpx.Client, guarded: httpx.Client, name: str) -> None:
    answer = unguarded.post("/embed", json=ASKED, headers={name: "127.0.0.1"})

    assert (answer.status_code, answer.json()["error"]) == (403, "proxy_not_allowed")
    assert guarded.post("/embed", json=ASKED, headers={name: "192.0.2.1"}).status_code == 200


def test_a_name_in_the_target_is_not_believed(unguarded: httpx.Client) -> None:
    with connected(unguarded) as connection:
        connection.sendall(b"GET http://localhost/embed?input=x HTTP/1.1\r\nHost: evil.example\r\n\r\n")

        assert connection.recv(12) == b"HTTP/1.1 403"


def test_what_is_said_is_for_nobody_else(guarded: httpx.Client) -> None:
    """Neither for caches nor for a browser that would guess what it is."""
    for answer in (
        guarded.post("/embed", json=ASKED),
        guarded.get("/embed", params=ASKED),
        guarded.post("/embed", content=b"{", headers=JSON),
        guarded.post("/v1/embeddings", json=ASKED),
        guarded.get("/nowhere"),
        guarded.put("/embed"),
        guarded.get("/livez"),
        guarded.get("/metrics", headers={"authorization": ""}),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_nor_what_is_said_of_a_defect(model: Session) -> None:
    def fail(_texts: Sequence[str]) -> None:
        raise RuntimeError

    origin = {"origin": "https://app.example"}
    with serving(only(Wrapped(model, on_start=fail)), http_token=TOKEN, http_cors_origins=origin["origin"]) as client:
        answer = client.post("/embed", json=ASKED, headers=origin)
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_packed_body_is_not_unpacked(guarded: httpx.Client) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    answer = guarded.post("/embed", content=bomb, headers={**JSON, "content-encoding": "gzip"})

    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE"])
def test_allowed_is_all_that_the_path_takes(guarded: httpx.Client, method: str) -> None:
    assert guarded.request(method, "/embed").headers["allow"] == "GET, POST"
    assert guarded.request(method, "/livez").headers["allow"] == "GET"


# -- Pages of others ---------------------------------------------------------------------------------------


def preflight(client: httpx.Client, origin: str) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    return client.options("/embed", headers={"origin": origin, "authorization": "", **asked})


def test_no_other_page_may_call_by_default(guarded: httpx.Client) -> None:
    answer = preflight(guarded, "https://app.example")

    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)
    answer = guarded.post("/embed", json=ASKED, headers={"origin": "https://app.example"})
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_page_that_is_named_may_call_with_a_token(model: Session) -> None:
    with serving(only(model), http_token=TOKEN, http_cors_origins="https://app.example, https://b.example") as client:
        allowed = preflight(client, "https://app.example")
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in allowed.headers
        supabase_js = "authorization, apikey, content-type, x-client-info, x-region, x-retry-count"
        asked = {"access-control-request-method": "POST", "access-control-request-headers": supabase_js}
        headers = {"origin": "https://app.example", "authorization": "", **asked}
        assert client.options("/functions/v1/embed", headers=headers).status_code == 200
        assert "access-control-allow-origin" not in preflight(client, "https://app.example.evil").headers

        own = {"origin": "https://app.example"}
        assert client.post("/embed", json=ASKED, headers=own).headers["access-control-allow-origin"] == own["origin"]
        stranger = client.post("/embed", json=ASKED, headers={**own, "authorization": ""})
        assert stranger.status_code == 401
        assert stranger.headers["access-control-allow-origin"] == own["origin"]  # so that the page can read why


# -- Tokens ------------------------------------------------------------------------------------------------


def test_a_token_file_that_everybody_may_read_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o640)
    load_tokens(HttpSettings(http_tokens_file=str(path)))
    assert "tokens_file_readable" not in capsys.readouterr().out
    path.chmod(0o644)
    load_tokens(HttpSettings(http_tokens_file=str(path)))
    said = capsys.readouterr().out
    assert "tokens_file_readable" in said
    assert TOKEN not in said


def test_settings_do_not_show_their_token() -> None:
    assert TOKEN not in repr(HttpSettings(http_token=TOKEN))


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://app.example/page", "*.example"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="is no origin: write"):
        parse_origins(f"https://good.example, {origin}")
    assert parse_origins(" https://good.example:8443, http://localhost ,") == [
        "https://good.example:8443",
        "http://localhost",
    ]
    assert parse_origins("*") == ["*"]

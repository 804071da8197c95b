"""Files of a real web server over TLS, with its faults: what is fetched, what is refused, and by which sentence."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread

import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.fetch import fetcher as fetching
from pgembedd.fetch.deadline import Deadline
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import Fetched
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.settings import Settings
from tests.support.servers.files import FileServer, file_server, respond
from tests.support.waiting import PATIENCE_S


def fetch(web: FileServer, path: str, uris: str = "", validator: str | None = None) -> Fetched | None:
    """The file at a path, for a pipeline of any host and a worker that names the server, unless told otherwise."""
    own = Fetcher(Settings(uris=uris or web.url, file_max_mb=1))
    return own.fetch(web.url + path, ["https://"], validator)


def refusal(web: FileServer, path: str, uris: str = "") -> tuple[str, bool]:
    """The sentence by which it is not fetched, and whether that lasts."""
    with pytest.raises(FetchError) as refused:
        fetch(web, path, uris)
    return str(refused.value), refused.value.permanent


def test_a_file_with_what_tells_whether_it_has_changed(web: FileServer) -> None:
    web.files["/a%20file.pdf"] = b"one"
    first = fetch(web, "a%20file.pdf")
    assert first is not None
    assert first.file == b"one"
    assert fetch(web, "a%20file.pdf", validator=first.validator) is None
    web.files["/a%20file.pdf"] = b"two"
    second = fetch(web, "a%20file.pdf", validator=first.validator)
    assert second is not None
    assert second.file == b"two"
    assert {headers["accept-encoding"] for _, headers in web.received} == {"identity"}


def test_an_etag_that_is_not_ascii_is_no_validator(web: FileServer) -> None:
    web.files["/a"] = lambda request: respond(request, 200, {"etag": '"\xe9"', "content-length": "3"}, b"one")
    assert fetch(web, "a") == Fetched(b"one", None)


def test_the_validator_of_another_place_is_not_sent(web: FileServer) -> None:
    web.files |= {"/a": b"one", "/b": b"one"}
    first = fetch(web, "a")
    assert first is not None
    assert fetch(web, "b", validator=first.validator) is not None
    assert "if-none-match" not in web.received[-1][1]


def test_a_redirect_is_followed_and_its_validator_is_for_the_last_place(web: FileServer) -> None:
    web.files |= {"/latest": "/v2/manual", "/v2/manual": b"two"}
    first = fetch(web, "latest")
    assert first is not None
    assert fetch(web, "latest", validator=first.validator) is None
    assert [path for path, headers in web.received if "if-none-match" in headers] == ["/v2/manual"]


LASTING = {404: True, 410: True, 401: True, 403: True, 204: True, 206: True, 500: False, 503: False, 429: False}


def test_only_200_is_a_file(web: FileServer) -> None:
    for status, lasting in LASTING.items():
        web.files["/x"] = status
        assert refusal(web, "x") == (f"The host localhost:{web.port} answered with status {status}.", lasting)
    web.files["/x"] = 304
    assert refusal(web, "x")[1]


def test_what_is_too_large_is_not_read(web: FileServer) -> None:
    def lies(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("content-length", "5000000")
        request.end_headers()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        while True:  # until it hangs up
            request.wfile.write(b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000))

    web.files |= {"/length": lies, "/endless": endless}
    assert refusal(web, "length") == ("The file has 5.0 MB, more than PGEMBEDD_FILE_MAX_MB (1).", True)
    sentence, lasting = refusal(web, "endless")
    assert sentence.startswith("The file has 1.")
    assert lasting


def test_what_is_shorter_than_it_says_or_encoded_is_no_file(web: FileServer) -> None:
    def ends(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of ")

    web.files["/ends"] = ends
    assert refusal(web, "ends") == (f"The host localhost:{web.port} does not say how long the file is.", True)
    web.files["/short"] = lambda request: respond(request, 200, {"content-length": "100"}, b"x")
    assert refusal(web, "short") == (f"The host localhost:{web.port} does not answer (RemoteProtocolError).", False)
    web.files["/gzip"] = lambda request: respond(request, 200, {"content-encoding": "gzip"}, b"x")
    assert "encoding gzip, which was not asked for" in refusal(web, "gzip")[0]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_one_that_sends_a_byte_at_a_time_is_left(web: FileServer, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left, deadlines = Event(), list[Deadline]()

    class Known(Deadline):
        """One whose time is over when the test says so."""

        def __init__(self, seconds: float) -> None:
            super().__init__(seconds)
            deadlines.append(self)

    def slow(request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: 1000000" + (b"" if part == "headers" else b"\r\n\r\n")
            )
            deadlines[0].end()
            while not left.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            left.set()

    monkeypatch.setattr(fetching, "Deadline", Known)
    web.files["/x"] = slow
    assert refusal(web, "x") == (f"The host localhost:{web.port} did not send the file in time.", False)
    assert left.wait(PATIENCE_S)


def test_a_worker_that_ends_waits_for_no_server(web: FileServer) -> None:
    asked = Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        time.sleep(PATIENCE_S)

    web.files["/x"] = silent
    own = Fetcher(Settings(uris=web.url))

    def end() -> None:
        asked.wait(PATIENCE_S)
        own.close()

    ends = Thread(target=end)
    ends.start()
    with pytest.raises(FetchError, match="did not send the file in time"):
        own.fetch(web.url + "x", ["https://"])
    ends.join()


def test_private_hosts_are_for_those_who_name_them(web: FileServer, certificates: tuple[Path, Path]) -> None:
    """Also after a redirect from one that is named, and where its name says nothing: localhost is 127.0.0.1."""
    web.files["/x"] = b"one"
    private = "has a private address: a worker fetches from it where PGEMBEDD_URIS names the host."
    assert refusal(web, "x", "https://") == (f"The host localhost {private}", True)
    assert web.received == []
    with file_server(certificates) as other:
        other.files["/x"] = b"two"
        for host in (f"127.0.0.1:{other.port}", f"localhost:{other.port}"):
            web.files["/moved"] = f"https://{host}/x"
            assert private in refusal(web, "moved", f"https://,{web.url}")[0]
        assert other.received == []
        moved = fetch(web, "moved", f"{web.url},{other.url}")
        assert moved is not None
        assert moved.file == b"two"


def test_redirects_stay_within_what_both_allow(web: FileServer) -> None:
    web.files |= {"/in/a": "/out/b", "/out/b": b"x", "/loop": "/loop", "/plain": "http://localhost/"}
    own = Fetcher(Settings(uris=web.url))
    with pytest.raises(FetchError, match="begins with none of the pipeline's uri_prefixes"):
        own.fetch(web.url + "in/a", [web.url + "in/"])
    with pytest.raises(FetchError, match="begins with nothing that PGEMBEDD_URIS names"):
        Fetcher(Settings(uris=web.url + "in/")).fetch(web.url + "in/a", [web.url])
    assert [path for path, _ in web.received] == ["/in/a", "/in/a"]
    assert refusal(web, "loop")[0].endswith("redirects more than 5 times.")
    assert refusal(web, "plain")[0].startswith("The URI begins with none of ")


def test_a_host_without_an_address_or_a_server_or_a_certificate(web: FileServer) -> None:
    own = Fetcher(Settings(uris="https://no.such.host.invalid/,https://localhost:1/"))
    with pytest.raises(FetchError, match=r"no.such.host.invalid has no address"):
        own.fetch("https://no.such.host.invalid/x", ["https://"])
    with pytest.raises(FetchError, match="does not answer") as refused:
        own.fetch("https://localhost:1/x", ["https://"])
    assert not refused.value.permanent
    web.files["/x"] = b"x"
    numbered = f"https://127.0.0.2:{web.port}/"
    with pytest.raises(FetchError, match="does not answer"):  # nothing listens there, or its certificate is another's
        Fetcher(Settings(uris=numbered)).fetch(numbered + "x", ["https://"])


def test_settings_that_are_not_right() -> None:
    with pytest.raises(ConfigurationError, match="PGEMBEDD_URIS names http://x/: The URI begins with none of"):
        Fetcher(Settings(uris="https://x/, http://x/"))
    own = Fetcher(Settings(uris="https://x/a/"))
    assert own.problem(["https://x/a/b/"]) is None
    for prefixes in (["https://x/a/", "https://x/"], ["https://"], ["s3://x/"]):
        assert own.problem(prefixes) == f"No worker fetches files of {prefixes[-1]}: name it in PGEMBEDD_URIS"

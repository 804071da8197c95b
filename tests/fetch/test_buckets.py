"""Objects of buckets by the real client, from a server that stands in for S3."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.fetch import fetcher as fetching
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.settings import Settings
from tests.support.servers.files import FileServer, file_server, respond
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def s3() -> Iterator[FileServer]:
    """The server of buckets, by path."""
    with file_server(None) as server:
        yield server


@pytest.fixture
def buckets(s3: FileServer, tmp_path: Path) -> Fetcher:
    """A worker that fetches from a bucket of that server."""
    (tmp_path / "secret").write_text("the secret\n")
    (tmp_path / "buckets.toml").write_text(
        f'["s3://manuals"]\nendpoint = "http://127.0.0.1:{s3.port}"\nregion = "eu"\naccess_key_id = "me"\n'
        f'secret_access_key_file = "{tmp_path}/secret"\n'
    )
    return Fetcher(Settings(uris="s3://manuals/", buckets_file=str(tmp_path / "buckets.toml"), file_max_mb=1))


def refusal(buckets: Fetcher, uri: str) -> tuple[str, bool]:
    """The sentence by which it is not fetched, and whether that lasts."""
    with pytest.raises(FetchError) as refused:
        buckets.fetch(uri, ["s3://manuals/"])
    return str(refused.value), refused.value.permanent


def test_an_object_until_it_changes(s3: FileServer, buckets: Fetcher) -> None:
    s3.files["/manuals/a%20b/%C3%BC.pdf"] = b"one"
    uri = "s3://manuals/a%20b/%C3%BC.pdf"
    first = buckets.fetch(uri, ["s3://manuals/a%20b/"])
    assert first is not None
    assert first.file == b"one"
    assert "Credential=me/" in s3.received[0][1]["authorization"]
    assert buckets.fetch(uri, ["s3://manuals/"], first.validator) is None
    s3.files["/manuals/a%20b/%C3%BC.pdf"] = b"two"
    second = buckets.fetch(uri, ["s3://manuals/"], first.validator)
    assert second is not None
    assert second.file == b"two"


def test_what_is_not_there_or_not_allowed_or_too_large(s3: FileServer, buckets: Fetcher) -> None:
    s3.files |= {"/manuals/secret": 403, "/manuals/busy": 503, "/manuals/large": b"x" * 1_000_001}
    assert refusal(buckets, "s3://manuals/none") == ("There is no such object in s3://manuals.", True)
    assert refusal(buckets, "s3://manuals/secret") == ("The worker may not read s3://manuals.", True)
    assert refusal(buckets, "s3://manuals/busy") == ("s3://manuals does not answer (GenericError).", False)
    too_large = "The file has 1.0 MB, more than PGEMBEDD_FILE_MAX_MB (1)."
    assert refusal(buckets, "s3://manuals/large") == (too_large, True)
    no_path = "The URI, or a key below it in s3://manuals, is no path: it holds '//', '.' or '..'."
    assert refusal(buckets, "s3://manuals/a//b") == (no_path, True)
    assert refusal(buckets, "s3://others/x")[0].endswith("begins with none of the pipeline's uri_prefixes.")
    assert refusal(buckets, "s3://manuals/a?versionId=1")[0].startswith("The URI is none of ")


def test_a_panic_of_the_client_is_an_error_of_the_file(buckets: Fetcher) -> None:
    with pytest.raises(FetchError, match="does not answer"):
        buckets.fetch("s3://manuals/x", ["s3://manuals/"], "no header\n")


def test_one_that_sends_nothing_more_is_left(s3: FileServer, buckets: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        respond(request, 200, {"content-length": "1000", "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, b"x")
        left.wait(PATIENCE_S)

    s3.files["/manuals/slow"] = slow
    monkeypatch.setattr(fetching, "LONGEST_S", 0.1)
    assert refusal(buckets, "s3://manuals/slow") == ("s3://manuals did not send the file in time.", False)
    left.set()


WRONG = {
    "[x": "is not TOML",
    '["s3://manuals/x"]': "has a section s3://manuals/x, which names no bucket",
    '["https://manuals"]\nx = 1': "which names no bucket",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_of_buckets_that_is_not_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "buckets.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=WRONG[text]):
        Fetcher(Settings(buckets_file=str(tmp_path / "buckets.toml")))


def test_a_section_that_is_not_right_is_why_its_pipelines_are_not_served(tmp_path: Path) -> None:
    path = tmp_path / "buckets.toml"
    path.write_text('["s3://manuals"]\nnope = "x"\n["s3://keys"]\nsecret_access_key_file = "/none"')
    own = Fetcher(Settings(uris="s3://manuals/,s3://keys/", buckets_file=str(path)))
    wrong = f"The section s3://manuals in {path} is not right: Configuration key: 'nope' is not valid for store 'S3'"
    assert own.problem(["s3://manuals/"]) == wrong
    assert "named by secret_access_key_file of s3://keys" in str(own.problem(["s3://keys/"]))


@pytest.mark.parametrize(
    ("scheme", "config"), [("gs", "skip_signature = true"), ("az", 'account_name = "a"\naccount_key = "a2V5"')]
)
def test_the_other_clouds_are_reached_by_their_clients(
    s3: FileServer, tmp_path: Path, scheme: str, config: str
) -> None:
    """Their protocols are the client's own; that it is one of them shows in what it asks for."""
    endpoint = "base_url" if scheme == "gs" else "endpoint"
    path = tmp_path / "buckets.toml"
    path.write_text(f'["{scheme}://manuals"]\n{endpoint} = "http://127.0.0.1:{s3.port}"\n{config}')
    own = Fetcher(Settings(uris=f"{scheme}://manuals/", buckets_file=str(path)))
    with pytest.raises(FetchError):
        own.fetch(f"{scheme}://manuals/x", [f"{scheme}://manuals/"])
    assert [path for path, _ in s3.received] == ["/manuals/x"]

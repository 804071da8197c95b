"""Files of this machine: regular ones in the folders that are named, whatever their path says."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.settings import Settings

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, next to one that is not to be read."""
    (tmp_path / "manuals").mkdir()
    (tmp_path / "manuals" / "a b.txt").write_bytes(b"one")
    (tmp_path / "manuals2").mkdir()
    (tmp_path / "manuals2" / "secret").write_bytes(b"secret")
    return tmp_path / "manuals"


def fetch(folder: Path, path: str, validator: str | None = None) -> bytes | None:
    """The file at a path of the folder, which the worker names."""
    own = Fetcher(Settings(uris=f"file://{folder}/", file_max_mb=1))
    found = own.fetch(f"file://{folder}/{path}", ["file:///"], validator)
    return None if found is None else found.file


def test_a_file_until_it_changes(folder: Path) -> None:
    own = Fetcher(Settings(uris=f"file://{folder}"))
    uri, prefixes = f"file://{folder}/a%20b.txt", [f"file://{folder}/"]
    first = own.fetch(uri, prefixes)
    assert first is not None
    assert first.file == b"one"
    assert own.fetch(uri, prefixes, first.validator) is None
    times = (folder / "a b.txt").stat()
    (folder / "a b.txt").write_bytes(b"two")
    os.utime(folder / "a b.txt", ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy with its times does
    second = own.fetch(uri, prefixes, first.validator)
    assert second is not None
    assert second.file == b"two"


REFUSED = {
    "../manuals2/secret": "holds '.' or '..'",
    "%2e%2e/manuals2/secret": "holds '.' or '..'",
    "..%2fmanuals2/secret": "holds '.' or '..'",
    "%252e%252e/manuals2/secret": "holds '.' or '..'",
    "..;x/manuals2/secret": "holds '.' or '..'",
    "none": "There is no such file",
    "a%20b.txt/x": "There is no such file",
    "pipe": "names no regular file",
    "": "names no regular file",
    "link": "a link out of the folders",
    "folder/secret": "a link out of the folders",
    "a b.txt": "holds spaces",
    "a%00": "control characters",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_no_file_of_the_folder(folder: Path, path: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(folder.parent / "manuals2" / "secret")
    (folder / "folder").symlink_to(folder.parent / "manuals2")
    with pytest.raises(FetchError, match=REFUSED[path]) as refused:
        fetch(folder, path)
    assert refused.value.permanent


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "newest").symlink_to("a b.txt")
    assert fetch(folder, "newest") == b"one"


def test_a_folder_beside_and_one_that_only_begins_alike(folder: Path) -> None:
    own = Fetcher(Settings(uris=f"file://{folder}"))
    with pytest.raises(FetchError, match="nothing that PGEMBEDD_URIS names"):
        own.fetch(f"file://{folder}2/secret", ["file:///"])
    with pytest.raises(FetchError, match="none of the pipeline's uri_prefixes"):
        own.fetch(f"file://{folder}/a%20b.txt", [f"file://{folder}2/"])


def test_a_large_file_is_not_read(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(1_000_001)
    with pytest.raises(FetchError, match=r"The file has 1.0 MB, more than PGEMBEDD_FILE_MAX_MB \(1\)."):
        fetch(folder, "large")


def test_a_folder_with_a_path_that_is_too_long_is_not_listed(folder: Path) -> None:
    """By the system, which then takes no longer name within it."""
    here = os.open(folder, os.O_DIRECTORY)
    for _ in range((4000 - len(str(folder))) // 201):
        os.mkdir("x" * 200, dir_fd=here)
        below = os.open("x" * 200, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("y" * 255, os.O_CREAT, dir_fd=here))
    os.close(here)
    with pytest.raises(FetchError, match="A folder cannot be read: File name too long"):
        list(Fetcher(Settings(uris=f"file://{folder}/")).list(f"file://{folder}/", ["file:///"]))


@pytest.mark.skipif(not MEMORY.is_dir(), reason="this system has no /dev/shm")
@pytest.mark.parametrize(("seconds", "modified"), [(10**12, "9999-12-31"), (-(10**12), "0001-01-01")])
def test_a_time_that_is_no_date_is_the_last_or_first_one(seconds: int, modified: str) -> None:
    """As a file system may have it that is not ext4."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        file = Path(folder, "a")
        file.touch()
        os.utime(file, (seconds, seconds))
        ((listed,),) = Fetcher(Settings(uris="file:///")).list(f"file://{folder}/", ["file:///"])
    assert listed.modified == f"{modified}T00:00:00+00:00"


def test_a_prefix_that_names_no_place_is_why_its_pipeline_is_not_served(folder: Path) -> None:
    own = Fetcher(Settings(uris="https://,file:///"))
    assert own.problem([f"file://{folder}/"]) is None
    wrong = "One of the uri_prefixes names no place. The URI holds a user, a password or a fragment"
    assert own.problem(["https://", "https://me@docs.example.com/"]) == wrong

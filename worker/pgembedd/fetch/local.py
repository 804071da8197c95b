"""Files of this machine: regular ones, whose real path is in a folder that may be read."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import PAGE, Fetched, Listed, too_large
from pgembedd.fetch.uri import Uri

_FIRST_S, _LAST_S = (datetime(*day, tzinfo=UTC).timestamp() for day in ((1, 1, 1), (9999, 12, 31)))
"""What Python has dates for; a file system may have other times."""


def fetch_file(uri: Uri, bounds: Sequence[Iterable[Uri]], validator: str | None, most_bytes: int) -> Fetched | None:
    """Returns a file whose real path is below one prefix of each of the `bounds`; None for that of the validator.

    It is found without opening it for anything, checked, and only then read: no link that is changed meanwhile leads
    elsewhere, and no device or pipe is opened.
    """
    try:
        found = os.open(uri.path, os.O_PATH | os.O_CLOEXEC)
        try:
            return _read(found, bounds, validator, most_bytes)
        finally:
            os.close(found)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FetchError("There is no such file on the machine of the worker.") from error
    except PermissionError as error:
        raise FetchError("The worker may not read the file.") from error
    except OSError as error:
        raise FetchError(f"The file cannot be read: {error.strerror}.", permanent=False) from error


def list_folder(uri: Uri, bounds: Sequence[Iterable[Uri]]) -> Iterator[list[Listed]]:
    """Yields the regular files below a folder, a page at a time; links are not followed. FetchError."""
    folder = os.path.realpath(uri.path)
    if not _is_allowed(folder, bounds):
        raise FetchError("The folder is a link out of those that may be read.")
    try:
        if not Path(folder).is_dir():
            raise FetchError("There is no such folder on the machine of the worker.")
        found = _files_below(uri, folder)
        while page := list(islice(found, PAGE)):
            yield page
    except OSError as error:
        raise FetchError(f"A folder cannot be read: {error.strerror}.", permanent=False) from error


def _files_below(uri: Uri, folder: str) -> Iterator[Listed]:
    for place, _, names in os.walk(folder, onerror=_refuse_folder):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118  of names that need not be text
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    seconds = min(max(status.st_mtime, _FIRST_S), _LAST_S)
                    modified = datetime.fromtimestamp(seconds, UTC).isoformat()
                    below = quote(os.fsencode(os.path.relpath(path, folder)))
                    yield Listed(uri.text + below, status.st_size, _version(status), modified)


def _refuse_folder(error: OSError) -> None:
    raise error


def _is_allowed(path: str, bounds: Sequence[Iterable[Uri]]) -> bool:
    return all(any(_is_in(path, prefix.path) for prefix in prefixes) for prefixes in bounds)


def _read(found: int, bounds: Sequence[Iterable[Uri]], validator: str | None, most_bytes: int) -> Fetched | None:
    place = Path(f"/proc/self/fd/{found}")
    if not _is_allowed(str(place.readlink()), bounds):
        raise FetchError("The file is a link out of the folders that may be read.")
    before = os.fstat(found)
    if not stat.S_ISREG(before.st_mode):
        raise FetchError("The URI names no regular file.")
    if _version(before) == validator:
        return None
    if before.st_size > most_bytes:
        raise too_large(before.st_size, most_bytes)
    with place.open("rb") as file:
        content = file.read(most_bytes + 1)
    if _version(os.fstat(found)) != _version(before):
        raise FetchError("The file was written to while it was read.", permanent=False)
    return Fetched(content, _version(before))


def _version(status: os.stat_result) -> str:
    return f"file {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _is_in(path: str, folder: str) -> bool:
    base = os.path.realpath(folder).rstrip("/")
    return path == base or path.startswith(base + "/")

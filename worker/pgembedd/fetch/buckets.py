"""Objects of buckets: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pgembedd.errors import ConfigurationError
from pgembedd.fetch.deadline import LONGEST_S, Deadline
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import PAGE, Fetched, Listed, too_large
from pgembedd.fetch.uri import BUCKETS, Uri
from pgembedd.settings.files import read_format, read_secret

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Made = TypeVar("Made")
_RETRIES: Any = {"max_retries": 1, "retry_timeout": timedelta(seconds=20)}
"""Of a request within a fetch; the job's own attempts come after them."""


class Buckets:
    """The buckets that the settings name; each by its section of PGEMBEDD_BUCKETS_FILE, if it has one."""

    def __init__(self, path: str) -> None:
        """ConfigurationError where the file is not right."""
        self._path, self._sections = path, _sections(path)
        self._stores: dict[str, ObjectStore] = {}

    def fetch(self, uri: Uri, validator: str | None, most_bytes: int, deadline: Deadline) -> Fetched | None:
        """Returns the object, of at most so many bytes; None for the one of the validator. FetchError."""
        store = self._known(uri)
        with _in_sentences(uri):
            return asyncio.run(_until(deadline, _get(store, uri, validator, most_bytes)))

    def list(self, uri: Uri) -> Iterator[list[Listed]]:
        """Yields the objects below a URI that ends with a slash, a page at a time. FetchError.

        Empty ones are left out: consoles make them in the place of folders, and the client knows them by no URI.
        """
        from obstore import list as pages

        with _in_sentences(uri):
            for page in pages(self._known(uri), uri.key.rstrip("/"), chunk_size=PAGE):
                yield [_listed(uri, each) for each in page if each["size"]]

    def _known(self, uri: Uri) -> ObjectStore:
        try:
            return self._store(uri)
        except ConfigurationError as error:
            raise FetchError(str(error)) from error

    def _store(self, uri: Uri) -> ObjectStore:
        if uri.bucket not in self._stores:
            self._stores[uri.bucket] = self._made(uri)
        return self._stores[uri.bucket]

    def _made(self, uri: Uri) -> ObjectStore:
        """Returns the connections to a bucket. ConfigurationError."""
        try:
            from obstore.exceptions import BaseError
            from obstore.store import AzureStore, GCSStore, S3Store
        except ImportError as error:
            raise ConfigurationError(
                "Buckets cannot be read, as the package obstore is missing: pip install 'pgembedd[documents]'."
            ) from error
        kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        members = self._sections.get(uri.bucket, {})
        named = f"{uri.bucket} in {self._path}"
        config = {
            name.removesuffix("_file"): read_secret(value, f"{name} of {named}") if name.endswith("_file") else value
            for name, value in members.items()
        }
        plain = any(str(config.get(name, "")).startswith("http://") for name in ("endpoint", "base_url"))
        client = {"timeout": f"{LONGEST_S:.0f}s", "connect_timeout": "10s", "allow_http": plain}
        try:
            made: ObjectStore = kinds[uri.scheme](uri.host, config=config, client_options=client, retry_config=_RETRIES)
        except (BaseError, TypeError, ValueError) as error:
            raise ConfigurationError(f"The section {named} is not right: {str(error).splitlines()[0]}") from None
        return made

    def problem(self, uri: Uri) -> str | None:
        """Returns why a bucket cannot be connected to, as far as that is known without asking it."""
        try:
            self._store(uri)
        except ConfigurationError as error:
            return str(error)
        return None


@contextmanager
def _in_sentences(uri: Uri) -> Iterator[None]:
    """Has the errors of the client in sentences."""
    import obstore.exceptions as errors

    no_path = f"The URI, or a key below it in {uri.bucket}, is no path: it holds '//', '.' or '..'."
    refusals: dict[type[Exception], str] = {
        FileNotFoundError: f"There is no such object in {uri.bucket}.",
        errors.PermissionDeniedError: f"The worker may not read {uri.bucket}.",
        errors.UnauthenticatedError: f"The worker's credentials for {uri.bucket} are refused.",
        errors.InvalidPathError: no_path,
        ValueError: no_path,
    }
    try:
        yield
    except tuple(refusals) as error:
        raise FetchError(next(text for kind, text in refusals.items() if isinstance(error, kind))) from error
    except FetchError:
        raise
    except Exception as error:  # it also panics
        raise FetchError(f"{uri.bucket} does not answer ({type(error).__name__}).", permanent=False) from error
    except asyncio.CancelledError as error:
        raise FetchError(f"{uri.bucket} did not send the file in time.", permanent=False) from error


def _listed(uri: Uri, found: Mapping[str, Any]) -> Listed:
    below = found["path"].removeprefix(uri.key)
    return Listed(uri.text + quote(below), found["size"], found.get("e_tag"), found["last_modified"].isoformat())


async def _get(store: ObjectStore, uri: Uri, validator: str | None, most_bytes: int) -> Fetched | None:
    from obstore import get_async
    from obstore.exceptions import NotModifiedError

    try:
        found = await get_async(store, uri.key, options={"if_none_match": validator} if validator else {})
    except NotModifiedError:
        return None
    if found.meta["size"] > most_bytes:
        raise too_large(found.meta["size"], most_bytes)
    content = bytearray()
    async for part in found.stream():
        content += part
        if len(content) > most_bytes:
            raise too_large(len(content), most_bytes)
    return Fetched(bytes(content), found.meta.get("e_tag"))


async def _until(deadline: Deadline, work: Coroutine[Any, Any, Made]) -> Made:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def end() -> None:
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(task.cancel)

    deadline.at_end(end)
    return await task


def _sections(path: str) -> Mapping[str, Mapping[str, Any]]:
    found = read_format(path, "PGEMBEDD_BUCKETS_FILE", "TOML", tomllib.loads) or {}
    for name, members in found.items():
        scheme, _, bucket = name.partition("://")
        if scheme not in BUCKETS or not bucket or "/" in bucket or not isinstance(members, dict):
            raise ConfigurationError(
                f"The file {path} named by PGEMBEDD_BUCKETS_FILE has a section {name}, which names no bucket: "
                'write ["s3://manuals"].'
            )
    return found

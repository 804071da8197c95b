"""Fetches files from the URIs that both a pipeline and the settings of this worker allow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock

from pgembedd.errors import ConfigurationError
from pgembedd.fetch.buckets import Buckets
from pgembedd.fetch.deadline import LONGEST_S, Deadline
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import Fetched, Listed
from pgembedd.fetch.https import HttpsFetch
from pgembedd.fetch.local import fetch_file, list_folder
from pgembedd.fetch.uri import BUCKETS, Uri, parse_prefix, parse_prefixes, parse_uri
from pgembedd.settings import Settings
from pgembedd.settings.servers import certificates


class Fetcher:
    """Fetches for all threads of a worker, with its rights."""

    def __init__(self, settings: Settings) -> None:
        """ConfigurationError where PGEMBEDD_URIS is not right."""
        self._own = parse_prefixes(settings.uris, "PGEMBEDD_URIS")
        self._buckets = Buckets(settings.buckets_file)
        self._most_bytes = settings.file_max_mb * 1_000_000
        self._lock, self._deadlines, self.closed = Lock(), set[Deadline](), False

    def problem(self, prefixes: Sequence[str]) -> str | None:
        """Returns why this worker fetches nothing for a pipeline of these prefixes; None where it can."""
        for text in prefixes:
            try:
                prefix = parse_prefix(text)
            except FetchError as error:
                return f"One of the uri_prefixes names no place. {error}".removesuffix(".")
            if not prefix.is_below(self._own):
                return f"No worker fetches files of {text}: name it in PGEMBEDD_URIS"
            if prefix.scheme in BUCKETS and (problem := self._buckets.problem(prefix)) is not None:
                return problem.removesuffix(".")
            if prefix.scheme == "https":
                try:
                    certificates(text)
                except ConfigurationError as error:
                    return str(error).removesuffix(".")
        return None

    def fetch(self, text: str, prefixes: Sequence[str], validator: str | None = None) -> Fetched | None:
        """Returns the file of a URI below one of the prefixes; None where it is that of the validator. FetchError."""
        uri, allowed = parse_uri(text), tuple(map(parse_prefix, prefixes))
        self._check(uri, allowed)
        if uri.scheme == "file":
            return fetch_file(uri, (allowed, self._own), validator, self._most_bytes)
        with self._deadline() as deadline:
            if uri.scheme in BUCKETS:
                return self._buckets.fetch(uri, validator, self._most_bytes, deadline)
            allows = partial(self._check, allowed=allowed)
            return HttpsFetch(certificates(text), allows, deadline, self._most_bytes, validator).fetch(uri)

    def list(self, text: str, prefixes: Sequence[str]) -> Iterator[list[Listed]]:
        """Yields the files below a URI that ends with a slash, a page at a time. FetchError."""
        uri, allowed = parse_prefix(text), tuple(map(parse_prefix, prefixes))
        self._check(uri, allowed)
        if uri.scheme == "https":
            raise FetchError("A web server lists no files.")
        yield from list_folder(uri, (allowed, self._own)) if uri.scheme == "file" else self._buckets.list(uri)

    def close(self) -> None:
        """Ends what is being fetched."""
        with self._lock:
            self.closed = True
            deadlines = tuple(self._deadlines)
        for deadline in deadlines:
            deadline.end()

    def _check(self, uri: Uri, allowed: Sequence[Uri]) -> bool:
        """Refuses what one of the two does not allow; tells whether the settings name the host itself."""
        if not uri.is_below(allowed):
            raise FetchError("The URI, or where it redirects to, begins with none of the pipeline's uri_prefixes.")
        if not uri.is_below(self._own):
            raise FetchError("The URI, or where it redirects to, begins with nothing that PGEMBEDD_URIS names.")
        return uri.is_below(prefix for prefix in self._own if prefix.host)

    @contextmanager
    def _deadline(self) -> Iterator[Deadline]:
        with Deadline(LONGEST_S) as deadline:
            with self._lock:
                self._deadlines.add(deadline)
                closed = self.closed
            if closed:
                deadline.end()
            try:
                yield deadline
            finally:
                with self._lock:
                    self._deadlines.discard(deadline)

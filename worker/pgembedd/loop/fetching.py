"""Files that rows name by URI: fetched in threads of their own, then parsed like those of a column."""

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256

from pgembedd.database.files import FileRepository
from pgembedd.database.jobs import JobRepository
from pgembedd.database.records import LANES, FileContent, Job, UriContent
from pgembedd.documents.document import Document
from pgembedd.documents.parsers import ParserEndedError, Parsers, UnreadableFile
from pgembedd.errors import RowFailure
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.loop.bisect import bisect
from pgembedd.loop.task import Batch
from pgembedd.scheduler import Lane, Scheduler

AT_ONCE = 4
"""Files that are fetched at the same time, and held until they are parsed."""


@dataclass(frozen=True, slots=True)
class ParsedUri:
    """The outcome of a URI: what is stored of its file, and why no text is read of it, where that was found now."""

    content: FileContent
    document: Document | None = None
    unreadable: str | None = None


class UriFiles:
    """Fetches the files of URIs and has them parsed."""

    def __init__(self, fetcher: Fetcher) -> None:
        """The threads start with the first URIs."""
        self._fetcher, self._turns = fetcher, Scheduler(AT_ONCE)

    def submit(self, content: UriContent, parsers: Parsers, lane: Lane) -> Future[ParsedUri]:
        """Fetches and parses in its turn; the future raises FetchError, UnreadableFile, or CancelledError."""
        return self._turns.submit(lane, partial(self._parsed, content, parsers, lane))

    def close(self) -> None:
        """Cancels what was not begun. The fetcher and the parsers are closed already, so the rest ends by itself."""
        self._turns.shutdown(cancel_futures=True)

    def _parsed(self, content: UriContent, parsers: Parsers, lane: Lane) -> ParsedUri:
        if content.uri is None:
            return ParsedUri(FileContent(content.state, None, content.hash, None))
        try:
            fetched = self._fetcher.fetch(content.uri, content.prefixes, content.validator)
        except FetchError:
            self._check_open()
            raise
        file = None if fetched is None else fetched.file
        file_hash = content.file_hash if file is None else sha256(file).digest()
        validator = content.validator if fetched is None else fetched.validator
        found = FileContent("ok" if file else "blank", None, content.hash, None, file_hash, validator)
        if file_hash == content.file_hash:
            if content.unreadable is not None:
                raise UnreadableFile(content.unreadable)
            return ParsedUri(replace(found, state="unchanged"))
        if not file:
            return ParsedUri(found)
        try:
            return ParsedUri(found, parsers.submit(file, lane).result())
        except ParserEndedError:
            raise
        except UnreadableFile as error:
            return ParsedUri(found, unreadable=str(error))
        except RuntimeError:
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._fetcher.closed:
            raise CancelledError from None


class UriReader:
    """Reads the URIs of rows, and passes them to the threads that fetch."""

    def __init__(self, files: UriFiles, parsers: Parsers, statements: JobRepository) -> None:
        self._files, self._parsers, self._statements = files, parsers, statements

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Job, UriContent | RowFailure]]:
        """Returns the URI of each row, and what is known of its file."""
        return bisect(jobs, FileRepository(self._statements, self._parsers.fingerprint).read_uris)

    def start(self, rows: Sequence[tuple[Job, UriContent]], began: float) -> Batch[UriContent]:
        """Passes them on."""
        jobs, contents = zip(*rows, strict=True)
        lane = LANES[jobs[0].queue]
        return Batch(jobs, contents, [self._files.submit(each, self._parsers, lane) for each in contents], began)

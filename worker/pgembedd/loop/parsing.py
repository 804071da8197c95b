"""The task `parse`: files of rows become pages of text, in processes of their own."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from pgembedd.database.connection import Connection
from pgembedd.database.files import FileRepository
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import LANES, FileContent, Job, ParsedFile, ServedPipeline
from pgembedd.documents.document import Document
from pgembedd.documents.limits import Limits
from pgembedd.documents.parsers import ParserEndedError, Parsers, UnreadableFile
from pgembedd.errors import ConfigurationError, Deferred, ModelNotConfiguredError, RowFailure
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.loop.bisect import bisect
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.fetching import ParsedUri, UriFiles, UriReader
from pgembedd.loop.served_pipelines import LOOK_EVERY_S, ServedPipelines
from pgembedd.loop.task import SHUTDOWN, Batch, Endings
from pgembedd.settings import Settings
from pgembedd.settings.documentation import page

LATER = Deferred("the other files of its claim are as many bytes as a claim may have", 0.0)


class FileParsers(ServedPipelines):
    """The pipelines whose files this worker parses, and its parser: none where the extra `documents` is missing."""

    def __init__(
        self,
        settings: Settings,
        names: Collection[str] = (),
        *,
        settled_look_s: float = LOOK_EVERY_S,
        worker: int | None = None,
    ) -> None:
        super().__init__(names, settled_look_s=settled_look_s, worker=worker)
        self._processes = settings.parse_processes
        self._pending: WeakValueDictionary[bytes, Future[Document]] = WeakValueDictionary()
        self._fetcher, self._of_uris = Fetcher(settings), set[int]()
        self.limits = Limits(settings.parse_timeout_s, settings.parse_memory_mb, settings.file_max_mb)

    def submit(self, content: FileContent, queue: str) -> "Future[Document]":
        """Passes a file to the processes, unless they have it of another job that is not stored yet."""
        pending = self._pending.get(content.hash)
        if pending is None or (pending.done() and pending.exception()):
            assert content.file is not None
            pending = self._pending[content.hash] = self.parsers.submit(content.file, LANES[queue])
        return pending

    @cached_property
    def parsers(self) -> Parsers:
        """The processes, which start with the first files. ConfigurationError where the extra is missing."""
        return Parsers(processes=self._processes, limits=self.limits)

    @cached_property
    def uris(self) -> UriFiles:
        """The threads that fetch."""
        return UriFiles(self._fetcher)

    def fetches(self, pipeline: ServedPipeline) -> bool:
        """Tells whether the rows of a pipeline that is served hold URIs."""
        return pipeline.id in self._of_uris

    def close(self) -> None:
        """Kills the processes, and ends what is being fetched."""
        self._fetcher.close()
        if "parsers" in self.__dict__:
            self.parsers.close()
        if "uris" in self.__dict__:
            self.uris.close()

    def _running(self, pipelines: PipelineRepository) -> list[tuple[ServedPipeline, bool]]:
        return pipelines.parsing()

    def _accept_loaded(self, pipeline: ServedPipeline, pipelines: PipelineRepository) -> bool:  # noqa: ARG002
        try:
            _ = self.parsers
        except ConfigurationError as error:
            raise ModelNotConfiguredError(str(error)) from error
        if (problem := self._fetcher.problem(pipeline.uri_prefixes)) is not None:
            raise ModelNotConfiguredError(f"{problem} ({page('how-to/documents.md')}).")
        if pipeline.uri_prefixes:
            self._of_uris.add(pipeline.id)
        self._accept(pipeline)
        return True


@dataclass(frozen=True)
class Parsing:
    """Parses the files of rows. A claim holds as many bytes of them as one file may have."""

    served: FileParsers
    name = "parse"

    def reader(self, connection: Connection, share: FairShare, outcomes: Endings) -> "FileReader":  # noqa: ARG002
        """Returns what reads files."""
        return FileReader(self.served, JobRepository(connection))

    def results(
        self, batch: Batch[Any], pipelines: PipelineRepository
    ) -> Iterator[list[tuple[Job, ParsedFile | RowFailure | Deferred]]]:
        """Yields what is parsed whenever something is, so that no file waits for a slower one."""
        files = FileRepository(JobRepository(pipelines.connection), self.served.parsers.fingerprint)
        left = dict(enumerate(batch.pending))
        while left:
            done, _ = wait(left.values(), return_when=FIRST_COMPLETED)
            ready = [number for number, future in left.items() if future in done]
            yield [
                (batch.jobs[number], _parsed(files, batch.jobs[number], batch.contents[number], left.pop(number)))
                for number in ready
            ]

    def store(self, results: Sequence[ParsedFile], statements: JobRepository) -> list[str]:
        """Writes the pages."""
        return FileRepository(statements, self.served.parsers.fingerprint).store(results)


class FileReader:
    """Reads the files of rows, and passes them to the processes."""

    def __init__(self, served: FileParsers, statements: JobRepository) -> None:
        self._served, self._statements = served, statements

    @cached_property
    def _uris(self) -> UriReader:
        return UriReader(self._served.uris, self._served.parsers, self._statements)

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Job, Any]]:
        """Returns the file of each row, or its URI."""
        if self._served.fetches(jobs[0].pipeline):
            return list(self._uris.rows(jobs))
        files = FileRepository(self._statements, self._served.parsers.fingerprint)
        most = self._served.limits.file_bytes
        return [(job, self._judged(content)) for job, content in bisect(jobs, lambda part: files.read(part, most))]

    def _judged(self, content: FileContent | RowFailure) -> FileContent | RowFailure | Deferred:
        if isinstance(content, RowFailure):
            return content
        if content.state == "large":
            size, most = (content.size or 0) / 1e6, self._served.limits.file_max_mb
            return _unreadable(f"The file has {size:,.1f} MB, more than PGEMBEDD_FILE_MAX_MB ({most}).")
        return LATER if content.state == "later" else content

    def start(self, rows: Sequence[tuple[Job, Any]], began: float) -> Batch[Any]:
        """Passes the files to the processes, or the URIs to the threads that fetch."""
        if self._served.fetches(rows[0][0].pipeline):
            return self._uris.start(rows, began)
        jobs, contents = zip(*rows, strict=True)
        queue = jobs[0].queue
        pending = [self._served.submit(each, queue) if each.file else _nothing() for each in contents]
        return Batch(jobs, contents, pending, began)


def _nothing() -> "Future[Document | None]":
    future: Future[Document | None] = Future()
    future.set_result(None)
    return future


def _parsed(
    files: FileRepository, job: Job, content: FileContent, future: "Future[Document | ParsedUri | None]"
) -> ParsedFile | RowFailure | Deferred:
    try:
        document = future.result()
    except FetchError as error:
        return _unreadable(str(error), permanent=error.permanent)
    except UnreadableFile as error:
        return _unreadable(str(error), permanent=not isinstance(error, ParserEndedError))
    except CancelledError:
        return SHUTDOWN
    except BaseException as error:  # also a panic of Rust
        return _unreadable(f"{type(error).__name__}: {error}", permanent=False)
    if isinstance(document, ParsedUri):
        content = document.content
        if document.unreadable is not None:
            files.note_unreadable(job, content, document.unreadable)
            return _unreadable(document.unreadable)
        document = document.document
    return ParsedFile(job, content, [] if document is None else list(_pages(document)))


def _pages(document: Document) -> Iterator[dict[str, object]]:
    metadata = {"kind": document.kind, **document.metadata}
    if document.notes:
        metadata["notes"] = list(document.notes)
    for each in document.pages:
        yield {"page": each.number, "headings": each.headings, "text": each.text, "metadata": metadata}


def _unreadable(sentence: str, *, permanent: bool = True) -> RowFailure:
    """A failure of the row; one that is permanent lasts until its file is another, or another parser reads it."""
    return RowFailure("file", sentence, permanent=permanent)

"""A pool of processes that parse files."""

from concurrent.futures import CancelledError, Future
from functools import partial
from threading import Lock

from pgembedd.documents import ocr
from pgembedd.documents.document import Document
from pgembedd.documents.errors import ParserEndedError, UnreadableFile, versions
from pgembedd.documents.limits import Limits
from pgembedd.documents.process import ParserProcess, ProcessEndedError
from pgembedd.scheduler import Lane, Scheduler

__all__ = ["Limits", "ParserEndedError", "Parsers", "UnreadableFile"]

_RENDERING = 2
"""Raised by a change of our own code after which a file gives another text."""
_FILES_A_PROCESS = 200
"""After which it is replaced, whatever it has leaked."""


def fingerprint() -> str:
    """Returns what gives equal documents of equal files while it is equal: our rendering, the libraries' versions.

    ConfigurationError where the extra `documents` is not installed.
    """
    return " ".join([f"rendering-{_RENDERING}", *versions(), *ocr.versions()])


class Parsers:
    """Parses files in up to `processes` processes, which start with the first files.

    A file that is too large, makes its process crash, or takes more than `limits`, is unreadable; other files are not
    affected. The process of an unreadable file is not used again.
    """

    def __init__(self, *, processes: int, limits: Limits) -> None:
        """ConfigurationError where the extra `documents` is not installed."""
        self.fingerprint = fingerprint()
        self._limits = limits
        self._turns = Scheduler(processes)
        self._lock = Lock()
        self._idle: list[ParserProcess] = []
        self._busy: set[ParserProcess] = set()
        self._closed = False

    def submit(self, file: bytes, lane: Lane = "fresh") -> Future[Document]:
        """Parses a file in its turn; the future raises UnreadableFile, or CancelledError after close()."""
        return self._turns.submit(lane, partial(self._parse, file))

    def close(self) -> None:
        """Kills the processes; files that are not parsed yet are cancelled."""
        with self._lock:
            self._closed = True
            for process in self._busy:
                process.kill()
            for process in self._idle:
                process.discard()
        self._turns.shutdown(cancel_futures=True)

    def _parse(self, file: bytes) -> Document:
        """Parses a file, and once more where its process ended, which others may have killed or earlier files worn."""
        if len(file) > self._limits.file_bytes:
            raise UnreadableFile(
                f"The file has {len(file) / 1e6:,.1f} MB, more than PGEMBEDD_FILE_MAX_MB ({self._limits.file_max_mb})."
            )
        try:
            return self._parse_in(self._take(fresh=False), file)
        except ProcessEndedError:
            pass
        try:
            return self._parse_in(self._take(fresh=True), file)
        except ProcessEndedError as error:
            raise ParserEndedError(str(error)) from error

    def _take(self, *, fresh: bool) -> ParserProcess:
        with self._lock:
            if self._closed:
                raise CancelledError
            process = self._idle.pop() if self._idle and not fresh else ParserProcess(self._limits)
            self._busy.add(process)
            return process

    def _parse_in(self, process: ParserProcess, file: bytes) -> Document:
        """Parses a file in a process, which is kept for the next one where that went well."""
        kept = False
        try:
            document = process.parse(file)
            kept = process.files < _FILES_A_PROCESS
        except (ProcessEndedError, UnreadableFile):
            if self._closed:
                raise CancelledError from None
            raise
        finally:
            with self._lock:
                self._busy.discard(process)
                if kept and not self._closed:
                    self._idle.append(process)
                else:
                    process.discard()
        return document

"""A process that parses files, seen from its parent: files go in, documents come out, and a deadline ends it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import astuple
from threading import Timer
from typing import IO, Any, cast

import orjson

from pgembedd.documents.document import Document, Page
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.limits import Limits

LENGTH_BYTES = 8
"""Of the number that precedes a file and an answer."""


class ProcessEndedError(Exception):
    """The process ended, or had no memory left: by this file, by an earlier one, or because another killed it."""


class ParserProcess:
    """One process of `pgembedd.documents.child`. It has an environment of its own, so none of our secrets."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.files = 0
        self._late = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgembedd.documents.child", *map(str, astuple(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1", "OMP_THREAD_LIMIT": "1"},
            cwd="/",
            start_new_session=True,  # a terminal's Ctrl-C is for the parent
        )
        pipes = self._process.stdin, self._process.stdout
        self._files, self._answers = (cast("IO[bytes]", pipe) for pipe in pipes)

    def parse(self, file: bytes) -> Document:
        """Returns the document; raises UnreadableFile, or ProcessEndedError."""
        self.files += 1
        timer = Timer(self._limits.timeout_s, self._end_late)
        timer.start()
        try:
            answer = self._exchange(file)
        except OSError:
            answer = b""
        finally:
            timer.cancel()
            timer.join()
        if self._late:
            raise UnreadableFile(
                f"The file was not parsed within {self._limits.timeout_s:g} seconds (PGEMBEDD_PARSE_TIMEOUT_S)."
            )
        if not answer:
            raise ProcessEndedError(self._ending())
        try:
            return self._document(orjson.loads(answer))
        except (KeyError, TypeError, ValueError) as error:
            raise ProcessEndedError("The process that parsed the file answered no document: it is damaged.") from error

    def kill(self) -> None:
        """Ends the process, whatever it does; the thread that waits for its answer goes on."""
        self._process.kill()

    def discard(self) -> None:
        """Ends the process, where no thread waits for it."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with suppress(OSError):  # of what was not written yet
            self._files.close()

    def _end_late(self) -> None:
        self._late = True
        self.kill()

    def _exchange(self, file: bytes) -> bytes:
        """Sends a file; returns the answer, b"" where the process ended or would answer more than may be."""
        self._files.write(len(file).to_bytes(LENGTH_BYTES))
        self._files.write(file)
        self._files.flush()
        length = int.from_bytes(self._answers.read(LENGTH_BYTES))
        if length > 4 * self._limits.file_bytes + 1_000_000:
            return b""
        answer = self._answers.read(length)
        return answer if len(answer) == length else b""

    def _ending(self) -> str:
        self.kill()
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"code {status}"
        return (
            f"The process that parsed the file ended ({how}): the file is damaged, or needs more than "
            f"PGEMBEDD_PARSE_MEMORY_MB ({self._limits.memory_mb})."
        )

    def _document(self, answer: dict[str, Any]) -> Document:
        if "unreadable" in answer:
            raise UnreadableFile(answer["unreadable"])
        if "memory" in answer:
            raise ProcessEndedError(
                f"The file needs more memory than PGEMBEDD_PARSE_MEMORY_MB ({self._limits.memory_mb})."
            )
        pages = (Page(number, tuple(headings), text) for number, headings, text in answer["pages"])
        return Document(answer["kind"], tuple(pages), answer["metadata"], tuple(answer["notes"]))

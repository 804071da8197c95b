"""The process that parses files: `python -m pgembedd.documents.child TIMEOUT_S MEMORY_MB FILE_MAX_MB`.

Its standard input has files, each after its length, and its standard output an answer to each. It holds itself to its
limits before the first file, so that what a file makes a parser do ends in this process.
"""

import codecs
import gc
import os
import pkgutil
import sys
from encodings import __path__ as _encodings_path
from typing import Any, BinaryIO

import orjson

from pgembedd.documents import ocr
from pgembedd.documents.confinement import bound_time, confine
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.limits import Limits
from pgembedd.documents.process import LENGTH_BYTES
from pgembedd.documents.read import read


def main() -> None:
    """Answers each file of standard input, to its end."""
    files, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # a library that prints must not answer
    limits = Limits(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    _load_encodings()
    ocr.reader()
    confine(limits)
    gc.freeze()
    gc.disable()  # between two files, not within: of a file's lines and pages there is nothing to collect
    while length := files.read(LENGTH_BYTES):
        bound_time(limits.timeout_s)
        _answer(answers, _parse(files.read(int.from_bytes(length)), limits))
        gc.collect()


def _parse(file: bytes, limits: Limits) -> bytes:
    """Returns the answer as JSON: never a type that reading could run code of."""
    try:
        document = read(file, limits.file_bytes)
        pages = [(page.number, page.headings, page.text) for page in document.pages]
        answer: dict[str, Any] = {"kind": document.kind, "metadata": document.metadata, "notes": document.notes}
        return orjson.dumps(answer | {"pages": pages})
    except UnreadableFile as error:
        return orjson.dumps({"unreadable": str(error)})
    except MemoryError:
        return orjson.dumps({"memory": True})
    except BaseException as error:  # what a damaged file makes of a library, or of us; also a panic of Rust
        return orjson.dumps({"unreadable": f"The file is damaged: its reader stopped ({type(error).__name__})."})


def _answer(answers: BinaryIO, answer: bytes) -> None:
    answers.write(len(answer).to_bytes(LENGTH_BYTES))
    answers.write(answer)
    answers.flush()


def _load_encodings() -> None:
    """Imports each encoding, as no file can be opened later."""
    for module in pkgutil.iter_modules(_encodings_path):
        try:
            codecs.lookup(module.name)
        except (LookupError, ImportError):  # mbcs, oem: those of Windows
            continue


if __name__ == "__main__":
    main()

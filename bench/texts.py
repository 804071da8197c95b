"""Texts that lie about on a Debian machine: manual pages and what packages say about themselves.

A text is a unit that an author wrote: one section of a manual page, one entry of a changelog, one readme. So
the lengths are those that real rows have, from a line to thousands of tokens.
"""

import gzip
import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

MANUALS = Path("/usr/share/man")
PACKAGES = Path("/usr/share/doc")
FAMILY_LIMIT = 40
"""Pages of one family (`git-add`, `git-log`) that are read: thousands of near-equal ones are no corpus."""

_FILE_BYTES = 400_000
_TEXTUAL = {"", ".txt", ".md", ".rst", ".Debian", ".gz"}
_ESCAPE = re.compile(r"\\f(\[[^]]*\]|\(..|.)|\\s[-+]?\d+|\\[(*]..|\\\[[^]]*\]|\\[^-\w]?")
_SECTION = re.compile(r"^\.\s*S[Hh]\s+", re.MULTILINE)
_REQUEST = re.compile(r"^[.']\s*([a-z]{2}\b.*|[TPLH]P\b.*|PP\b.*|\\\".*|\.?$|[A-Z]\w*\s?)", re.MULTILINE)
_CHANGE = re.compile(r"^(?=\S+ \([^)\n]+\) [^\n;]+; urgency=)", re.MULTILINE)


def manual_sections(root: Path = MANUALS) -> Iterator[str]:
    """Each section of each English manual page, with the page's name in front; nothing where there are none."""
    pages = sorted(path for path in root.glob("man[1-8]/*") if path.is_file())
    for _, family in itertools.groupby(
        pages, lambda path: (path.parent, re.split(r"[-_.:]", path.name, maxsplit=1)[0])
    ):
        for path in itertools.islice(family, FAMILY_LIMIT):
            title, _, number = path.name.removesuffix(".gz").rpartition(".")
            for section in _SECTION.split(read_text(path))[1:]:  # what comes before the first one is set-up
                heading, _, body = section.partition("\n")
                yield f"{title}({number}) {plain(heading)}\n\n{plain(body)}"


def package_texts(root: Path = PACKAGES) -> Iterator[str]:
    """Readmes and the like whole, changelogs entry by entry; nothing where there are none."""
    for path in sorted(path for path in root.glob("**/*") if path.suffix in _TEXTUAL and path.is_file()):
        text = read_text(path)
        if "changelog" in path.name.casefold():
            # An old package has hundreds; the newest will do.
            yield from (entry.strip() for entry in itertools.islice(_CHANGE.split(text), 1, 6))
        elif path.name != "copyright":
            yield text.strip()


def read_text(path: Path) -> str:
    """The beginning of the file, unpacked; nothing where it cannot be read or is no UTF-8 text."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text = file.read(_FILE_BYTES).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return ""
    return "" if "\0" in text else text


def plain(source: str) -> str:
    """Troff without its requests and escapes: readable, though not laid out, and symbols are gone."""
    return re.sub(r"\n{2,}", "\n", _ESCAPE.sub("", _REQUEST.sub("", source))).replace('"', "").strip()

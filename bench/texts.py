"""Texts that lie about on a Debian machine: manual pages and what packages say about themselves.

A text is a unit that an author wrote: one section of a manual page, one entry of a changelog, one readme. So
the lengths are those that real rows have, from a line to thousands of tokens.
"""

import gzip
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

MANUALS = Path("/usr/share/man")
PACKAGES = Path("/usr/share/doc")
FAMILY_LIMIT = 40
"""Pages of one family (`git-add`, `git-log`) that are read: thousands of near-equal ones are no corpus."""

_FILE_BYTES = 400_000
_TEXTUAL = {"", ".txt", ".md", ".rst", ".Debian", ".gz"}
_ESCAPES = (
    (re.compile(r"\\f(\[[^]]*\]|\(..|.)|\\s[-+]?\d+|\\[&|^/,%:)]|\\m\[[^]]*\]|\\[vhd]'[^']*'"), ""),
    (re.compile(r"\\\*(\[[^]]*\]|\(..|.)"), ""),
    (re.compile(r"\\\(dq|\\\[dq\]|\\\(lq|\\\(rq"), '"'),
    (re.compile(r"\\\(aq|\\\[aq\]|\\\(oq|\\\(cq"), "'"),
    (re.compile(r"\\\(bu|\\\[bu\]"), "*"),
    (re.compile(r"\\\(e[mn]|\\\[e[mn]\]|\\-"), "-"),
    (re.compile(r"\\\(..|\\\[[^]]*\]"), " "),
    (re.compile(r"\\[e\\]"), r"\\"),
    (re.compile(r"\\[ ~0]"), " "),
)
_SECTION = re.compile(r"^\.\s*S[Hh]\s+", re.MULTILINE)
_CONTROL = re.compile(r"^[.']\s*(\S*)\s*(.*)$")
_BREAKS = {"PP", "P", "LP", "TP", "IP", "HP", "sp", "br", "Pp", "It", "RS", "SS", "Ss", "TQ"}
_SPEAKING = {"B", "I", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB", "SS", "Ss", "UR", "MT"}
_CHANGE = re.compile(r"^(?=\S+ \([^)\n]+\) [^\n;]+; urgency=)", re.MULTILINE)


def manual_sections(root: Path = MANUALS) -> Iterator[str]:
    """Each section of each English manual page, with the page's name in front; nothing where there are none."""
    pages = sorted(path for path in root.glob("man[1-8]/*") if path.is_file())
    for path in _few_of_each(pages):
        title, number = _page_name(path)
        for heading, body in _sections(read_text(path)):
            yield f"{title}({number}) {heading}\n\n{body}"


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


def _few_of_each(pages: Iterable[Path]) -> Iterator[Path]:
    seen: Counter[tuple[str, str]] = Counter()
    for path in pages:
        family = (path.parent.name, re.split(r"[-_.:]", path.name, maxsplit=1)[0])
        seen[family] += 1
        if seen[family] <= FAMILY_LIMIT:
            yield path


def _page_name(path: Path) -> tuple[str, str]:
    """`tar.1.gz` is ("tar", "1")."""
    title, _, number = path.name.removesuffix(".gz").rpartition(".")
    return title, number


def _sections(source: str) -> Iterator[tuple[str, str]]:
    """(heading, text) of each section of a page in troff; what comes before the first one is set-up."""
    for part in _SECTION.split(source)[1:]:
        heading, _, body = part.partition("\n")
        if text := plain(body):
            yield plain(heading).strip('"'), text


def plain(source: str) -> str:
    """Troff with its requests and escapes taken out: readable, though not laid out."""
    lines, inside_macro = [], False
    for line in source.splitlines():
        inside_macro = (inside_macro or line.startswith((".de", ".ig"))) and line.strip() != ".."
        if not inside_macro and (said := _line(line)) is not None:
            lines.append(said)
    text = "\n".join(lines)
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _line(line: str) -> str | None:
    """What a line of troff says; None for a request that says nothing."""
    control = _CONTROL.match(line)
    if control is None:
        return None if line.startswith('\\"') else line
    request, words = control.groups()
    if request in _SPEAKING or (request[:1].isupper() and request[1:].islower()):  # man's fonts; mdoc's macros
        return words.replace('" "', " ").strip('"')
    return "" if request in _BREAKS else None

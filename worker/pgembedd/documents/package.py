"""A ZIP archive of XML, which office documents and e-books are: its parts, read in pieces and up to a bound."""

import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from posixpath import dirname, join, normpath
from typing import ClassVar

from pgembedd.documents.document import Metadata
from pgembedd.documents.errors import UnreadableFile

_PIECE = 1 << 16
_TIMES_TEXT = 4
"""Bytes that the parts may have together, as a multiple of those of the text: what is around it in XML."""


class Package:
    """The parts of an archive by name. UnreadableFile where it is damaged, encrypted, or expands beyond the bound."""

    def __init__(self, file: bytes, text_bytes: int) -> None:
        self.file = file
        self.text_bytes = text_bytes
        self._left = _TIMES_TEXT * text_bytes
        try:
            self._archive = zipfile.ZipFile(BytesIO(file))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UnreadableFile("The file is a ZIP archive that is damaged: it has no directory.") from error
        self.names = set(self._archive.namelist())

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yields a part; nothing where there is none."""
        if name not in self.names:
            return
        try:
            with self._archive.open(name) as part:
                while piece := part.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise self._too_large()
                    yield piece
        except RuntimeError as error:
            raise UnreadableFile("The file is an encrypted archive: store it without a password.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
            raise UnreadableFile(f"The file is damaged: its part {name} cannot be expanded.") from error

    def check_size(self) -> None:
        """Refuses what states that it expands beyond the bound, for a library that expands it itself."""
        read = (part for part in self._archive.infolist() if part.filename.endswith((".xml", ".bin")))
        if sum(part.file_size for part in read) > self._left:
            raise self._too_large()

    def part(self, name: str) -> bytes:
        """Returns a part, b"" for none."""
        return b"".join(self.pieces(name))

    def _too_large(self) -> UnreadableFile:
        return UnreadableFile(
            f"The file expands to more than {_TIMES_TEXT * self.text_bytes / 1e6:,.0f} MB, "
            f"{_TIMES_TEXT} times PGEMBEDD_FILE_MAX_MB."
        )

    def parse(self, name: str, target: "Target") -> None:
        """Hands the elements of a part to a target, one by one; of a part that is missing, none."""
        parser = ET.XMLParser(target=target)
        try:
            for piece in self.pieces(name):
                parser.feed(piece)
            if name in self.names:
                parser.close()
        except ET.ParseError as error:
            raise UnreadableFile(f"The file is damaged: its part {name} is no XML.") from error

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Returns what an OOXML part refers to: the last word of each type, and the part's name, by id."""
        found = Attributes("Relationship")
        self.parse(join(dirname(name), "_rels", name.rpartition("/")[2] + ".rels"), found)
        return {
            each.get("Id", ""): (
                each.get("Type", "").rpartition("/")[2],
                normpath(join("/", dirname(name), each.get("Target", ""))).lstrip("/"),
            )
            for each in found.all
        }


class Target:
    """Receives the elements of XML by their local names, without what is inside of those that are `ignored`."""

    ignored: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._ignored = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Called by the parser."""
        name = tag.rpartition("}")[2]
        if self._ignored or name in self.ignored:
            self._ignored += 1
        else:
            self.begin(name, {key.rpartition("}")[2]: value for key, value in attributes.items()})

    def end(self, tag: str) -> None:
        """Called by the parser."""
        if self._ignored:
            self._ignored -= 1
        else:
            self.finish(tag.rpartition("}")[2])

    def data(self, text: str) -> None:
        """Called by the parser."""
        if not self._ignored:
            self.text(text)

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def finish(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """A piece of text, between any two elements."""


class Attributes(Target):
    """Collects the attributes of the elements that have a name, in order."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.all: list[dict[str, str]] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """Keeps what is asked for."""
        if name == self._name:
            self.all.append(attributes)


class Properties(Target):
    """Collects the texts of elements that hold text alone, by their names: those of Dublin Core and their like."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = defaultdict(list)
        self._text: list[str] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:  # noqa: ARG002
        """An element's own text begins."""
        self._text = []

    def text(self, text: str) -> None:
        """Collects it."""
        self._text.append(text)

    def finish(self, name: str) -> None:
        """Keeps the text of an element."""
        if text := " ".join("".join(self._text).split()):
            self.found[name].append(text[:1_000])
        self._text = []

    def metadata(self) -> Metadata:
        """Returns those that documents have, by our names."""
        first = {name: texts[0] for name, texts in self.found.items()}
        authors = self.found.get("initial-creator") or self.found.get("creator")
        stated = {
            "title": first.get("title"),
            "authors": authors,
            "created": first.get("created") or first.get("creation-date"),
            "modified": first.get("modified") or first.get("date"),
            "language": first.get("language"),
        }
        return {name: value for name, value in stated.items() if value}

"""EPUB: its chapters in reading order, each the beginning of a page."""

from posixpath import dirname, join, normpath
from typing import ClassVar
from urllib.parse import unquote

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.html import HtmlReader, decode_html
from pgembedd.documents.package import Attributes, Package, Properties, Target
from pgembedd.documents.sections import Sections


def read_epub(package: Package) -> Document:
    """Reads an EPUB."""
    roots = Attributes("rootfile")
    package.parse("META-INF/container.xml", roots)
    root = next((each.get("full-path", "") for each in roots.all), "")
    content, properties, encrypted = _Content(), Properties(), Attributes("CipherReference")
    package.parse(root, content)
    package.parse(root, properties)
    package.parse("META-INF/encryption.xml", encrypted)
    chapters = [normpath(join(dirname(root), unquote(path))) for path in content.chapters()]
    if {each.get("URI") for each in encrypted.all} & set(chapters):
        raise UnreadableFile("The e-book is protected against copying: store it without that.")
    sections = Sections()
    for chapter in chapters:
        HtmlReader(sections).read(decode_html(package.part(chapter)))
        sections.end_page()
    return Document("epub", sections.pages(), properties.metadata())


class _Content(Target):
    """The parts of the book, and the order of its chapters."""

    ignored: ClassVar[frozenset[str]] = frozenset({"metadata"})

    def __init__(self) -> None:
        super().__init__()
        self._paths: dict[str, str] = {}
        self._order: list[str] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "item" and "html" in attributes.get("media-type", ""):
            self._paths[attributes.get("id", "")] = attributes.get("href", "")
        elif name == "itemref":
            self._order.append(attributes.get("idref", ""))

    def chapters(self) -> list[str]:
        """Returns the paths of the chapters, each once."""
        return list(dict.fromkeys(self._paths[each] for each in self._order if each in self._paths))

"""ODT and ODP: headings, paragraphs, lists and tables; a slide of an ODP is a page."""

from typing import ClassVar

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.package import Package, Properties, Target
from pgembedd.documents.sections import Sections


def read_opendocument(package: Package, kind: str) -> Document:
    """Reads an ODT or an ODP."""
    if b"encryption-data" in package.part("META-INF/manifest.xml"):
        raise UnreadableFile("The document is encrypted: store it without a password.")
    sections, properties = Sections(paged=kind == "odp"), Properties()
    package.parse("content.xml", _Body(sections))
    package.parse("meta.xml", properties)
    return Document(kind, sections.pages(), properties.metadata())


class _Body(Target):
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"annotation", "tracked-changes", "note-citation", "forms", "automatic-styles", "desc", "title"}
    )

    def __init__(self, sections: Sections) -> None:
        super().__init__()
        self._sections = sections
        self._open: list[list[str]] = []
        self._level = 0
        self._rows: list[list[list[str]]] = []
        self._list: list[str] = []
        self._depth = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("p", "h"):
            self._open.append([])
            self._level = _number(attributes.get("outline-level"), 1) if name == "h" else 0
        elif name == "list":
            self._depth += 1
        elif name == "table":
            self._rows.append([])
        elif name == "table-row" and self._rows:
            self._rows[-1].append([])
        elif name in ("table-cell", "covered-table-cell") and self._rows and self._rows[-1]:
            self._rows[-1][-1].append("")
        elif self._open:
            if name == "s":
                self._open[-1].append(" " * min(_number(attributes.get("c"), 1), 100))
            elif name in ("tab", "line-break"):
                self._open[-1].append("\t" if name == "tab" else "\n")

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1].append(text)

    def finish(self, name: str) -> None:
        if name in ("p", "h") and self._open:
            self._add("".join(self._open.pop()).strip())
            self._level = 0
        elif name == "list":
            self._depth -= 1
            if not self._depth:
                self._sections.markdown("\n".join(self._list))
                self._list = []
        elif name == "table" and self._rows:
            rows = self._rows.pop()
            if self._rows:
                self._add("\n".join(cell for row in rows for cell in row if cell))
            else:
                self._sections.table(rows)
        elif name == "page":
            self._sections.end_page(forget=True)

    def _add(self, text: str) -> None:
        if self._rows:
            if self._rows[-1] and self._rows[-1][-1]:
                cells = self._rows[-1][-1]
                cells[-1] = f"{cells[-1]}\n{text}".strip()
        elif self._level:
            self._sections.heading(self._level, text)
        elif self._depth and text:
            self._list.append("  " * min(self._depth - 1, 8) + "- " + " ".join(text.split()))
        else:
            self._sections.block(text)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default

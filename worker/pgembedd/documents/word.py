"""DOCX: paragraphs with their styles, lists, tables, text boxes and notes."""

from dataclasses import dataclass, field
from typing import ClassVar

from pgembedd.documents.document import Document
from pgembedd.documents.package import Package, Properties, Target
from pgembedd.documents.sections import Sections

_DOCUMENT = "word/document.xml"


def read_docx(package: Package) -> Document:
    """Reads a DOCX."""
    main = next((part for kind, part in package.relations("").values() if kind == "officeDocument"), _DOCUMENT)
    parts = [part for _, part in sorted(package.relations(main).values())]
    styles, properties, sections = _Styles(), Properties(), Sections()
    for part in parts:
        if part.endswith("styles.xml"):
            package.parse(part, styles)
    package.parse(main, _Body(sections, styles.levels()))
    for part in parts:
        if part.endswith(("footnotes.xml", "endnotes.xml")):
            package.parse(part, _Body(sections, {}))
    package.parse("docProps/core.xml", properties)
    return Document("docx", sections.pages(), {"language": styles.language, **properties.metadata()})


class _Styles(Target):
    """The outline level of each style, from 1, which it has by name or from the style that it is based on."""

    def __init__(self) -> None:
        super().__init__()
        self._style = ""
        self._level: dict[str, int] = {}
        self._based: dict[str, str] = {}
        self.language = ""

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "lang" and not self.language:
            self.language = value
        elif name == "basedOn":
            self._based[self._style] = value
        elif name == "outlineLvl" and value.isdigit():
            self._level.setdefault(self._style, int(value) + 1)
        elif name == "name" and (level := _level_of_name(value)):
            self._level[self._style] = level

    def levels(self) -> dict[str, int]:
        """Returns the levels of headings by the id of the style."""
        found = {}
        for style in {*self._level, *self._based}:
            at, seen = style, {style}
            while at not in self._level and (at := self._based.get(at, "")) and at not in seen:
                seen.add(at)
            if 1 <= self._level.get(at, 0) <= 9:
                found[style] = self._level[at]
        return found


def _level_of_name(name: str) -> int:
    """Returns the level of a style that Word itself has, which has an English name in every language."""
    word, _, number = name.lower().partition(" ")
    if word == "heading" and number.isdigit():
        return int(number)
    return int(word == "title")


@dataclass(slots=True)
class _Paragraph:
    texts: list[str] = field(default_factory=list)
    level: int = 0
    indent: int | None = None


class _Body(Target):
    """Paragraphs and tables. One that is inside of a paragraph, as a text box is, comes before it."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"Fallback", "instrText", "delText", "moveFrom", "pPrChange", "rPrChange", "tabs"}
    )

    def __init__(self, sections: Sections, levels: dict[str, int]) -> None:
        super().__init__()
        self._sections = sections
        self._levels = levels
        self._open: list[_Paragraph] = []
        self._in_text = False
        self._rows: list[list[list[str]]] = []
        self._list: list[str] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "p":
            self._open.append(_Paragraph())
        elif name == "tbl":
            self._end_list()
            self._rows.append([])
        elif name == "tr" and self._rows:
            self._rows[-1].append([])
        elif name == "tc" and self._rows and self._rows[-1]:
            self._rows[-1][-1].append("")
        elif self._open:
            self._begin_inside(name, attributes.get("val", ""))

    def _begin_inside(self, name: str, value: str) -> None:
        paragraph = self._open[-1]
        if name == "t":
            self._in_text = True
        elif name in _MARKS:
            paragraph.texts.append(_MARKS[name])
        elif name == "pStyle":
            paragraph.level = self._levels.get(value, 0)
        elif name == "outlineLvl" and value in "012345678":
            paragraph.level = int(value or 8) + 1
        elif name == "ilvl" and value.isdigit():
            paragraph.indent = min(int(value), 8)

    def text(self, text: str) -> None:
        if self._in_text:
            self._open[-1].texts.append(text)

    def finish(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "p" and self._open:
            self._add(self._open.pop())
        elif name == "tbl" and self._rows:
            self._end_table(self._rows.pop())

    def close(self) -> None:
        """Ends the list that a part ends with; called by the parser."""
        self._end_list()

    def _add(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.texts).strip()
        if not text:
            return
        if self._rows:
            self._add_to_cell(text)
        elif paragraph.level:
            self._end_list()
            self._sections.heading(paragraph.level, text)
        elif paragraph.indent is not None:
            self._list.append("  " * paragraph.indent + "- " + " ".join(text.split()))
        else:
            self._end_list()
            self._sections.block(text)

    def _add_to_cell(self, text: str) -> None:
        if self._rows[-1] and self._rows[-1][-1]:
            cells = self._rows[-1][-1]
            cells[-1] = f"{cells[-1]}\n{text}".strip()

    def _end_table(self, rows: list[list[str]]) -> None:
        if self._rows:
            self._add_to_cell("\n".join(cell for row in rows for cell in row if cell))
        else:
            self._sections.table(rows)

    def _end_list(self) -> None:
        self._sections.markdown("\n".join(self._list))
        self._list = []


_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}

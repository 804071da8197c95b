"""PPTX: a slide is a page, with its title as heading, its tables, and its notes at the end."""

from typing import ClassVar

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.package import Attributes, Package, Properties, Target
from pgembedd.documents.sections import Sections

_TITLES = ("title", "ctrTitle")
_AROUND = ("sldNum", "dt", "ftr", "hdr", "sldImg")
"""Placeholders of what each slide repeats."""


def read_pptx(package: Package) -> Document:
    """Reads a PPTX."""
    main = next((part for kind, part in package.relations("").values() if kind == "officeDocument"), "")
    order, properties, relations = Attributes("sldId"), Properties(), package.relations(main)
    package.parse(main, order)
    slides = [relations[each["id"]][1] for each in order.all if each.get("id") in relations]
    sections = Sections(paged=True)
    for slide in slides:
        _add_slide(package, sections, slide)
        sections.end_page(forget=True)
    package.parse("docProps/core.xml", properties)
    found = sections.pages()
    if slides and not found:
        raise UnreadableFile(f"The file holds no text: its slides ({len(slides):,}) are pictures.")
    empty = len(slides) - len(found)
    notes = (f"{empty:,} of {len(slides):,} slides hold no text.",) if empty else ()
    return Document("pptx", found, {"pages": len(slides), **properties.metadata()}, notes)


def _add_slide(package: Package, sections: Sections, slide: str) -> None:
    shapes = _Shapes()
    package.parse(slide, shapes)
    sections.heading(1, " ".join(shapes.title))
    for block in shapes.blocks:
        if isinstance(block, str):
            sections.block(block)
        else:
            sections.table(block)
    for kind, part in package.relations(slide).values():
        if kind == "notesSlide":
            said = _Shapes()
            package.parse(part, said)
            for block in said.blocks:
                if isinstance(block, str):
                    sections.block(block)


class _Shapes(Target):
    """The title of a slide, and in order its other texts, each the paragraphs of one shape, and its tables."""

    ignored: ClassVar[frozenset[str]] = frozenset({"Fallback"})

    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.blocks: list[str | list[list[str]]] = []
        self._kind = ""
        self._paragraphs: list[str] = []
        self._paragraph: list[str] = []
        self._rows: list[list[str]] = []
        self._in_text = False

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("sp", "graphicFrame"):
            self._kind, self._paragraphs = "", []
        elif name == "ph":
            self._kind = attributes.get("type", "")
        elif name == "tbl":
            self._rows = []
        elif name == "tr":
            self._rows.append([])
        elif name == "tc":
            self._paragraphs = []
        elif name == "p":
            self._paragraph = []
        elif name == "pPr" and attributes.get("lvl", "0") in "12345678":
            self._paragraph.append("  " * int(attributes["lvl"]) + "- ")
        elif name == "t":
            self._in_text = True
        elif name == "br":
            self._paragraph.append("\n")

    def text(self, text: str) -> None:
        if self._in_text:
            self._paragraph.append(text)

    def finish(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "p":
            if (text := "".join(self._paragraph).rstrip()).strip(" -"):
                self._paragraphs.append(text)
        elif name == "tc" and self._rows:
            self._rows[-1].append("\n".join(self._paragraphs))
            self._paragraphs = []
        elif name == "tbl":
            self.blocks.append(self._rows)
        elif name == "sp":
            self._end_shape()

    def _end_shape(self) -> None:
        if self._kind in _TITLES:
            self.title += self._paragraphs
        elif self._kind not in _AROUND and self._paragraphs:
            self.blocks.append("\n".join(self._paragraphs))
        self._kind, self._paragraphs = "", []

"""PDF, by PDFium: a page is a page, its headings are those of the outline, else lines in larger letters."""

import ctypes
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

import pypdfium2
import pypdfium2.raw as pdfium

from pgembedd.documents import ocr
from pgembedd.documents.document import Document, Metadata
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.pdf_headings import Heading, headings_by_size, headings_of_outline
from pgembedd.documents.pdf_lines import Line, characters_by_size, lines_of, without_running_titles
from pgembedd.documents.sections import Sections

_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-]\d\d)'?(\d\d)?)?")


def read_pdf(file: bytes) -> Document:
    """Reads a PDF; what is encrypted opens where its password for readers is empty."""
    try:
        pdf = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise UnreadableFile("The PDF is encrypted: store it without a password.") from error
        raise UnreadableFile("The PDF is damaged: PDFium cannot open it.") from error
    pages = [_read_page(pdf, index) for index in range(len(pdf))]
    scanned = _read_scans(pdf, pages)
    sizes = characters_by_size(pages)
    pages = without_running_titles(pages, sizes)
    sections = Sections(paged=True)
    for lines, headings in zip(pages, _headings(pdf, pages, sizes), strict=True):
        _add_page(sections, lines, headings)
        sections.end_page()
    found = sections.pages()
    empty = len(pages) - len(found)
    if pages and not found:
        remedy = "pip install 'pgembedd[ocr]' reads scans, in the languages that it has"
        raise UnreadableFile(
            f"The file holds no text: its pages ({len(pages):,}) are scanned or drawn"
            f"{', and OCR finds none' if ocr.reader() else f'; {remedy}'}."
        )
    notes = [f"{scanned:,} of {len(pages):,} pages were read by OCR."] if scanned else []
    notes += [f"{empty:,} of {len(pages):,} pages hold no text."] if empty else []
    return Document("pdf", found, _metadata(pdf), tuple(notes))


def _read_scans(pdf: pypdfium2.PdfDocument, pages: list[list[Line]]) -> int:
    """Fills the pages without text with what OCR reads of them, where it is installed; returns how many have some."""
    reader = ocr.reader()
    empty = [number for number, lines in enumerate(pages) if not lines] if reader else []
    for number in empty:
        text = reader.read(pdf[number]) if reader else ""
        pages[number] = [
            Line(line, 0.0, 0.0, begins_paragraph=nth == 0)
            for paragraph in text.split("\n\n")
            for nth, line in enumerate(filter(None, map(str.strip, paragraph.split("\n"))))
        ]
    return sum(bool(pages[number]) for number in empty)


def _read_page(pdf: pypdfium2.PdfDocument, index: int) -> list[Line]:
    page = pdfium.FPDF_LoadPage(pdf.raw, index)
    if not page:
        return []
    try:
        return lines_of(page)
    finally:
        pdfium.FPDF_ClosePage(page)


def _headings(pdf: pypdfium2.PdfDocument, pages: list[list[Line]], sizes: Counter[float]) -> Iterator[list[Heading]]:
    outline: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for entry in pdf.get_toc():
        target = entry.get_dest()
        if target is not None and (index := target.get_index()) is not None:
            outline[index].append((entry.level + 1, " ".join(entry.get_title().split())))
    if not outline:
        yield from headings_by_size(pages, sizes)
        return
    for index, lines in enumerate(pages):
        yield headings_of_outline(outline.get(index, []), lines)


def _add_page(sections: Sections, lines: list[Line], headings: list[Heading]) -> None:
    at = 0
    for heading in headings:
        _add_paragraphs(sections, lines[at : heading.line])
        sections.heading(heading.level, heading.title, shown=heading.lines > 0)
        at = heading.line + heading.lines
    _add_paragraphs(sections, lines[at:])


def _add_paragraphs(sections: Sections, lines: list[Line]) -> None:
    paragraph: list[str] = []
    for line in lines:
        if line.begins_paragraph:
            sections.block("\n".join(paragraph))
            paragraph = []
        paragraph.append(line.text)
    sections.block("\n".join(paragraph))


def _metadata(pdf: pypdfium2.PdfDocument) -> Metadata:
    said = pdf.get_metadata_dict(skip_empty=True)
    found: dict[str, str | int | list[str]] = {"pages": len(pdf)}
    if title := said.get("Title", "").strip():
        found["title"] = title
    if author := said.get("Author", "").strip():
        found["authors"] = [author]
    if language := _language(pdf):
        found["language"] = language
    for name, key in (("created", "CreationDate"), ("modified", "ModDate")):
        if date := _date(said.get(key, "")):
            found[name] = date
    return found


def _language(pdf: pypdfium2.PdfDocument) -> str:
    size = pdfium.FPDFCatalog_GetLanguage(pdf.raw, None, 0)
    buffer = (ctypes.c_ushort * (size // 2))()
    pdfium.FPDFCatalog_GetLanguage(pdf.raw, buffer, size)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0").strip()


def _date(text: str) -> str:
    """Returns a date of PDF's ("D:20221117125131+01'00'") in ISO 8601, "" for none."""
    found = _DATE.match(text)
    if not found:
        return ""
    year, *rest = found.groups()[:6]
    parts = [int(part or least) for part, least in zip(rest, (1, 1, 0, 0, 0), strict=True)]
    zone = "+00:00" if found[7] else f"{found[8]}:{found[9] or '00'}" if found[8] else ""
    try:
        return datetime(int(year), *parts).isoformat() + zone  # type: ignore[arg-type]
    except ValueError:
        return ""

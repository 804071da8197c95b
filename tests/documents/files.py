"""Small files of each format, made with the standard library."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

Lines = Sequence[tuple[float, str]]

_CORE = (
    '<cp:coreProperties xmlns:cp="c" xmlns:dc="d" xmlns:dcterms="t"><dc:title>Swifts</dc:title>'
    "<dc:creator>Ada Beck</dc:creator><dcterms:created>2024-02-01T10:00:00Z</dcterms:created></cp:coreProperties>"
)
_RELATION = '<Relationship Id="{}" Type="http://x/{}" Target="{}"/>'
TYPES = "<Types/>"


def package(parts: Mapping[str, str | bytes], mimetype: str = "") -> bytes:
    """An archive of these parts."""
    made = BytesIO()
    with ZipFile(made, "w", ZIP_DEFLATED) as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype, ZIP_STORED)
        for name, part in parts.items():
            archive.writestr(name, part)
    return made.getvalue()


def relations(*each: tuple[str, str, str]) -> str:
    """The part that names what another refers to: id, type and target."""
    return f"<Relationships>{''.join(_RELATION.format(*one) for one in each)}</Relationships>"


def docx(body: str, **parts: str) -> bytes:
    """A DOCX with this body, and styles for `Heading2` and, in another language, `Titre1`, based on it."""
    styles = (
        '<w:styles xmlns:w="w"><w:style w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>'
        '<w:style w:styleId="Mine"><w:name w:val="My own"/><w:basedOn w:val="Heading2"/></w:style></w:styles>'
    )
    return package(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": relations(("r1", "officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": relations(
                ("r1", "styles", "styles.xml"), ("r2", "footnotes", "footnotes.xml")
            ),
            "word/document.xml": f'<w:document xmlns:w="w" xmlns:mc="m"><w:body>{body}</w:body></w:document>',
            "word/styles.xml": styles,
            "docProps/core.xml": _CORE,
            **{f"word/{name}.xml": part for name, part in parts.items()},
        }
    )


def paragraph(text: str, style: str = "", *, level: int | None = None) -> str:
    """A paragraph of a DOCX; with `level`, an item of a list."""
    item = "" if level is None else f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="1"/></w:numPr>'
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{item}</w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>'


def pptx(slides: Sequence[str], notes: str = "") -> bytes:
    """A PPTX with slides of these shapes, in the reverse order of their files; the first has notes."""
    numbered = list(enumerate(reversed(slides), 1))
    shown = "".join(f'<p:sldId r:id="r{number}"/>' for number, _ in reversed(numbered))
    targets = [(f"r{number}", "slide", f"slides/slide{number}.xml") for number, _ in numbered]
    return package(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": relations(("r1", "officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f'<p:p xmlns:p="p" xmlns:r="r"><p:sldIdLst>{shown}</p:sldIdLst></p:p>',
            "ppt/_rels/presentation.xml.rels": relations(*targets),
            **{f"ppt/slides/slide{number}.xml": _slide(slide) for number, slide in numbered},
            f"ppt/slides/_rels/slide{len(slides)}.xml.rels": relations(
                ("n", "notesSlide", "../notesSlides/notes1.xml")
            ),
            "ppt/notesSlides/notes1.xml": _slide(shape("1", "sldNum") + shape(notes, "body")),
            "docProps/core.xml": _CORE,
        }
    )


def shape(text: str, kind: str = "body") -> str:
    """A shape of a slide, with a paragraph a line."""
    lines = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f'<p:sp><p:nvPr><p:ph type="{kind}"/></p:nvPr><p:txBody>{lines}</p:txBody></p:sp>'


def _slide(shapes: str) -> str:
    return f'<p:sld xmlns:p="p" xmlns:a="a">{shapes}</p:sld>'


def xlsx(sheets: Mapping[str, Sequence[Sequence[str | float]]]) -> bytes:
    """A workbook with these sheets."""
    numbered = list(enumerate(sheets.items(), 1))
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, (name, _) in numbered)
    related = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n, _ in numbered
    )
    first = f'<Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
    spoken = "http://schemas.openxmlformats.org/package/2006/relationships"
    return package(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": f'<Relationships xmlns="{spoken}">{first}</Relationships>',
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{spoken}">{related}</Relationships>',
            **{
                f"xl/worksheets/sheet{n}.xml": f'<worksheet xmlns="{main}">{_sheet(rows)}</worksheet>'
                for n, (_, rows) in numbered
            },
            "docProps/core.xml": _CORE,
        }
    )


def _sheet(rows: Sequence[Sequence[str | float]]) -> str:
    made = []
    for number, row in enumerate(rows, 1):
        cells = [
            f'<c r="{chr(65 + at)}{number}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
            if isinstance(cell, str)
            else f'<c r="{chr(65 + at)}{number}"><v>{cell}</v></c>'
            for at, cell in enumerate(row)
        ]
        made.append(f'<row r="{number}">{"".join(cells)}</row>')
    return f"<sheetData>{''.join(made)}</sheetData>"


def odt(body: str, kind: str = "text") -> bytes:
    """An ODT with this body, or with `presentation` an ODP."""
    space = 'xmlns:office="o" xmlns:text="t" xmlns:table="tb" xmlns:draw="d" xmlns:dc="dc" xmlns:meta="m"'
    said = (
        "<dc:title>Swifts</dc:title><meta:initial-creator>Ada Beck</meta:initial-creator><dc:language>de</dc:language>"
    )
    return package(
        {
            "content.xml": f"<office:d {space}><office:body>{body}</office:body></office:d>",
            "meta.xml": f"<office:d {space}><office:meta>{said}</office:meta></office:d>",
        },
        f"application/vnd.oasis.opendocument.{kind}",
    )


def epub(chapters: Sequence[str]) -> bytes:
    """An EPUB with these chapters as XHTML, which the manifest lists in the reverse order."""
    items = [
        f'<item id="c{n}" href="ch%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    ]
    order = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    said = "<dc:title>Swifts</dc:title><dc:creator>Ada Beck</dc:creator><dc:language>en</dc:language>"
    opf = (
        f'<package xmlns:dc="d"><metadata>{said}</metadata><manifest>{"".join(reversed(items))}</manifest>'
        f"<spine>{order}</spine></package>"
    )
    return package(
        {
            "META-INF/container.xml": '<container><rootfile full-path="book/content.opf"/></container>',
            "book/content.opf": opf,
            **{f"book/ch {n}.xhtml": chapter for n, chapter in enumerate(chapters)},
        },
        "application/epub+zip",
    )


def pdf(
    pages: Sequence[Lines],
    outline: Sequence[tuple[str, int]] = (),
    info: str = "",
    trailer: str = "",
    language: str = "",
) -> bytes:
    """A PDF with lines of text by size from the top of each page; the outline names page numbers from 0."""
    objects: list[bytes] = [b"", b""]
    kids = []
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for lines in pages:
        content, y = b"", 800.0
        for size, text in lines:
            y -= size * 1.2 if text else size
            content += b"BT /F %.1f Tf 72 %.1f Td (%s) Tj ET\n" % (size, y, text.encode("latin-1"))
        packed = zlib.compress(content)
        objects.append(b"<< /Length %d /Filter /FlateDecode >> stream\n%s\nendstream" % (len(packed), packed))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F %s >> >> >>" % (len(objects), font)
        )
        kids.append(len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    root = b"<< /Type /Catalog /Pages 2 0 R /Lang (%s)" % language.encode()
    if outline:
        first = len(objects) + 2
        entries = range(first, first + len(outline))
        root += b" /Outlines %d 0 R" % (first - 1)
        objects.append(b"<< /First %d 0 R /Last %d 0 R >>" % (entries[0], entries[-1]))
        for at, (title, page) in zip(entries, outline, strict=True):
            after = b" /Next %d 0 R" % (at + 1) if at != entries[-1] else b""
            objects.append(
                b"<< /Title (%s) /Parent %d 0 R /Dest [%d 0 R /Fit]%s >>"
                % (title.encode(), first - 1, kids[page], after)
            )
    objects[0] = root + b" >>"
    objects.append(b"<< %s >>" % info.encode())
    parts, length = [b"%PDF-1.5\n"], 9
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(length)
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        length += len(parts[-1])
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    said = b"<< /Size %d /Root 1 0 R /Info %d 0 R %s >>" % (count, count - 1, trailer.encode())
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table))
    parts.append(b"trailer\n%s\nstartxref\n%d\n%%%%EOF\n" % (said, length))
    return b"".join(parts)

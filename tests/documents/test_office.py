"""DOCX, PPTX, XLSX, ODT, ODP and EPUB: headings, lists, tables, metadata."""

from __future__ import annotations

import pytest

from pgembedd.documents.document import Document, Page
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.read import read
from tests.documents.files import TYPES, docx, epub, odt, package, paragraph, pptx, shape, xlsx

LONG = "The swift sleeps in flight. " * 80
"""More than a section has before a heading begins the next one."""


def parsed(file: bytes) -> Document:
    return read(file, 1_000_000)


def test_docx_has_headings_by_style_lists_and_tables() -> None:
    table = (
        "<w:tbl>"
        + "".join(f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in ("ab", "c|"))
        + "</w:tbl>"
    )
    body = "".join(
        [
            *(
                paragraph("Birds", "Heading1"),
                paragraph(LONG),
                paragraph("Of the air", "Mine"),
                paragraph("Swifts fly."),
            ),
            *(paragraph("one", level=0), paragraph("two", level=1), table, paragraph("# no heading")),
            "<w:p><w:r><w:delText>deleted</w:delText><w:tab/><w:t>kept</w:t></w:r></w:p>",
        ]
    )
    notes = "".join(f"<w:footnote>{each}</w:footnote>" for each in (paragraph("A note."), paragraph("last", level=0)))
    document = parsed(docx(body, footnotes=f'<w:footnotes xmlns:w="w">{notes}</w:footnotes>'))
    first, second = document.pages

    assert document.kind == "docx"
    assert document.metadata == {"title": "Swifts", "authors": ["Ada Beck"], "created": "2024-02-01T10:00:00Z"}
    assert first == Page(1, (), f"# Birds\n\n{LONG.strip()}")
    assert second.headings == ("Birds",)
    assert second.text.split("\n\n") == [
        *("## Of the air", "Swifts fly.", "- one\n  - two", "| a | b |\n| --- | --- |\n| c | \\| |"),
        *("\\# no heading", "kept", "A note.", "- last"),
    ]


def test_pptx_has_a_page_a_slide_in_the_order_they_are_shown() -> None:
    table = "".join(
        f"<a:tr>{''.join(f'<a:tc><a:p><a:r><a:t>{cell}</a:t></a:r></a:p></a:tc>' for cell in row)}</a:tr>"
        for row in ("ab", "cd")
    )
    first = shape("fly\nsleep") + shape("Swifts", "title") + shape("7", "sldNum")
    document = parsed(pptx([first, "", f"<p:graphicFrame><a:tbl>{table}</a:tbl></p:graphicFrame>"], notes="Say hello."))

    assert document.pages == (
        Page(1, (), "# Swifts\n\nfly\nsleep\n\nSay hello."),
        Page(3, (), "| a | b |\n| --- | --- |\n| c | d |"),
    )
    assert document.notes == ("1 of 3 slides hold no text.",)
    assert document.metadata["pages"] == 3


def test_a_sheet_is_cut_into_pages_that_each_have_its_header() -> None:
    rows: list[list[str | float]] = [["bird", "grams"]]
    rows += [[f"bird {number} {'x' * 40}", float(number)] for number in range(300)]
    document = parsed(xlsx({"Birds": rows, "Empty": [], "Bees": [["bee", "mg"], ["honey bee", 0.5]]}))
    birds, bees = document.pages[:-1], document.pages[-1]

    assert len(birds) > 1
    assert birds[0].text.startswith("# Birds\n\n| bird | grams |\n| --- | --- |\n| bird 0 ")
    assert all(page.text.startswith("| bird | grams |\n| --- | --- |\n| bird ") for page in birds[1:])
    assert {page.headings for page in birds[1:]} == {("Birds",)}
    assert bees.text == "# Bees\n\n| bee | mg |\n| --- | --- |\n| honey bee | 0.5 |"
    assert (bees.headings, document.notes) == ((), ("1 of 3 sheets hold no text.",))
    assert " | 299 |" in birds[-1].text


def test_odt_has_headings_lists_and_tables_without_what_was_deleted() -> None:
    item = "<text:list-item><text:p>{}</text:p>{}</text:list-item>"
    inner = f"<text:list>{item.format('two', '')}</text:list>"
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    rows = "".join(f"<table:table-row>{''.join(map(cell.format, row))}</table:table-row>" for row in ("ab", "cd"))
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Of the air</text:h>'
        '<text:p>Swifts<text:s text:c="2"/><text:span>fly.</text:span></text:p>'
        f"<text:list>{item.format('one', inner)}</text:list><table:table>{rows}</table:table>"
    )
    document = parsed(odt(body))

    assert document.kind == "odt"
    assert document.metadata == {"title": "Swifts", "authors": ["Ada Beck"], "language": "de"}
    assert document.pages == (
        Page(1, (), "# Of the air\n\nSwifts  fly.\n\n- one\n  - two\n\n| a | b |\n| --- | --- |\n| c | d |"),
    )


def test_an_odp_has_a_page_a_slide() -> None:
    slides = "".join(f"<draw:page><text:p>{text}</text:p></draw:page>" for text in ("one", "two"))
    assert parsed(odt(slides, "presentation")).pages == (Page(1, (), "one"), Page(2, (), "two"))


def test_epub_has_its_chapters_in_reading_order() -> None:
    chapters = [
        f"<html><head><title>x</title></head><body><h1>{name}</h1><p>Of {name}.</p></body></html>"
        for name in ("A", "B")
    ]
    document = parsed(epub(chapters))

    assert document.kind == "epub"
    assert document.metadata == {"title": "Swifts", "authors": ["Ada Beck"], "language": "en"}
    assert document.pages == (Page(1, (), "# A\n\nOf A."), Page(2, (), "# B\n\nOf B."))


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (docx("<w:p>"), "its part word/document.xml is no XML"),
        (docx(paragraph("")), "The file holds no text"),
        (docx(paragraph("x" * 5_000_000)), "expands to more than 4 MB, 4 times PGEMBEDD_FILE_MAX_MB"),
        (xlsx({"A": [["x" * 5_000_000, "b"]]}), "expands to more than 4 MB, 4 times PGEMBEDD_FILE_MAX_MB"),
        (docx(paragraph("y" * 1_500_000)), "holds more than 1 MB of text"),
        (docx(paragraph("x"))[:-30], "a ZIP archive that is damaged"),
        (
            xlsx({"A": [["a"]]}).replace(b"worksheets/sheet1", b"worksheets/sheet2"),
            "The workbook is damaged or encrypted",
        ),
        (package({"a.txt": "text"}), "a ZIP archive, and no document"),
        (
            package(
                {
                    "[Content_Types].xml": TYPES,
                    "word/document.xml": "<!DOCTYPE a ["
                    + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20 if n else "lol"}">' for n in range(9))
                    + "]><a>&e8;</a>",
                }
            ),
            "is no XML",
        ),
        (odt("").replace(b"content.xml", b"encrypt.xml"), "The file holds no text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted: store it without"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "of an Office before 2007"),
    ],
    ids=[
        "xml",
        "empty",
        "bomb",
        "sheet bomb",
        "text",
        "truncated",
        "workbook",
        "zip",
        "entities",
        "odt",
        "encrypted",
        "old",
    ],
)
def test_an_office_file_without_text_says_why(file: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableFile, match=sentence):
        parsed(file)

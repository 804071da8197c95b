"""Every format is read by a process that can open no file: what its reader needs is loaded before."""

from __future__ import annotations

import pytest

from pgembedd.documents.parsers import Parsers
from tests.documents.files import docx, epub, odt, paragraph, pdf, pptx, shape, xlsx

MAIL = (
    b"From: a@b.c\nTo: =?koi8-r?q?a?=\nSubject: Swift\nContent-Type: text/plain; charset=cp437\n\n"
    b"The swift sleeps in flight\x82."
)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("pdf", pdf([[(10, "The swift sleeps in flight.")]])),
        ("docx", docx(paragraph("The swift sleeps in flight."))),
        ("pptx", pptx([shape("The swift sleeps in flight.")])),
        ("xlsx", xlsx({"A": [["The swift sleeps", "in flight."]]})),
        ("odt", odt("<text:p>The swift sleeps in flight.</text:p>")),
        ("epub", epub(["<html><body><p>The swift sleeps in flight.</p></body></html>"])),
        ("html", b"<html><body><p>The swift sleeps in flight&hellip;</p></body></html>"),
        (
            "mail",
            MAIL,
        ),
        ("markdown", b"# Birds\n\nThe swift sleeps in flight.\n"),
        ("text", "Чёрный стриж спит в полёте, и ест там, и пьёт.".encode("koi8-r")),
    ],
)
def test_every_format_is_read_where_no_file_can_be_opened(parsers: Parsers, kind: str, file: bytes) -> None:
    document = parsers.submit(file).result()
    assert (document.kind, len(document.pages)) == (kind, 1)
    assert document.pages[0].text

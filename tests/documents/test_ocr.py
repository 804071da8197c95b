"""Scanned pages: their text by Tesseract, in the confined process, where the extra is installed."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO

import pypdfium2
import pytest

from pgembedd.documents import ocr
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.parsers import Limits, Parsers, fingerprint
from pgembedd.documents.read import read
from tests.documents.files import pdf

LINES = [(16, "The swift sleeps in flight, and eats there."), (16, "It is seldom seen on the ground.")]
TEXT = "\n".join(line for _, line in LINES)


def scanned(*pages: bool) -> bytes:
    """A PDF of LINES, drawn as a picture where a page is scanned."""
    made = pypdfium2.PdfDocument(pdf([LINES]))
    picture = made[0].render(scale=150 / 72, grayscale=True)
    document = pypdfium2.PdfDocument.new()
    for is_scanned in pages:
        if not is_scanned:
            document.import_pages(made)
            continue
        page = document.new_page(595, 842)
        image = pypdfium2.PdfImage.new(document)
        image.set_bitmap(picture)
        image.set_matrix(pypdfium2.PdfMatrix().scale(595, 842))
        page.insert_obj(image)
        page.gen_content()
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def test_a_scan_is_read_in_the_confined_process_and_said() -> None:
    with closing(Parsers(processes=1, limits=Limits())) as parsers:
        document = parsers.submit(scanned(True, False)).result()
    assert [page.text for page in document.pages] == [TEXT, TEXT]
    assert document.notes == ("1 of 2 pages were read by OCR.",)
    assert "tesserocr-" in fingerprint()
    assert fingerprint().endswith(" eng")


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "reader", lambda: None)
    with pytest.raises(UnreadableFile, match=r"pip install 'pgembedd\[ocr\]' reads scans"):
        read(scanned(True), 1_000_000)
    assert read(scanned(True, False), 1_000_000).notes == ("1 of 2 pages hold no text.",)

"""PDF: a page is a page; headings are those of the outline, else the larger lines."""

from __future__ import annotations

import pytest

from pgembedd.documents.document import Document, Page
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.read import read
from tests.documents.files import pdf

BODY = (10, "The swift sleeps in flight, and eats there, and is seldom seen on the ground.")

ENCRYPTED = f"/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'00' * 32}> /U <{'11' * 32}> >>"
"""That of no password at all."""


def parsed(file: bytes) -> Document:
    return read(file, 1_000_000)


def test_larger_lines_are_headings_and_pages_know_what_they_stand_under() -> None:
    file = pdf([[(20, "Birds"), BODY, (14, "Of the air"), BODY, BODY], [BODY, BODY, (14, "Of the sea"), BODY, BODY]])
    first, second = parsed(file).pages

    assert (first.number, first.headings) == (1, ())
    assert first.text.splitlines()[0] == "# Birds"
    assert "## Of the air" in first.text.splitlines()
    assert (second.number, second.headings) == (2, ("Birds", "Of the air"))
    assert "## Of the sea" in second.text.splitlines()


def test_the_outline_says_what_is_a_heading_whatever_its_size() -> None:
    file = pdf([[(10, "1 Birds"), BODY], [(10, "More.")], [(10, "2 Bees"), BODY]], [("Birds", 0), ("Bees", 2)])
    pages = parsed(file).pages

    assert [page.headings for page in pages] == [(), ("1 Birds",), ()]
    assert pages[0].text.startswith("# 1 Birds\n\n")
    assert pages[2].text.startswith("# 2 Bees\n\n")


@pytest.mark.parametrize("before", ["mass = m (1)", "and limits."])
def test_a_heading_does_not_begin_with_the_end_of_what_is_above_it(before: str) -> None:
    lines = [(10, "Chapter 1"), (10, "Birds"), BODY, (10, before), (10, "1.1 Bees"), BODY]
    file = pdf([lines], [("Birds", 0), ("Bees", 0)])
    headings = [line for line in parsed(file).pages[0].text.splitlines() if line.startswith("#")]
    assert headings == ["# Chapter 1 Birds", "# 1.1 Bees"]


def test_a_gap_begins_a_paragraph_and_a_running_title_is_left_out() -> None:
    lines = [(8, "The book of birds, page 12"), BODY, (10, "Next line."), (10, ""), (10, "Next paragraph."), BODY]
    pages = parsed(pdf([lines, [(8, "The book of birds, page 13"), BODY]])).pages

    assert pages[0].text == f"{BODY[1]}\nNext line.\n\nNext paragraph.\n{BODY[1]}"
    assert pages[1] == Page(2, (), BODY[1])


def test_a_paragraph_has_lines_of_nearly_one_size_and_large_ones_have_larger_gaps() -> None:
    lines = [(10, "One"), (10.5, "paragraph"), (10, "of three."), (8, "A note."), (30, "Two lines"), (30, "of one")]
    (page,) = parsed(pdf([lines])).pages

    assert page.text == "One\nparagraph\nof three.\n\nA note.\n\nTwo lines\nof one"


def test_pages_without_text_keep_their_numbers_and_are_said() -> None:
    info = "/Title (Swifts) /Author (Ada Beck) /CreationDate (D:2024020110)"
    document = parsed(pdf([[BODY], [], [BODY]], info=info, language="en-GB"))

    assert [page.number for page in document.pages] == [1, 3]
    assert document.notes == ("1 of 3 pages hold no text.",)
    assert document.metadata == {
        **{"pages": 3, "title": "Swifts", "authors": ["Ada Beck"], "language": "en-GB"},
        "created": "2024-02-01T10:00:00",
    }


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (pdf([[], []]), r"The file holds no text: its pages \(2\) are scanned or drawn, and OCR finds none"),
        (pdf([[BODY]])[:300], "The PDF is damaged"),
        (
            pdf([[BODY]], trailer=ENCRYPTED),
            "The PDF is encrypted: store it without a password",
        ),
    ],
    ids=["scanned", "truncated", "encrypted"],
)
def test_a_pdf_without_text_says_why(file: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableFile, match=sentence):
        parsed(file)

"""Plain text, Markdown, HTML and mail; and that the type is found by content."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from pgembedd.documents.document import Document, Page
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.read import read
from pgembedd.documents.sections import MOST

GERMAN = "Der Mauersegler schläft im Flug. Er frisst dort, und man sieht ihn selten am Boden; Größe und Gewicht zählen."
RUSSIAN = "Чёрный стриж спит в полёте. Он ест в воздухе, и его редко видно на земле."  # noqa: RUF001
JAPANESE = "アマツバメは飛びながら眠る。地上で見かけることはめったにない。"
CZECH = (
    "Rorýs obecný spí za letu. Živí se hmyzem, který loví ve vzduchu, a na zemi ho uvidíme jen zřídka, což překvapí."
)


def parsed(file: bytes) -> Document:
    return read(file, 1_000_000)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((GERMAN, each) for each in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")),
        *((RUSSIAN, each) for each in ("cp1251", "koi8-r")),
        *((JAPANESE, each) for each in ("shift_jis", "euc_jp")),
        *(
            (CZECH, "cp1250"),
            ("Élève à l'école", "latin-1"),
            ("中国的雨燕在飞行中睡觉。很少见到它们落在地面上。", "gb18030"),
        ),
    ],
)
def test_text_in_any_encoding_is_read_without_loss(text: str, encoding: str) -> None:
    assert parsed(text.encode(encoding)).pages == (Page(1, (), text),)


def test_paragraphs_are_kept_and_a_long_text_is_cut_between_them() -> None:
    document = parsed("\r\n\r\n".join(f"{number} {'word ' * 200}".strip() for number in range(20)).encode())
    blocks = [block for page in document.pages for block in page.text.split("\n\n")]

    assert len(document.pages) > 2
    assert [block.split()[0] for block in blocks] == [str(number) for number in range(20)]
    assert [page.number for page in document.pages] == list(range(1, len(document.pages) + 1))


def test_a_paragraph_without_end_is_cut_between_words() -> None:
    pages = parsed(("swift " * 4_000).encode()).pages
    assert all(len(page.text) <= MOST and set(page.text.split()) == {"swift"} for page in pages)
    assert sum(len(page.text.split()) for page in pages) == 4_000


def test_what_would_make_a_pattern_try_for_ever_is_text() -> None:
    assert parsed(b"<!-- -->" * 5_000 + b"swift").kind == "text"
    assert parsed(b"a: b\r\n" * 5_000 + b"swift").kind == "text"


def test_markdown_has_sections_by_headings() -> None:
    text = f"# Birds\n\n{'Swifts fly. ' * 200}\n\n## Of the air ##\n\n```\n# no heading\n```\n\nEnd.\n"
    document = parsed(text.encode())

    assert document.kind == "markdown"
    assert document.pages[1] == Page(2, ("Birds",), "## Of the air\n\n```\n# no heading\n```\n\nEnd.")


def test_a_program_is_no_markdown() -> None:
    document = parsed(b"#!/bin/sh\n\n# Lists files.\n\nls\n")
    assert (document.kind, document.pages[0].headings) == ("text", ())


def test_html_has_headings_lists_tables_and_code() -> None:
    file = b"""<!DOCTYPE html><html lang="en"><head><title>Swifts</title><meta name="author" content="Ada Beck">
        <style>p { color: red }</style><script>no()</script></head><body><h2>Of the air</h2><p>Swifts <b>fly</b>
        and<br>sleep.<p>Unclosed.<ul><li>one<ol><li>two<li>three</ol></ul><table><tr><th>a<th>b<tr><td>c<td>d</table>
        <pre>x = 1\n  y</pre></body></html>"""
    document = parsed(file)

    assert (document.kind, document.metadata["language"]) == ("html", "en")
    assert document.metadata == {"language": "en", "title": "Swifts", "authors": ["Ada Beck"]}
    assert document.pages[0].text.split("\n\n") == [
        *("# Of the air", "Swifts fly and\nsleep.", "Unclosed.", "- one\n  1. two\n  2. three"),
        *("| a | b |\n| --- | --- |\n| c | d |", "```\nx = 1\n  y\n```"),
    ]


def test_html_that_is_nested_deeply_is_read() -> None:
    deep = 20_000
    assert (
        parsed(b"<html><body>" + b"<div><ul>" * deep + b"deep" + b"</ul></div>" * deep).pages[0].text.strip() == "deep"
    )


def test_html_is_read_in_the_encoding_that_it_states() -> None:
    file = '<html><head><meta charset="koi8-r"></head><body>Стриж</body></html>'.encode("koi8-r")
    assert parsed(file).pages == (Page(1, (), "Стриж"),)


MAIL = (
    "From: Ada Beck <ada@example.org>\nTo: b@example.org\nSubject: =?utf-8?q?Mauersegler_f=C3=BCr_alle?=\n"
    "Date: Thu, 01 Feb 2024 10:00:00 +0100\nMIME-Version: 1.0\n"
)


def test_mail_has_its_headers_and_the_text_in_its_encoding() -> None:
    document = parsed((MAIL + "Content-Type: text/plain; charset=iso-8859-1\n\nGrüße").encode("latin-1"))

    assert document.kind == "mail"
    assert document.metadata == {
        **{"title": "Mauersegler für alle", "authors": ["Ada Beck <ada@example.org>"]},
        "created": "2024-02-01T10:00:00+01:00",
    }
    blocks = document.pages[0].text.split("\n\n")
    assert (blocks[0], blocks[-1]) == ("# Mauersegler für alle", "Grüße")


def test_the_attachments_of_a_mail_are_pages_under_its_subject() -> None:
    message, forwarded = EmailMessage(), EmailMessage()
    forwarded["Subject"] = "Of bees"
    forwarded.set_content("Bees sleep at night.")
    forwarded.add_attachment(b"# Honey\n\nIt keeps.\n", "text", "markdown", filename="honey.md")
    message["Subject"] = "Of birds"
    message.set_content("See below.")
    message.add_attachment(b"# Swifts\n\n```\n# no heading\n```\n", "text", "markdown", filename="a.md")
    message.add_attachment(forwarded)
    message.add_attachment(b"\x89PNG\r\n\x1a\n", "image", "png", filename="b\0é\x1b[1m.png")
    document = parsed(message.as_bytes())

    assert [(page.number, page.headings) for page in document.pages] == [
        (1, ()),
        (2, ("Of birds", "a.md")),
        (3, ("Of birds", "message/rfc822")),
        (4, ("Of birds", "message/rfc822", "Of bees", "honey.md")),
    ]
    assert document.pages[1].text == "### Swifts\n\n```\n# no heading\n```"
    assert document.pages[3].text.startswith("##### Honey")
    assert document.notes == ("Attachments are not read: bé[1m.png.",)


def test_attachments_are_read_to_a_depth() -> None:
    message = EmailMessage()
    message.set_content("The innermost.")
    for number in range(6):
        inner, message = message, EmailMessage()
        message["Subject"] = f"Mail {number}"
        message.set_content("Around it.")
        message.add_attachment(inner)
    document = parsed(message.as_bytes())
    assert [page.headings for page in document.pages] == [
        (),
        ("Mail 5", "message/rfc822"),
        ("Mail 5", "message/rfc822", "Mail 4", "message/rfc822"),
        ("Mail 5", "message/rfc822", "Mail 4", "message/rfc822", "Mail 3", "message/rfc822"),
    ]
    assert document.notes == ("message/rfc822: " * 3 + "Attachments are not read: message/rfc822.",)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"", "The file holds no text"),
        (b" \n\t ", "The file holds no text"),
        (b"\x89PNG\r\n\x1a\n", r"The file is a picture \(PNG\)"),
        (b"\x1f\x8b\x08\x00", "store what is inside"),
        (bytes(range(256)) * 40, "of no kind that is known"),
        (bytes(range(1, 128)) * 40, "characters cannot be read"),
        ("swift \ufffd\ufffd".encode() * 10, r"20 of the file's 80 characters cannot be read"),
        (b"\xff\xfe" + "swift".encode("utf-16-le") + b"\x00\xd8", "no text in utf-16: byte 12"),
        (b"<html><body><script>x</script></body></html>", "The file holds no text"),
    ],
    ids=["nothing", "blank", "picture", "gzip", "zeros", "binary", "replaced", "half a pair", "script"],
)
def test_what_is_no_text_says_why(file: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableFile, match=sentence):
        parsed(file)


def test_a_few_characters_that_are_lost_are_said() -> None:
    document = parsed(("swift " * 100 + "\ufffd\x01").encode())
    assert document.notes == ("2 of 602 characters cannot be read.",)
    assert document.pages[0].text.endswith("swift \ufffd")

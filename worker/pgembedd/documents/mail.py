"""Mail: subject, sender, receivers and date, its text, and the pages of what is attached."""

import re
from collections.abc import Callable
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from pgembedd.documents.document import Document, Page
from pgembedd.documents.html import HtmlReader, decode_html
from pgembedd.documents.plain import add_paragraphs, decode
from pgembedd.documents.sections import Sections

_NAMED = 20
"""Attachments that a note names."""
_HEADING_OR_FENCE = re.compile(r"^(?:(#{1,6})(?= )|(```|~~~).*?(?:^\2|\Z))", re.MULTILINE | re.DOTALL)


def read_mail(file: bytes, read: Callable[[bytes], Document]) -> Document:
    """Reads a message, and with `read` its attachments, whose pages stand under its subject and their names."""
    message = BytesParser(policy=policy.default).parsebytes(file)
    assert isinstance(message, EmailMessage)
    sections = Sections()
    subject = _header(message, "subject")
    sections.heading(1, subject)
    said = [f"{name}: {value}" for name in ("From", "To", "Cc", "Date") if (value := _header(message, name))]
    sections.block("\n".join(said))
    body = message.get_body(("plain", "html"))
    if body is not None:
        _add_body(sections, body)
    stated: dict[str, str | list[str]] = {
        "title": subject,
        "authors": [sender] if (sender := _header(message, "from")) else [],
        "created": _date(_header(message, "date")),
        "language": _header(message, "content-language"),
    }
    pages, notes, unread = list(sections.pages()), list[str](), list[str]()
    for part in message.iter_attachments():
        name = " ".join((part.get_filename() or part.get_content_type()).split())
        above = (subject, name) if subject else (name,)
        try:
            found = read(_attached(part))
        except MemoryError:
            raise  # read in a new process, it may have room
        except BaseException:  # of no kind that is read, encrypted, damaged; also a panic of Rust
            unread.append(name)
            continue
        notes += [f"{name}: {note}" for note in found.notes]
        for page in found.pages:
            number = pages[-1].number + 1 if pages else 1
            pages.append(Page(number, (*above, *page.headings), _below(above, page.text)))
    more = f" and {len(unread) - _NAMED:,} more" if len(unread) > _NAMED else ""
    notes += [f"Attachments are not read: {', '.join(unread[:_NAMED])}{more}."] if unread else []
    return Document("mail", tuple(pages), {name: value for name, value in stated.items() if value}, tuple(notes))


def _attached(part: MIMEPart) -> bytes:
    content = part.get_content() if part.get_content_type() == "message/rfc822" else part.get_payload(decode=True)
    return content.as_bytes() if isinstance(content, EmailMessage) else content if isinstance(content, bytes) else b""


def _below(above: tuple[str, ...], text: str) -> str:
    """Returns a text with its headings as many levels deeper."""
    return _HEADING_OR_FENCE.sub(lambda it: f"{it[1]}{'#' * len(above)}"[:6] if it[1] else it[0], text)


def _add_body(sections: Sections, body: MIMEPart) -> None:
    content = body.get_payload(decode=True)
    if not isinstance(content, bytes):
        return
    charset = body.get_content_charset("")
    if body.get_content_subtype() == "html":
        text = decode(content, charset) if charset else decode_html(content)
        HtmlReader(sections).read(text)
    else:
        add_paragraphs(sections, decode(content, charset))


def _header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())[:1_000]


def _date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat()
    except ValueError:
        return ""

"""Mail: subject, sender, receivers and date, then its text; attachments are named in a note."""

from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from pgembedd.documents.document import Document
from pgembedd.documents.html import HtmlReader, decode_html
from pgembedd.documents.plain import add_paragraphs, decode
from pgembedd.documents.sections import Sections

_NAMED = 20
"""Attachments that a note names."""


def read_mail(file: bytes) -> Document:
    """Reads a message."""
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
    attached = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    more = f" and {len(attached) - _NAMED:,} more" if len(attached) > _NAMED else ""
    notes = (f"Attachments are not read: {', '.join(attached[:_NAMED])}{more}.",) if attached else ()
    return Document("mail", sections.pages(), {name: value for name, value in stated.items() if value}, notes)


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

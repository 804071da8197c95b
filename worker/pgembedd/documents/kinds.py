"""The kind of a file, by its content."""

import re
from collections.abc import Set

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BINARY = [
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"{\\rtf", "RTF: store it as DOCX or PDF"),
    (b"%!PS", "PostScript: store it as PDF"),
    (b"\x1f\x8b", "compressed (gzip): store what is inside"),
    (b"BZh", "compressed (bzip2): store what is inside"),
    (b"\xfd7zXZ\x00", "compressed (xz): store what is inside"),
    (b"7z\xbc\xaf", "an archive (7z): store what is inside"),
    (b"Rar!", "an archive (RAR): store what is inside"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
]
_MIMETYPES = {
    b"application/epub+zip": "epub",
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.presentation": "odp",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
}
_OOXML = {"word/": "docx", "ppt/": "pptx", "xl/": "xlsx"}
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?>.*?-->)\s*)*+<(?:!doctype\s+html|html|head|body|title|meta|div|p|h1|table)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_HEADER = re.compile(rb"(?:>?From [^\n]*\n)?(?:[!-9;-~]++:[^\n]*\n(?:[ \t][^\n]*\n)*+)++(?:\r?\n|\Z)")
_MAIL = re.compile(
    rb"^(?:from|to|subject|date|message-id|received|mime-version|return-path|delivered-to|content-type):",
    re.IGNORECASE | re.MULTILINE,
)
_LEAST_HEADERS = 3
_HEAD = 65_536
"""Bytes at the beginning that are looked at."""


def kind_of(file: bytes) -> str:
    """Returns the kind: "pdf", "zip", "ole", "html", "mail", "text", or the sentence's end for one that is not read."""
    head = file[:_HEAD]
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(_OLE):
        return "ole"
    for mark, said in _BINARY:
        if head.startswith(mark):
            return said
    plain = head.removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(plain) or (plain[:2] in (b"\xff\xfe", b"\xfe\xff") and _HTML.match(plain[2:].replace(b"\0", b""))):
        return "html"
    found = _HEADER.match(plain)
    if found and len({name.lower() for name in _MAIL.findall(found[0])}) >= _LEAST_HEADERS:
        return "mail"
    return "text"


def kind_of_archive(names: Set[str], mimetype: bytes) -> str:
    """Returns "docx", "pptx", "xlsx", "odt", "odp", "ods" or "epub", "" for another archive."""
    if found := _MIMETYPES.get(mimetype.strip()):
        return found
    if "META-INF/container.xml" in names:
        return "epub"
    if "[Content_Types].xml" in names:
        return next((kind for folder, kind in _OOXML.items() if any(name.startswith(folder) for name in names)), "")
    return ""

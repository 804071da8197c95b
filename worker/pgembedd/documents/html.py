"""HTML: headings, paragraphs, lists, tables and code, however they are nested."""

import re
from html.parser import HTMLParser

from pgembedd.documents.document import Document
from pgembedd.documents.plain import decode
from pgembedd.documents.sections import Sections

_IGNORED = frozenset({"script", "style", "template", "svg"})
_BREAK = "\u2028"
"""Of a line, where `br` is: other ends of lines are spaces."""
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset({*_HEADINGS, "address", "article", "aside", "blockquote", "body", "caption", "center", "dd"})
_BLOCKS |= {"details", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "head", "header", "hr"}
_BLOCKS |= {"html", "legend", "li", "main", "menu", "meta", "nav", "ol", "option", "p", "pre", "section", "summary"}
_BLOCKS |= {"table", "tbody", "tfoot", "thead", "title", "tr", "ul"}
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w.:-]{2,40})""", re.IGNORECASE)
_META = {"author": "authors", "dc.creator": "authors", "date": "created", "dcterms.created": "created"}


def read_html(file: bytes) -> Document:
    """Reads HTML or XHTML."""
    sections = Sections()
    page = HtmlReader(sections)
    page.read(decode_html(file))
    return Document("html", sections.pages(), page.metadata)


def decode_html(file: bytes) -> str:
    """Returns the text in the encoding that the page states, else in one that is guessed."""
    stated = _CHARSET.search(file, 0, 2048)
    return decode(file, stated[1].decode("ascii") if stated else "")


class HtmlReader(HTMLParser):
    """Adds what a page holds to sections; `metadata` has what its head says."""

    def __init__(self, sections: Sections) -> None:
        super().__init__()
        self.metadata: dict[str, str | int | list[str]] = {}
        self._sections = sections
        self._text: list[str] = []
        self._ignored = 0
        self._level = 0
        self._pre = 0
        self._list: list[str] = []
        self._lists: list[int] = []
        """The number of the last item of each list that is open; -1 where they have none."""
        self._marker = ""
        self._rows: list[list[str]] = []
        self._tables = 0
        self._in_title = False

    def read(self, text: str) -> None:
        """Adds a whole page."""
        self.feed(text)
        self.close()
        self._end_block()
        self._end_list()
        self._end_table()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _IGNORED:
            self._ignored += 1
        elif self._ignored:
            return
        elif tag == "br":
            self._text.append(_BREAK)
        elif tag == "img":
            self._text.append(f" {dict(attrs).get('alt') or ''} ")
        elif tag in ("td", "th"):
            self._end_block()
            if self._tables == 1:
                self._rows = self._rows or [[]]
                self._rows[-1].append("")
        elif tag in _BLOCKS:
            self._begin_block(tag, dict(attrs))

    def _begin_block(self, tag: str, attributes: dict[str, str | None]) -> None:
        self._end_block()
        if tag in _HEADINGS:
            self._level = _HEADINGS[tag]
        elif tag == "pre":
            self._pre += 1
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else -1)
        elif tag == "li":
            if self._lists and self._lists[-1] >= 0:
                self._lists[-1] += 1
            number = self._lists[-1] if self._lists else -1
            indent = "  " * (min(len(self._lists), 9) - 1)
            self._marker = indent + (f"{number}. " if number > 0 else "- ")
        elif tag == "table":
            self._end_list()
            self._tables += 1
        elif tag == "tr" and self._tables == 1:
            self._rows.append([])
        elif tag == "title":
            self._in_title = True
        elif tag == "html" and (language := attributes.get("lang") or attributes.get("xml:lang")):
            self.metadata["language"] = language
        elif tag == "meta":
            self._keep(attributes.get("name") or attributes.get("property") or "", attributes.get("content") or "")

    def _keep(self, name: str, value: str) -> None:
        key, value = _META.get(name.lower(), ""), " ".join(value.split())[:1_000]
        if key and value:
            self.metadata.setdefault(key, [value] if key == "authors" else value)

    def handle_endtag(self, tag: str) -> None:
        if tag in _IGNORED:
            self._ignored = max(self._ignored - 1, 0)
        elif not self._ignored and tag in _BLOCKS:
            self._end_block()
            if tag == "pre":
                self._pre = max(self._pre - 1, 0)
            elif tag in ("ul", "ol") and self._lists:
                self._lists.pop()
                if not self._lists:
                    self._end_list()
            elif tag == "table" and self._tables:
                self._tables -= 1
                if not self._tables:
                    self._end_table()

    def handle_data(self, data: str) -> None:
        if not self._ignored:
            self._text.append(data)

    def _end_block(self) -> None:
        raw, self._text = "".join(self._text), []
        level, self._level = self._level, 0
        in_title, self._in_title = self._in_title, False
        text = _collapsed(raw)
        if not text:
            return
        if in_title:
            self.metadata.setdefault("title", " ".join(text.split())[:1_000])
        elif self._tables:
            self._add_to_table(text)
        elif level:
            self._end_list()
            self._sections.heading(level, text)
        elif self._pre:
            self._end_list()
            self._sections.code(raw.replace(_BREAK, "\n"))
        elif self._lists or self._marker:
            self._list.append((self._marker or "  " * min(len(self._lists), 9)) + " ".join(text.split()))
            self._marker = ""
        else:
            self._end_list()
            self._sections.block(text)

    def _add_to_table(self, text: str) -> None:
        if self._rows and self._rows[-1]:
            cells = self._rows[-1]
            cells[-1] = f"{cells[-1]}\n{text}".strip()
        else:
            self._sections.block(text)

    def _end_table(self) -> None:
        rows, self._rows = self._rows, []
        self._sections.table(rows)

    def _end_list(self) -> None:
        lines, self._list = self._list, []
        self._sections.markdown("\n".join(lines))


def _collapsed(text: str) -> str:
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.split(_BREAK))))

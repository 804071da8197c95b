"""The text of an answer as HTML, part by part: a block for each sentence, with the sources that it cites next to it."""

import re
from typing import Any

from markupsafe import escape

from pgembedd.answers.citations import OPEN_CITATION
from pgembedd.answers.prompt import CITATION, cited_numbers

_TOKEN = re.compile(rf"{CITATION.pattern}|\s+|[^\s\[]+|\[")
_ENDS = (".", "!", "?", "…", ":")


class Sentences:
    """Writes sentences as their text comes. Everything is escaped; a number that is no source stays text."""

    def __init__(self) -> None:
        self.sources: dict[int, dict[str, Any]] = {}
        self.cited: set[int] = set()
        self._waiting, self._space, self._open, self._ended = "", "", False, False
        self._cited: list[int] = []  # in the sentence that is open

    def add(self, text: str) -> str:
        """Returns the HTML of a part of the text. The beginning of a citation waits for its end."""
        text = self._waiting + text
        held = OPEN_CITATION.search(text)
        self._waiting = held[0] if held else ""
        complete = text[: held.start()] if held else text
        return "".join(self._token(found[0]) for found in _TOKEN.finditer(complete))

    def end(self) -> str:
        """Returns the end of the last sentence."""
        rest = self._token(self._waiting) if self._waiting else ""
        self._waiting = ""
        return rest + self._close()

    def _token(self, token: str) -> str:
        if token.isspace():
            self._space += token
            return ""
        citation = CITATION.fullmatch(token)
        numbers = [] if citation is None else cited_numbers(citation)
        if any(number in self.sources for number in numbers):
            shown, self._space = " " if self._space and self._open else "", ""
            return f"{self._begin()}{shown}{''.join(map(self._cite, numbers))}"
        closed = self._close() if self._space and (self._ended or "\n\n" in self._space) else ""
        shown, self._space = (" " if self._space and self._open else ""), ""
        self._ended = token.endswith(_ENDS)
        return f"{closed}{self._begin()}{shown}{escape(token)}"

    def _cite(self, number: int) -> str:
        if number not in self.sources:
            return f"[{number}]"
        self.cited.add(number)
        self._cited += [] if number in self._cited else [number]
        return f'<a class="cite" href="#source-{number}">[{number}]</a>'

    def _begin(self) -> str:
        if self._open:
            return ""
        self._open = True
        return '<div class="sentence"><p>'

    def _close(self) -> str:
        if not self._open:
            return ""
        self._open = self._ended = False
        cited, self._cited = self._cited, []
        return f"</p>{''.join(self._beside(number) for number in cited)}</div>\n"

    def _beside(self, number: int) -> str:
        source = self.sources[number]
        excerpt = escape((source["excerpt"] or "")[:200])
        return f'<aside class="more">[{number}] {named(number, source)}: {excerpt}</aside>'


def named(number: int, source: dict[str, Any]) -> str:
    """Returns the title of a source, as a link where a page may follow it: its rights are no business of schemes."""
    title, url = escape(source["title"] or f"Source {number}"), source["url"] or ""
    is_web = url.startswith(("https://", "http://"))
    return f'<a href="{escape(url)}" rel="noreferrer">{title}</a>' if is_web else title

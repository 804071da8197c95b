"""The text of an answer as HTML, part by part: a block for each sentence, with the sources that it cites next to it."""

import re
from typing import Any

from markupsafe import escape

_TOKEN = re.compile(r"\[\d{1,4}\]|\s+|[^\s\[]+|\[")
_INCOMPLETE = re.compile(r"\[\d{0,4}$")
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
        held = _INCOMPLETE.search(text)
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
        number = int(token[1:-1]) if token.startswith("[") and token.endswith("]") and len(token) > 2 else 0
        if number in self.sources:
            shown, self._space = " " if self._space and self._open else "", ""
            self.cited.add(number)
            self._cited += [] if number in self._cited else [number]
            return f'{self._begin()}{shown}<a class="cite" href="#source-{number}">[{number}]</a>'
        closed = self._close() if self._space and (self._ended or "\n\n" in self._space) else ""
        shown, self._space = (" " if self._space and self._open else ""), ""
        self._ended = token.endswith(_ENDS)
        return f"{closed}{self._begin()}{shown}{escape(token)}"

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

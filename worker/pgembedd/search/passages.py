"""Passages: the parts of texts that a reranker reads, and the snippets that are cut from them."""

import re
from collections.abc import Sequence

READ_CHARACTERS = 2_000
"""Of a hit's text for the reranker, which reads 512 tokens of query and text together."""

MARKS = ("\x0e", "\x0f")
"""Around the words of the query in a passage: in no text that is to be read."""

_WORD = re.compile("\x0e([^\x0e\x0f]*)\x0f")
_MARK = re.compile("[\x0e\x0f]")
_REST_OF_WORD = re.compile(r"\S*\s+")
_BLANKS = " \t\n\r"


def plain(passage: str) -> str:
    """Returns the passage without marks."""
    return _MARK.sub("", passage)


def cut(passage: str, length: int, marks: Sequence[str]) -> str:
    """Returns the part of a marked passage with most words of the query, with these marks, as search() cuts a text."""
    text = plain(passage)
    words = [(word.start() - 2 * nth, word.end() - 2 * nth - 2) for nth, word in enumerate(_WORD.finditer(passage))]
    began = 0 if len(text) <= length or not words else _beginning(text, length, [start for start, _ in words])
    ended = _end(text, began, length)
    shown = text[:ended]
    for start, end in reversed(words):
        if began <= start and end <= ended:
            shown = f"{shown[:start]}{marks[0]}{shown[start:end]}{marks[1]}{shown[end:]}"
    return f"{'… ' if began else ''}{shown[began:]}{' …' if ended < len(text) else ''}"


def _beginning(text: str, length: int, starts: Sequence[int]) -> int:
    """Returns where the part begins: somewhat before the place after which most words stand together."""
    first = max(starts[:100], key=lambda start: sum(start <= each <= start + length * 2 // 3 for each in starts))
    if first < length // 2:
        return 0
    began = first - length // 6
    # From the next word on, or in the middle of the one that is marked.
    word = _REST_OF_WORD.match(text, max(began - 1, 0))
    return word.end() if word and word.end() <= first else began


def _end(text: str, began: int, length: int) -> int:
    """Returns where the part ends: before a blank, if there is one."""
    if len(text) - began <= length:
        return len(text)
    gap = max(text.rfind(blank, began, began + length + 1) for blank in _BLANKS)
    return began + len(text[began : began + length if gap < 0 else gap].rstrip(_BLANKS))

"""Splits a text into chunks of at most a number of tokens, at paragraphs, else sentences, else words. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from pgembedd.text.unicode import offsets_of, well_formed

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter
    from tokenizers import Tokenizer

_KEPT = 64
"""Splitters kept; there is one for each size of chunk, and titles of different lengths make for several."""

_WINDOW_CHARS = 16_384
_WINDOW_TOKENS = 256  # chunks of so many have windows of _WINDOW_CHARS, larger ones larger windows
_GROWTH = 4
_LONGEST_WORD_CHARS = 262_144  # a longer text without a place to cut it is cut here


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a content: `content[start:end] == text`, in characters."""

    start: int
    end: int
    text: str


class Splitter:
    """Splits by the tokens of one tokenizer. Safe to call from several threads.

    Long texts are read in windows, each from where a chunk begins: for every chunk the library looks as far as
    the sentence or the block goes on, so a long text without any would cost the square of its length.
    """

    def __init__(self, tokenizer: "Tokenizer", window_chars: int = _WINDOW_CHARS) -> None:
        """`tokenizer` must neither truncate nor pad; windows are larger for large chunks."""
        self._tokenizer, self._window_chars = tokenizer, window_chars
        self._made: Callable[[int, int, bool], TextSplitter | MarkdownSplitter] = lru_cache(_KEPT)(self._make)

    def split(self, content: str, *, tokens: int, overlap: int = 0, markdown: bool = False) -> list[Chunk]:
        """Returns the chunks in the order of the content, each of at most `tokens` tokens (special ones do not count).

        At most `overlap` tokens, fewer than `tokens`, of a chunk are repeated in the next one. White space at the
        ends of chunks is left out. A text of white space alone is one unchanged chunk; only "" has none.
        """
        well = well_formed(content)
        offset = offsets_of(content, well)
        spans = _spans(well, self._made(tokens, overlap, markdown), self._window_chars * ceil(tokens / _WINDOW_TOKENS))
        found = [(offset(start), offset(end)) for start, end in spans]
        if content and not found:
            found = [(0, len(content))]
        return [Chunk(start, end, content[start:end]) for start, end in found]

    def _make(self, tokens: int, overlap: int, markdown: bool) -> "TextSplitter | MarkdownSplitter":
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        kind = MarkdownSplitter if markdown else TextSplitter
        return kind.from_huggingface_tokenizer(self._tokenizer, tokens, overlap)


def _spans(text: str, splitter: "TextSplitter | MarkdownSplitter", window_chars: int) -> Iterator[tuple[int, int]]:
    """Yields the start and end of each chunk. A chunk that the end of a window may have cut is read again."""
    start, size, seen = 0, window_chars, 0
    while True:
        parts = splitter.chunk_indices(text[start : start + size])
        last = start + size >= len(text)
        cut = not last and size >= _LONGEST_WORD_CHARS and not _resume(parts)
        again = len(parts) if last or cut else _resume(parts)
        for at, part in parts[:again]:
            end = start + at + len(part)
            # What overlaps with the chunk before may end with it where a window begins.
            if end > seen:
                yield start + at, end
                seen = end
        if last:
            return
        if cut:
            start, size = start + size, window_chars
        elif again:
            start, size = start + parts[again][0], window_chars
        else:
            size *= _GROWTH


def _resume(parts: Sequence[tuple[int, str]]) -> int:
    """Returns the part at which the next window begins, 0 if there is none: a near heading, else the last part.

    A window that begins inside a Markdown block would be misparsed; no block extends over a heading.
    """
    last = max(0, len(parts) - 1)
    return next((i for i in range(last, len(parts) // 2, -1) if parts[i][1].startswith("#")), last)

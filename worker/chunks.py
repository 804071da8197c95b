"""A text in chunks: pieces of no more than a number of tokens, cut at paragraphs, else sentences, else words. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from worker.surrogates import offsets_of, well_formed

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter
    from tokenizers import Tokenizer

_KEPT = 64
"""Splitters kept; there is one for each size of chunk, and titles of different lengths make for several."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a content: `content[start:end] == text`, in characters."""

    start: int
    end: int
    text: str


class Splitter:
    """Splits by the tokens of one tokenizer. Safe to call from several threads."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        """`tokenizer` must neither truncate nor pad."""
        self._tokenizer = tokenizer
        self._made: Callable[[int, int, bool], TextSplitter | MarkdownSplitter] = lru_cache(_KEPT)(self._make)

    def split(self, content: str, *, tokens: int, overlap: int = 0, markdown: bool = False) -> list[Chunk]:
        """The chunks in the order of the content, each of at most `tokens` tokens (special ones do not count).

        At most `overlap` tokens, fewer than `tokens`, of a chunk come again in the next one. White space at the
        ends of chunks is left out. What has nothing but white space is one chunk as it is; only "" has none.
        """
        well = well_formed(content)
        offset = offsets_of(content, well)
        found = [
            (offset(start), offset(start + len(part)))
            for start, part in self._made(tokens, overlap, markdown).chunk_indices(well)
        ]
        if content and not found:
            found = [(0, len(content))]
        return [Chunk(start, end, content[start:end]) for start, end in found]

    def _make(self, tokens: int, overlap: int, markdown: bool) -> "TextSplitter | MarkdownSplitter":
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        kind = MarkdownSplitter if markdown else TextSplitter
        return kind.from_huggingface_tokenizer(self._tokenizer, tokens, overlap)

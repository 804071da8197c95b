"""Chunks that fit a model together with the text that is put around each of them."""

from pgembedd.errors import RowFailure
from pgembedd.model.tokenizer import Tokenizer
from pgembedd.text.chunker import Chunk, Splitter

MIN_CHUNK_TOKENS = 16
"""The fewest tokens of a chunk's own text: with fewer, its vector would be that of its title."""


class ChunkFitter:
    """Splits texts for one model. Safe to call from several threads."""

    def __init__(self, tokenizer: Tokenizer, prefix: str) -> None:
        """`prefix` stands before every document, as the model was trained."""
        self._tokenizer, self._prefix = tokenizer, prefix
        self._splitter = Splitter(tokenizer.library)

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str, after: str
    ) -> list[Chunk]:
        """Chunks of at most `tokens` tokens, of which none is longer than the model reads with prefix and all.

        An overlap that is no less than the chunk is half of it; where `before` and `after` make chunks smaller, the
        overlap shrinks with them. RowFailure when they leave fewer than MIN_CHUNK_TOKENS tokens.
        """
        limit = self._tokenizer.limit
        before = self._prefix + before
        wanted = min(tokens or limit, limit)
        overlap = overlap if overlap < wanted else wanted // 2
        around = self._tokenizer.count_without_special(before) + self._tokenizer.count_without_special(after)
        room = limit - around
        while room >= min(MIN_CHUNK_TOKENS, limit):
            capacity = min(wanted, room)
            chunks = self._splitter.split(
                text, tokens=capacity, overlap=overlap * capacity // wanted, markdown=markdown
            )
            over = self._excess(chunks, before, after) if before or after else 0
            if over <= 0:
                return chunks
            room = capacity - over  # words that met at a border took more tokens than apart
        raise RowFailure("content", _no_room(around, limit), permanent=True)

    def _excess(self, chunks: list[Chunk], before: str, after: str) -> int:
        """The tokens by which the longest chunk, with the text around it, exceeds the limit."""
        counts = (self._tokenizer.count_without_special(before + chunk.text + after) for chunk in chunks)
        return max(counts, default=0) - self._tokenizer.limit


def _no_room(around: int, limit: int) -> str:
    return (
        f"What the formatting puts around every chunk of this row takes {around} of the {limit} tokens that the model "
        f"reads, and the chunk needs {min(MIN_CHUNK_TOKENS, limit)} at least: shorten what it takes from the row."
    )

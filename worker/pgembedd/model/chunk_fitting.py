"""Chunks that fit a model together with what is put around each of them."""

from pgembedd.errors import RowFailure
from pgembedd.model.tokenizer import Tokenizer
from pgembedd.text.chunker import Chunk, Splitter

LEAST_ROOM = 16
"""Tokens that must be left to a chunk's own text: with fewer, its vector would be that of its title."""


class ChunkFitter:
    """Splits texts for one model. Safe to call from several threads."""

    def __init__(self, tokenizer: Tokenizer, prefix: str) -> None:
        """`prefix` is what the model has put before every document."""
        self._tokenizer, self._prefix = tokenizer, prefix
        self._splitter = Splitter(tokenizer.library)

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str, after: str
    ) -> list[Chunk]:
        """Chunks of at most `tokens` tokens, of which none is longer than the model reads with prefix and all.

        An overlap that is no less than the chunk is half of it; where `before` and `after` make chunks smaller, the
        overlap shrinks with them. RowFailure when they leave fewer than LEAST_ROOM tokens.
        """
        limit = self._tokenizer.limit
        before = self._prefix + before
        wanted = min(tokens or limit, limit)
        overlap = overlap if overlap < wanted else wanted // 2
        around = self._tokenizer.count_own(before) + self._tokenizer.count_own(after)
        room = limit - around
        while room >= min(LEAST_ROOM, limit):
            capacity = min(wanted, room)
            chunks = self._splitter.split(
                text, tokens=capacity, overlap=overlap * capacity // wanted, markdown=markdown
            )
            over = self._over(chunks, before, after) if before or after else 0
            if over <= 0:
                return chunks
            room = capacity - over  # words that met at a border took more tokens than apart
        raise RowFailure("content", _no_room(around, limit), permanent=True)

    def _over(self, chunks: list[Chunk], before: str, after: str) -> int:
        """By how many tokens the longest of the chunks, with what is around it, exceeds the limit."""
        counts = (self._tokenizer.count_own(before + chunk.text + after) for chunk in chunks)
        return max(counts, default=0) - self._tokenizer.limit


def _no_room(around: int, limit: int) -> str:
    return (
        f"What the formatting puts around every chunk of this row takes {around} of the {limit} tokens that the model "
        f"reads, and the chunk needs {min(LEAST_ROOM, limit)} at least: shorten what it takes from the row."
    )

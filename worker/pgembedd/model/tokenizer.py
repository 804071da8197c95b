"""Text to token ids, cut at the model's limit, with the number of tokens that were cut."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pgembedd.errors import ModelError, UnknownTokenError
from pgembedd.text.unicode import well_formed

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Library

EXACT_CHARS = 65_536
"""Up to this length every token is counted when a text is embedded; that costs 30 ms at most."""

_WINDOW_CHARS = 16_384
_GROWTH = 4
LONGEST_WORD_CHARS = 65_536
"""A word is read up to this length: 40 ms, for which no other thread of the process can run."""

_WORD_END = re.compile(r"\s")
_NEVER_TEXT = re.compile(r"\[unused\d+\]|\[PAD\]|<pad>")


@dataclass(frozen=True)
class Tokens:
    """`ids` as the model gets them, special tokens included, and how many of the text's tokens were cut."""

    ids: list[int]
    dropped: int


@dataclass(frozen=True)
class Pair:
    """Two texts as a cross-encoder gets them: `ids` with the special tokens, and each token's type (0, then 1)."""

    ids: list[int]
    types: list[int]


class Tokenizer:
    """A `tokenizer.json`, without the truncation and padding that such a file may itself ask for.

    The files of common models say "cut at 128, pad to 128"; a loader that believes them embeds a quarter of
    what the model could read. Truncation is done here. Texts are read in windows, and what counts as read
    ends where a word ends, so that a window's tokens are those of the whole text: a long text costs what
    its beginning costs. Of a word of more than LONGEST_WORD_CHARS the rest is skipped. Safe to call from several
    threads.
    """

    def __init__(
        self, source: "Path | Library", max_tokens: int, window_chars: int = _WINDOW_CHARS, *, parallel: bool = False
    ) -> None:
        """Load the file; `max_tokens` counts the special tokens too. ModelError where it is damaged.

        `parallel` has `encode_all` take all cores, which are the model's where that runs on a CPU.
        """
        self.library = _load(source) if isinstance(source, Path) else source
        self.library.no_padding()
        self.library.no_truncation()
        self._window_chars, self._parallel = window_chars, parallel
        self._longest_added = max((len(t.content) for t in self.library.get_added_tokens_decoder().values()), default=0)
        self._special_before, self._special_after = self._special_tokens()
        # Of the text's own tokens, without the special ones.
        self.limit = max_tokens - len(self._special_before) - len(self._special_after)
        if self.limit < 1:
            raise ModelError(f"A limit of {max_tokens} tokens leaves no room for text; it must be larger.")

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """The ids before and after every text ([CLS] and [SEP] for BERT)."""
        whole = self.library.encode("a").ids
        bare = self.library.encode("a", add_special_tokens=False).ids
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[:start], whole[start + len(bare) :]
        raise ModelError("The tokenizer changes a text's own tokens when it adds the special ones.")

    def encode(self, text: str) -> Tokens:
        """Returns the tokens that the model reads, and the number of those that were cut.

        `dropped` is exact for texts of up to EXACT_CHARS characters. Of longer ones only the beginning is
        read, and the rest is taken to have as many tokens per character; `count` gives the exact number.
        """
        text = well_formed(text)
        ids: list[int] = []
        read_chars = 0
        for piece, end in self._read_windows(text):
            ids += piece
            read_chars = end
            if len(text) > EXACT_CHARS and len(ids) >= self.limit:
                break
        return self._framed(ids, len(ids) if read_chars == len(text) else round(len(ids) * len(text) / read_chars))

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """Returns the same of several texts."""
        if not self._parallel:
            return [self.encode(text) for text in texts]
        formed = [well_formed(text) for text in texts]
        short = [text for text in formed if len(text) <= self._window_chars]
        found = iter(self.library.encode_batch_fast(short, add_special_tokens=False))
        return [
            self._framed(ids := next(found).ids, len(ids)) if len(text) <= self._window_chars else self.encode(text)
            for text in formed
        ]

    def _framed(self, ids: Sequence[int], total: int) -> Tokens:
        """Returns what the model reads of a text's own tokens; `total` is the number of all of them."""
        return Tokens([*self._special_before, *ids[: self.limit], *self._special_after], max(0, total - self.limit))

    def encode_ids(self, ids: Sequence[int], before: str = "") -> Tokens:
        """Takes a text as this vocabulary's token ids, after the words `before`; adds the special tokens.

        Special tokens that the ids have already are not added again. UnknownTokenError for an id
        that no text has: outside the vocabulary, padding, or one kept for later use ("[unused7]"), of which a
        text in another model's ids is full.
        """
        own = self._without_special(list(ids))
        unknown = next((each for each in own if each not in self._text_ids), None)
        if unknown is not None:
            raise UnknownTokenError(
                f"No text of this model has the token {unknown}: send texts, or ids of its own tokenizer."
            )
        own = [*self._ids_of(before.rstrip()), *own]
        return self._framed(own, len(own))

    def first_ids(self, text: str) -> list[int]:
        """Returns the ids of the text's beginning without special ones: at least as many as the model reads."""
        ids: list[int] = []
        for piece, _ in self._read_windows(well_formed(text)):
            ids += piece
            if len(ids) >= self.limit:
                break
        return ids

    def join(self, first: Sequence[int], second: Sequence[int]) -> Pair:
        """Returns two texts, given as ids without special ones, as one input of at most the model's tokens.

        Where both do not fit, the longer one is cut; where each has more than half of the room, both are cut to half of
        it (the "longest first" of Hugging Face's tokenizers). ModelError where the limit has no room for two texts.
        """
        between, second_type = self._pair_tokens
        room = self.limit - len(between)
        if room < 2:
            raise ModelError(f"A limit of {self.limit} tokens leaves no room for two texts; it must be larger.")
        keep = _shares(len(first), len(second), room)
        head = [*self._special_before, *first[: keep[0]], *between]
        tail = [*second[: keep[1]], *self._special_after]
        return Pair(head + tail, [0] * len(head) + [second_type] * len(tail))

    @cached_property
    def _pair_tokens(self) -> tuple[list[int], int]:
        """The ids between two texts ([SEP] for BERT), and the type of the second text's tokens."""
        both, alone = self.library.encode("a", "a"), self.library.encode("a", add_special_tokens=False).ids
        start = len(self._special_before) + len(alone)
        return both.ids[start : len(both.ids) - len(alone) - len(self._special_after)], both.type_ids[-1]

    @cached_property
    def _text_ids(self) -> frozenset[int]:
        """The ids that a text can have."""
        vocabulary = self.library.get_vocab(with_added_tokens=True)
        return frozenset(number for token, number in vocabulary.items() if not _NEVER_TEXT.fullmatch(token))

    def _without_special(self, ids: list[int]) -> list[int]:
        before, after = self._special_before, self._special_after
        end = len(ids) - len(after)
        framed = end >= len(before) and ids[: len(before)] == before and ids[end:] == after
        return ids[len(before) : end] if framed else ids

    def _ids_of(self, text: str) -> list[int]:
        return [each for ids, _ in self._read_windows(text) for each in ids]

    def count(self, text: str) -> int:
        """All tokens of the text, special ones included, whatever the model's limit; about 1 s per MB."""
        return len(self._special_before) + len(self._special_after) + self.count_without_special(text)

    def count_without_special(self, text: str) -> int:
        """The tokens of the text itself, without the special ones."""
        return sum(len(ids) for ids, _ in self._read_windows(well_formed(text)))

    def _read_windows(self, text: str) -> Iterator[tuple[list[int], int]]:
        """The text's ids window by window, each with the position in characters where it ends."""
        if len(text) <= self._window_chars:  # nothing to cut, so no offsets are needed, which saves a fifth
            yield self.library.encode_batch_fast([text], add_special_tokens=False)[0].ids, len(text)
            return
        start, size = 0, self._window_chars
        while True:
            window = text[start : start + size]
            encoding = self.library.encode(window, add_special_tokens=False)
            if start + size >= len(text):
                yield encoding.ids, len(text)
                return
            kept, end = _safe_part(encoding, size, self._longest_added)
            if end == 0 and size < LONGEST_WORD_CHARS:
                size *= _GROWTH
                continue
            if end == 0:
                found = _WORD_END.search(text, start + size)
                kept, end = len(encoding.ids), (found.start() if found else len(text)) - start
            yield encoding.ids[:kept], start + end
            start, size = start + end, self._window_chars
            if start == len(text):
                return


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Returns the numbers of tokens that two texts of these lengths keep in `room`."""
    if first + second <= room:
        return first, second
    half = room // 2
    if first <= second:
        return (first, room - first) if first <= half else (half, room - half)
    return (room - second, second) if second <= half else (room - half, half)


def _safe_part(encoding: "Encoding", window_chars: int, longest_added: int) -> tuple[int, int]:
    """The number of leading tokens of a window that stay the same whatever follows it, and the characters they cover.

    Not safe are the last word, which may go on, and what reaches into the last `longest_added` characters,
    where a special token written out in the text ("[SEP]") may be cut in two. (0, 0) where all is one word;
    a window of nothing but blanks is covered whole.
    """
    words, offsets = encoding.word_ids, encoding.offsets
    if not words:
        return 0, window_chars
    safe_chars = window_chars - longest_added
    cut = next((i for i, (_, end) in enumerate(offsets) if end > safe_chars), len(words) - 1)
    while cut > 0 and words[cut - 1] == words[cut]:
        cut -= 1
    return cut, offsets[cut][0] if cut else 0


def _load(path: Path) -> "Library":
    from tokenizers import Tokenizer as Library

    try:
        return Library.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for a file it cannot parse
        raise ModelError(f"{path} is not a readable tokenizer; bring the model's files again.") from error

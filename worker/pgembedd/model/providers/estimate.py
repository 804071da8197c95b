"""Tokens of models whose tokenizer is on their provider's side: an estimate, which is high rather than low.

Four letters or digits of ASCII are a token, and every other character is one by itself.
"""

from typing import TYPE_CHECKING

from pgembedd.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

_LONGEST_CHARS = 8
"""Characters per token of any text that is not white space alone, with room to spare."""


def estimating_tokenizer(max_tokens: int) -> Tokenizer:
    """Returns a tokenizer whose tokens are estimates; its ids mean nothing."""
    return Tokenizer(_library(), max_tokens)


def cut(tokenizer: Tokenizer, text: str) -> tuple[str, int, int]:
    """Returns what the model reads of a text, with the estimated tokens of the whole and of what is cut off."""
    tokens = tokenizer.encode(text)
    if not tokens.dropped:
        return text, len(tokens.ids), 0
    offsets = tokenizer.library.encode(text[: tokenizer.limit * _LONGEST_CHARS], add_special_tokens=False).offsets
    end = offsets[min(tokenizer.limit, len(offsets)) - 1][1]
    return text[:end], len(tokens.ids) + tokens.dropped, tokens.dropped


def _library() -> "Library":
    from tokenizers import Regex
    from tokenizers import Tokenizer as Library
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    library = Library(WordLevel({"?": 0}, unk_token="?"))
    library.pre_tokenizer = Split(Regex(r" ?[A-Za-z0-9]{1,4}|\s+|."), behavior="isolated")
    return library

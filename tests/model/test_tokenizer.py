"""Windows must not show: tokens of a text are the same however it was read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgembedd.errors import ModelError
from pgembedd.model import tokenizer
from pgembedd.model.tokenizer import Tokenizer
from pgembedd.text.unicode import well_formed
from tests.support.tiny_models import tiny_tokenizer

LIBRARY = tiny_tokenizer()
LIBRARY.no_padding()

# What windows could get wrong: words cut in two, special tokens written out, marks that combine with the
# character before them, characters that are removed, blanks of all kinds, long words, other scripts.
PIECES = st.sampled_from(
    [
        *("the", "running", "a", ".", "#", "##a", "x" * 120, "[SEP]", "[", "[MASK]", "[SE"),
        *(" ", "  ", "\n", "\t", "\u00a0", "\0", "\u200b", "\ufffd"),
        *("é", "e\u0301", "\u0301", "ß", "İ", "\u212b", "漢字", "😀", "\U0001d400"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tiny_tokenizer().save(str(file))
    return file


def whole(text: str, max_tokens: int) -> tuple[list[int], int]:
    """What the library itself makes of the whole text: the ids it keeps, and how many tokens it cuts off."""
    LIBRARY.no_truncation()
    total = len(LIBRARY.encode(text).ids)
    LIBRARY.enable_truncation(max_tokens)
    kept = LIBRARY.encode(text).ids
    return kept, total - len(kept)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(3, 40), st.integers(1, 40))
def test_windows_of_any_size_give_the_tokens_of_the_whole(
    path: Path, text: str, max_tokens: int, window_chars: int
) -> None:
    text = well_formed(text)
    tokenizer = Tokenizer(path, max_tokens, window_chars)
    ids, dropped = whole(text, max_tokens)
    encoded = tokenizer.encode(text)
    assert encoded.ids == ids
    assert encoded.dropped == dropped
    assert tokenizer.count(text) == len(ids) + dropped


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(3, 20), st.integers(1, 40))
def test_a_long_text_keeps_the_tokens_of_the_whole_although_only_its_beginning_is_read(
    path: Path, text: str, max_tokens: int, window_chars: int
) -> None:
    text = well_formed(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "EXACT_CHARS", 0)
        encoded = Tokenizer(path, max_tokens, window_chars).encode(text)
    ids, dropped = whole(text, max_tokens)
    assert encoded.ids == ids
    assert dropped > 0 or encoded.dropped == 0


@pytest.mark.slow
def test_the_estimate_of_what_is_cut_of_a_long_text(path: Path) -> None:
    text = "the running a " * 10_000
    encoded = Tokenizer(path, 40).encode(text)
    assert len(text) > tokenizer.EXACT_CHARS
    assert encoded.dropped == pytest.approx(whole(text, 40)[1], rel=0.01)


def test_the_file_s_own_truncation_and_padding_are_ignored(path: Path) -> None:
    tokenizer = Tokenizer(path, 512)
    assert len(tokenizer.encode("a").ids) == 3
    assert len(tokenizer.encode("a " * 400).ids) == 402


def test_surrogates_become_characters_where_they_are_pairs_and_else_the_replacement() -> None:
    assert well_formed("\ud83d\ude00 a\ud800b") == "😀 a\ufffdb"
    assert well_formed("plain") == "plain"


@given(st.text(st.characters(exclude_categories=[]), max_size=30))
def test_any_string_can_be_tokenised(path: Path, text: str) -> None:
    assert len(Tokenizer(path, 16).encode(text).ids) <= 16


def test_no_room_for_text_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="no room"):
        Tokenizer(path, 2)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a readable tokenizer"):
        Tokenizer(broken, 16)


def test_of_a_word_that_is_too_long_the_rest_is_skipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would read a word of 60 MB for minutes, in which no other thread runs."""
    text = "the " + "x" * 1_000 + " running " + "y" * 700
    read: list[int] = []

    class Library:
        """The library, which notes the longest text that it is given."""

        def __getattr__(self, name: str) -> object:
            def noting(given: str | list[str], **options: bool) -> object:
                read.append(len(given if isinstance(given, str) else given[0]))
                return getattr(LIBRARY, name)(given, **options)

            return noting

    made = Tokenizer(path, 40, window_chars=16)
    monkeypatch.setattr(tokenizer, "LONGEST_WORD_CHARS", 256)
    monkeypatch.setattr(made, "library", Library())
    assert made.encode(text).ids == whole(text, 40)[0], "an unknown word is one token, however long"
    assert made.count(text) == len(whole(text, 40)[0])
    assert max(read) == 256

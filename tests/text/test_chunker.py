"""Any text comes apart into pieces of itself: none too long, nothing lost, nothing moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgembedd.text import chunker
from pgembedd.text.chunker import Chunk, Splitter
from pgembedd.text.unicode import offsets_of, well_formed
from tests.support.tiny_models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
TOKENIZER.no_padding()
TOKENIZER.no_truncation()
SPLITTER = Splitter(TOKENIZER)
IN_WINDOWS = Splitter(TOKENIZER, window_chars=30)
SPLITTERS = st.sampled_from([SPLITTER, IN_WINDOWS])

PIECES = st.sampled_from(
    [
        *("the", "running", "a", ". ", "? ", "x" * 90, "\n\n", "\n", "\r\n", "\r\n\r\n", " ", "\t", "    "),
        *("# ", "\n## ", "- ", "\n1. ", "> ", "```\n", "~~~", "| a | b |\n|---|---|\n", "---\n", "**", "[a](b)", "<p>"),
        *("\0", "\x1c", "\u00a0", "\u200b", "\ufeff", "\ufffd", "\ud800", "\udfff", "\ud83d\ude00"),
        *("é", "e\u0301", "\u0301", "ß", "漢字", "😀", "👩\u200d🚀", "\u202e", "ไทย", "🇩🇪"),
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(exclude_categories=[]), max_size=4), max_size=60).map("".join)
SIZES = st.integers(1, 40).flatmap(lambda tokens: st.tuples(st.just(tokens), st.integers(0, tokens - 1)))


def tokens_of(text: str) -> int:
    """Without the special ones."""
    return len(TOKENIZER.encode(well_formed(text), add_special_tokens=False).ids)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SPLITTERS, TEXTS, SIZES, st.booleans())
@example(SPLITTER, "\ud83d\ude00 a\ud800b", (2, 1), False)
@example(IN_WINDOWS, "thethethethethethethe. thethethe", (6, 1), False)
def test_chunks_are_pieces_of_the_text_in_order_and_none_is_too_long(
    splitter: Splitter, text: str, size: tuple[int, int], markdown: bool
) -> None:
    tokens, overlap = size
    chunks = splitter.split(text, tokens=tokens, overlap=overlap, markdown=markdown)
    assert [chunk.text for chunk in chunks] == [text[chunk.start : chunk.end] for chunk in chunks]
    assert all(chunk.start < chunk.end for chunk in chunks)
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
    assert all(tokens_of(chunk.text) <= tokens for chunk in chunks)
    assert bool(chunks) == bool(text)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SPLITTERS, TEXTS, SIZES, st.booleans())
def test_every_character_that_is_not_blank_is_in_a_chunk_and_without_overlap_in_one(
    splitter: Splitter, text: str, size: tuple[int, int], markdown: bool
) -> None:
    tokens, overlap = size
    for shared in (0, overlap):
        chunks = splitter.split(text, tokens=tokens, overlap=shared, markdown=markdown)
        if shared == 0:
            assert all(a.end <= b.start for a, b in pairwise(chunks))
        covered = {at for chunk in chunks for at in range(chunk.start, chunk.end)}
        assert all(at in covered for at, character in enumerate(text) if not character.isspace())


@settings(max_examples=100)
@given(TEXTS)
def test_offsets_in_a_text_with_surrogates(text: str) -> None:
    well = well_formed(text)
    offset = offsets_of(text, well)
    assert offset(0) == 0
    assert offset(len(well)) == len(text)
    assert all(well_formed(text[offset(i) : offset(i + 1)]) == character for i, character in enumerate(well))


def texts(content: str, tokens: int, overlap: int = 0, *, markdown: bool = False) -> list[str]:
    """One token a letter, for the tokenizer is a small one."""
    return [chunk.text for chunk in SPLITTER.split(content, tokens=tokens, overlap=overlap, markdown=markdown)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a b c\n\nd e f", ["a b c", "d e f"]),
        ("a b c\r\n\r\nd e f", ["a b c", "d e f"]),
        ("Ab. Cd. Ef.", ["Ab.", "Cd.", "Ef."]),
        ("ab cd ef", ["ab cd", "ef"]),
        ("a" * 9, ["aaaa", "aaaa", "a"]),
        ("漢字漢字漢字", ["漢字漢字", "漢字"]),
        (" \n\n a \n\n ", ["a"]),
        (" \n", [" \n"]),
        ("", []),
    ],
    ids=ascii,
)
def test_cut_at_paragraphs_else_sentences_else_words_else_anywhere(content: str, expected: list[str]) -> None:
    assert texts(content, 4) == expected


def test_overlap_takes_the_end_of_a_chunk_into_the_next() -> None:
    assert texts("a b c d e f", 4, overlap=2) == ["a b c d", "c d e f"]


def test_markdown_keeps_a_section_together_where_text_does_not() -> None:
    content = "a b\n\n# c\n\nd e f"
    assert texts(content, 6, markdown=True) == ["a b", "# c\n\nd e f"]
    assert texts(content, 6) == ["a b\n\n# c", "d e f"]


def test_offsets_count_characters() -> None:
    assert SPLITTER.split("😀é\n\nnaïve", tokens=5)[-1] == Chunk(4, 9, "naïve")


@pytest.mark.slow
def test_threads_share_a_splitter() -> None:
    content = "the wing is hot. " * 200
    splitter = Splitter(TOKENIZER)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: splitter.split(content, tokens=20 + i % 4), range(64)))
    assert found == 16 * [SPLITTER.split(content, tokens=20 + i) for i in range(4)]


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("markdown", [False, True])
@pytest.mark.parametrize(
    "content", ["A b c. De f, gh! " * 40, "漢字" * 100, "a b\n\nc d e\n\n# f\n\ng h i j k\n\n" * 20]
)
def test_windows_do_not_show(content: str, markdown: bool, overlap: int) -> None:
    whole, windows = (
        splitter.split(content, tokens=9, overlap=overlap, markdown=markdown) for splitter in (SPLITTER, IN_WINDOWS)
    )
    assert windows == whole


def test_a_word_longer_than_a_window_is_read_to_its_end() -> None:
    content = "a " + "x" * 500 + " b"
    chunks = Splitter(TOKENIZER, window_chars=120).split(content, tokens=9)
    assert [chunk.text for chunk in chunks] == [content], "one unknown token between two"


def test_a_text_without_a_place_to_cut_is_cut_where_it_has_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes minutes for a word of 60 MB, in which no other thread runs."""
    monkeypatch.setattr(chunker, "_LONGEST_WORD_CHARS", 480)
    content = "a " + "x" * 5_000 + " b"
    chunks = Splitter(TOKENIZER, window_chars=120).split(content, tokens=9)
    assert "".join(chunk.text for chunk in chunks) == content
    assert max(len(chunk.text) for chunk in chunks) <= 2 * 480

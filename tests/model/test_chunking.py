"""Chunks by the tokens of a real model: it reads each of them whole, and an edit leaves the others as they are."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgembedd.errors import RowFailure
from pgembedd.model import Session
from pgembedd.text.chunker import Chunk
from tests.support.library import whole_collection

MANUAL = Path(__file__).parents[2] / "docs" / "how-to" / "runbook.md"


@cache
def article() -> str:
    """Forty paragraphs of documentation; not made when the file is imported, which every process of the tests does."""
    paragraphs = (" ".join(text.split()) for text in whole_collection().documents if 700 < len(text) < 1_500)
    return "\n\n".join(islice(paragraphs, 40))


def split(
    session: Session,
    text: str,
    tokens: int | None = None,
    overlap: int = 0,
    *,
    markdown: bool = False,
    before: str = "",
    after: str = "",
) -> list[Chunk]:
    return session.split(text, tokens=tokens, overlap=overlap, markdown=markdown, before=before, after=after)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [0, 30])
@pytest.mark.parametrize("before", ["", "A title: "])
def test_the_model_reads_every_chunk_whole_and_chunks_are_well_filled(
    minilm: Session, before: str, overlap: int
) -> None:
    chunks = split(minilm, article(), overlap=overlap, before=before, after=" (end)")
    counts = [minilm.count_tokens(f"{before}{chunk.text} (end)") for chunk in chunks]
    assert [total for total, _ in counts] == [kept for _, kept in counts]
    assert sum(total for total, _ in counts) > 0.6 * minilm.max_tokens * len(chunks)


def test_what_embeds_tells_the_tokens_of_every_text(minilm: Session) -> None:
    texts = ["wing", "", "wing " * 400, "wing"]
    result = minilm.embed(texts)
    assert result.tokens.tolist() == [minilm.count_tokens(text)[0] for text in texts] == [3, 2, 402, 3]
    assert (result.tokens - result.dropped).tolist() == [3, 2, 256, 3]
    assert minilm.embed([]).tokens.shape == (0,)


AROUND = st.text(st.sampled_from("aeginrstuw #:.\n漢é"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("aeginrstuw   .\n漢é"), min_size=1, max_size=600), AROUND, AROUND, st.integers(0, 300))
def test_no_chunk_is_cut_whatever_stands_around_it(
    minilm: Session, text: str, before: str, after: str, overlap: int
) -> None:
    """Also where a word of the text continues one of the title, and both together are more tokens than apart."""
    chunks = split(minilm, text, 20, overlap, before=before * 8, after=after)
    assert chunks
    totals = [minilm.count_tokens(before * 8 + chunk.text + after) for chunk in chunks]
    assert all(total == kept for total, kept in totals)


def test_words_that_meet_at_a_border_are_counted_together(minilm: Session) -> None:
    """ "z" and "aircraft" are a token each, "zaircraft" is three: chunks become smaller by the difference."""
    chunks = split(minilm, "aircraft " * 1000, before="z")
    counts = [minilm.count_tokens("z" + chunk.text) for chunk in chunks]
    assert counts[0] == (256, 256)
    assert all(total == kept for total, kept in counts)


def test_a_smaller_chunk_is_of_its_own_tokens_and_a_larger_one_is_the_model_s(minilm: Session) -> None:
    def lengths(tokens: int | None) -> int:
        return max(minilm.count_tokens(chunk.text)[0] - 2 for chunk in split(minilm, "wing " * 1000, tokens))

    assert [lengths(tokens) for tokens in (50, 254, 400, None)] == [50, 254, 254, 254]


def test_an_overlap_shrinks_with_the_chunk(minilm: Session) -> None:
    def steps(overlap: int, tokens: int | None = None, title: str = "") -> int:
        first, second, *_ = split(minilm, "wing " * 1000, tokens, overlap, before=title)
        return (second.start - first.start) // len("wing ")

    assert steps(0) == 254
    assert steps(54, 100) == 46
    assert steps(100, 200, "title " * 154) == 50, "100 tokens are left, half of what was asked for"
    assert steps(1000) == 127, "more than there is: half"


def test_a_title_that_leaves_no_room_fails_the_row_for_good(minilm: Session) -> None:
    assert split(minilm, "wing", before="title " * 238)
    with pytest.raises(RowFailure, match="takes 239 of the 254 tokens that the model reads") as failure:
        split(minilm, "wing", before="title " * 230, after=" end" * 9)
    assert failure.value.permanent
    assert failure.value.reason == "content"


def test_a_word_without_an_end_is_cut_where_the_model_knows_its_letters(minilm: Session) -> None:
    chunks = split(minilm, "漢字" * 1000)
    assert "".join(chunk.text for chunk in chunks) == "漢字" * 1000
    assert len(chunks) == 8
    assert len(split(minilm, "ab9" * 30, 20)) > 1
    # More than 100 letters are one unknown token to this model, and no cut between 254 of those helps it.
    assert len(split(minilm, "ab9" * 1000)) == 1


@pytest.mark.slow
def test_a_megabyte_is_cut_as_its_parts_are(minilm: Session) -> None:
    """Where a paragraph fills a chunk, ten times the text are ten times the same chunks: nothing looks far ahead."""
    paragraph = "wing " * 200 + "\n\n"
    long = split(minilm, paragraph * 1000)
    assert len(long) == 1000
    assert {chunk.text for chunk in long} == {paragraph.strip()}


def changed(paragraphs: list[str], at: int) -> dict[str, list[str]]:
    """What people do to a document, and the paragraphs afterwards."""
    added = "Something was added here: a whole sentence of a dozen words, or more."
    return {
        "a word": [*paragraphs[:at], paragraphs[at].replace(" ", " indeed ", 1), *paragraphs[at + 1 :]],
        "a sentence": [*paragraphs[:at], f"{paragraphs[at]} {added}", *paragraphs[at + 1 :]],
        "a paragraph": [*paragraphs[:at], added, *paragraphs[at:]],
        "first of all": [added, *paragraphs],
        "removed": [*paragraphs[:at], *paragraphs[at + 1 :]],
    }


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [0, 30])
@pytest.mark.parametrize("markdown", [False, True])
def test_an_edit_leaves_most_chunks_as_they_were(minilm: Session, overlap: int, markdown: bool) -> None:
    """Unchanged chunks are not embedded again. Prints how many change at an edit: docs/explanation/chunking.md."""
    content = MANUAL.read_text(encoding="utf-8") if markdown else article()

    def chunks(text: str) -> Counter[str]:
        return Counter(chunk.text for chunk in split(minilm, text, overlap=overlap, markdown=markdown))

    before, paragraphs = chunks(content), content.split("\n\n")
    news = {
        what: (chunks("\n\n".join(edited)) - before).total()
        for what, edited in changed(paragraphs, len(paragraphs) // 2).items()
    }
    print(f"of {before.total()} chunks new after an edit: {news}")
    assert max(news.values()) <= before.total() / 4
    assert sum(news.values()) <= before.total() / 2

"""Texts that come in parts, cut anywhere, also within a pair of surrogates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgembedd.text.unicode import WellFormedParts, storable, well_formed

PIECES = st.text(st.one_of(st.sampled_from("\ud83d\ude00\udfff\ud800😀a\0"), st.characters(exclude_categories=[])))


@given(st.lists(PIECES))
def test_parts_are_together_what_the_whole_text_is(parts: list[str]) -> None:
    reader = WellFormedParts()
    shown = [*map(reader.add, parts), reader.end()]
    assert "".join(shown) == well_formed("".join(parts))
    for part in shown:
        part.encode()
    assert reader.end() == ""


def test_a_split_pair_stands_in_the_later_part() -> None:
    reader = WellFormedParts()
    assert [reader.add("a\ud83d"), reader.add(""), reader.add("\ude00b\ud83d"), reader.add("c")] == [
        "a",
        "",
        "😀b",
        "\ufffdc",
    ]


def test_postgres_can_store_it_without_nul() -> None:
    assert storable("a\0\ud83d\0\ude00\ud800") == "a😀\ufffd"

"""No delimiter of the prompt is in an answer, however the language model's parts cut it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.answers.citations import Citations
from pgembedd.answers.delimiters import Undelimited, delimited
from pgembedd.answers.generation import Written
from pgembedd.answers.prompt import Source, make_prompt
from pgembedd.language import GenerationPart

MARK = "<<0123456789abcdef>>"


def shown(parts: list[str]) -> str:
    filtered = Undelimited(MARK)
    return "".join([*(filtered.add(part) for part in parts), filtered.end()])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"It is so. {MARK}", "It is so. "),
        (f"{MARK} source [1]\nIt is so [1].\nend of source [1] {MARK}", "It is so [1].\n"),
        (delimited(12, "It is so.", MARK) + "\nAnd so.", "It is so.\nAnd so."),
        (f"It{MARK}{MARK} is so.", "It is so."),
        ("The end of source [1] is near.\nend of story", "The end of source [1] is near.\nend of story"),
        ("1 << 2 and <<0123", "1 << 2 and <<0123"),
    ],
)
def test_delimiters_are_taken_out_wherever_the_parts_end(written: str, read: str) -> None:
    assert shown([written]) == read
    assert shown([*written]) == read
    for at in range(len(written)):
        assert shown([written[:at], written[at:]]) == read


@given(
    st.lists(st.sampled_from([*MARK, MARK, " source [1]", "end of source [2] ", "\n", "e", "text", "<<"]), max_size=30)
)
def test_the_parts_make_no_difference(parts: list[str]) -> None:
    whole = "".join(parts)
    assert shown(parts) == shown([whole]) == shown([*whole])


def test_text_without_delimiters_is_shown_at_once() -> None:
    filtered = Undelimited(MARK)
    assert [filtered.add(part) for part in ("Open the ", "settings", ", then.\n", "Save")] == [
        "Open the ",
        "settings",
        ", then.\n",
        "Save",
    ]


def test_what_a_model_repeats_of_its_prompt_is_in_no_event() -> None:
    prompt = make_prompt("Why?", [Source(1, "Title", "It is so.")], [], 4000)
    written = Written("a-model", prompt, Citations(prompt.sent))
    repeated = prompt.messages[0]["content"].partition("\n\n")[2]
    events = [
        event for letter in repeated for event in written.add(GenerationPart({"response": letter}))
    ] + written.end()
    assert "".join(event.data["text"] for event in events) == written.text == "Title\nIt is so.\n"

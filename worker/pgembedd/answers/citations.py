"""Citations `[n]` in an answer that comes in parts, checked against the sources that were sent."""

import re
from collections.abc import Collection, Iterator
from itertools import islice

from pgembedd.answers.prompt import CITATION, REFUSAL, cited_numbers

OPEN_CITATION = re.compile(r"\[[\d\s,]{0,40}\Z")
"""The end of a text that may be the beginning of a citation."""

REPEATED_CHARACTERS = 600
PROBE_CHARACTERS = REPEATED_CHARACTERS // 4
LONG_UNIT = 8_000  # characters of a passage that is noticed
REPETITIONS = 3
MOST_LOOKS = 350


class Citations:
    """The numbers cited so far, each once, in the order of their first appearance."""

    def __init__(self, sent: Collection[int]) -> None:
        self._sent = sent
        self.valid: list[int] = []
        self.invalid: list[int] = []
        """Numbers that no source which was sent has."""
        self._rest = ""

    def add(self, text: str) -> list[int]:
        """Takes the next part of the answer; returns the valid numbers that it cites for the first time."""
        text = self._rest + text
        found = [n for match in CITATION.finditer(text) for n in cited_numbers(match)]
        opened = OPEN_CITATION.search(text)
        self._rest = opened[0] if opened else ""
        new: list[int] = []
        for n in found:
            known = self.valid if n in self._sent else self.invalid
            if n not in known:
                known.append(n)
                if n in self._sent:
                    new.append(n)
        return new


def is_refusal(answer: str) -> bool:
    """Tells that the model wrote that the sources hold no answer, and nothing but that."""
    letters = re.sub(r"\W+", " ", answer).strip().casefold()
    return letters == re.sub(r"\W+", " ", REFUSAL).strip().casefold()


def repeats_itself(text: str) -> bool:
    """Tells that a text ends with one unit again and again: three times, and for 600 characters.

    A quotation stands there twice at times, and the lines of a list or a table differ somewhere.
    """
    tail = text[-LONG_UNIT * REPETITIONS :]
    return any(_ends_with_unit(tail, unit) for unit in islice(_distances(tail), MOST_LOOKS))


def _distances(text: str) -> Iterator[int]:
    """Yields how far before its end the last characters of a text stand as well, the nearest place first."""
    probe = text[-PROBE_CHARACTERS:]
    at = len(text) - len(probe)
    while (at := text.rfind(probe, 0, at + len(probe) - 1)) >= 0:
        yield len(text) - len(probe) - at


def _ends_with_unit(text: str, unit: int) -> bool:
    """Tells that a text ends with a unit of so many characters again and again."""
    characters = max(unit * REPETITIONS, REPEATED_CHARACTERS)
    return len(text) >= characters and text[unit - characters :] == text[-characters:-unit]

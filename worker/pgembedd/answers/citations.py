"""Citations `[n]` in an answer that comes in parts, checked against the sources that were sent."""

import re
from collections.abc import Collection

from pgembedd.answers.prompt import REFUSAL

_CITATION = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_OPEN = re.compile(r"\[[\d\s,]{0,40}\Z")

REPEATED_CHARACTERS = 600
SHORT_UNIT = REPEATED_CHARACTERS // 4
LONG_UNIT = 8_000  # characters of a passage that is noticed
REPETITIONS = 3
MOST_LOOKS = 200


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
        found = [int(n) for match in _CITATION.finditer(text) for n in match[1].split(",")]
        opened = _OPEN.search(text)
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
    """Tells that a text ends with one unit again and again: a short one for 600 characters, or a long one three times.

    A quotation stands there twice at times, and the lines of a list or a table differ somewhere.
    """
    tail = text[-REPEATED_CHARACTERS:]
    if len(tail) < REPEATED_CHARACTERS:
        return False
    return any(tail[unit:] == tail[:-unit] for unit in range(1, SHORT_UNIT + 1)) or _ends_with_long_unit(text)


def _ends_with_long_unit(text: str) -> bool:
    tail = text[-LONG_UNIT * REPETITIONS :]
    probe, end = tail[-SHORT_UNIT:], len(tail) - SHORT_UNIT - 1
    for _ in range(MOST_LOOKS):
        at = tail.rfind(probe, 0, end)  # the last characters, a unit ago if it is one
        unit = len(tail) - SHORT_UNIT - at
        if at < 0 or unit * REPETITIONS > len(tail):
            return False
        repeated = tail[-max(unit * REPETITIONS, REPEATED_CHARACTERS) :]
        if repeated[unit:] == repeated[:-unit]:
            return True
        end = at + SHORT_UNIT - 1
    return False

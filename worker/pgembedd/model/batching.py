"""Batching: the texts that go through the model together.

On a CPU the best batch is one text: a bigger one loses to the cache, and to padding where lengths differ.
Short texts of equal length share a run, which needs neither padding nor mask and saves the cost per call.
A GPU wants many tokens at once: there texts of about equal length share a run and are padded.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Sized

MAX_RUN_TOKENS = 512
_FIRST_PORTION_CHARS = 8_000
"""Texts tokenised before the first of them run: some 3 ms for the tokenizer, and half a second for the model."""

_GROWTH = 8  # few portions, because texts of equal length find each other inside one only


def plan_runs(lengths: Sequence[int], max_tokens: int = MAX_RUN_TOKENS) -> list[list[int]]:
    """Group the positions of `lengths` (in tokens) into runs, longest texts first.

    A run holds one text, or texts of equal length that together have at most `max_tokens` tokens. The long
    ones come first so that no thread is still busy with one of them at the end.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for position, length in enumerate(lengths):
        by_length[length].append(position)
    runs = []
    for length in sorted(by_length, reverse=True):
        positions = by_length[length]
        size = max(1, max_tokens // max(1, length))
        runs += [positions[start : start + size] for start in range(0, len(positions), size)]
    return runs


def plan_padded(lengths: Sequence[int], max_tokens: int, padded: Callable[[int], int]) -> list[list[int]]:
    """Group the positions of `lengths` (in tokens) into runs of at most `max_tokens`, padding included.

    Longest texts first. A run ends where it is full, and before a text that is shorter than half of its first one, so
    that little of it is padding. `padded` gives the tokens of a run's texts by the length of its longest one.
    """
    runs: list[list[int]] = []
    longest, room = 0, 0
    for position in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        if room == 0 or 2 * lengths[position] < longest:
            longest = lengths[position]
            room = max(1, max_tokens // max(1, padded(longest)))
            runs.append([])
        runs[-1].append(position)
        room -= 1
    return runs


def plan_portions(
    texts: Sequence[Sized], first_chars: int = _FIRST_PORTION_CHARS, growth: int = _GROWTH
) -> Iterator[list[int]]:
    """Positions of all texts, longest first, in portions: while one is in the model the next is tokenised.

    Each is `growth` times as large as the one before. Length in characters stands for length in tokens, which is not
    known yet; texts given as tokens have the latter.
    """
    portion: list[int] = []
    room = first_chars
    for position in sorted(range(len(texts)), key=lambda each: -len(texts[each])):
        portion.append(position)
        room -= len(texts[position])
        if room <= 0:
            yield portion
            first_chars *= growth
            portion, room = [], first_chars
    if portion:
        yield portion

"""The delimiters of a prompt, which no reader of the answer is shown where the language model repeats them."""

import re
from collections.abc import Sequence

_NUMBER = r"\d{1,4}"
_OPENING = [" ", *"source", " ", r"\[", _NUMBER, r"\]"]
_CLOSING = [*"end", " ", *"of", " ", *"source", " ", r"\[", _NUMBER, r"\]", " "]


def delimited(n: int, text: str, mark: str) -> str:
    """Returns a source between its delimiters. The mark is random, so no text holds it but by chance."""
    return f"{mark} source [{n}]\n{text.replace(mark, '')}\nend of source [{n}] {mark}"


class Undelimited:
    """Takes the delimiters out of a text that comes in parts."""

    def __init__(self, mark: str) -> None:
        letters = [re.escape(letter) for letter in mark]
        opening, closing = [*letters, *_OPENING], [*_CLOSING, *letters]
        self._whole = re.compile(f"^{''.join(closing)}\n?|{''.join(letters)}(?:{''.join(_OPENING)}\n?)?", re.MULTILINE)
        self._begun = re.compile(rf"(?:{_beginning_of(opening)}|^{_beginning_of(closing)})\Z", re.MULTILINE)
        self._before, self._rest = "\n", ""  # a line break, or a character that is in no delimiter

    def add(self, part: str) -> str:
        """Returns what is known of the text now; what may become a delimiter waits for the next part."""
        text = self._rest + part
        begun = self._begun.search(self._before + text)
        end = len(text) if begun is None else begun.start() - 1
        shown, self._rest = self._without(text[:end]), text[end:]
        if end > 0:
            self._before = "\n" if text[end - 1] == "\n" else "."
        return shown

    def end(self) -> str:
        """Returns the rest of the text."""
        rest, self._rest = self._without(self._rest), ""
        return rest

    def _without(self, text: str) -> str:
        return self._whole.sub("", self._before + text)[1:]


def _beginning_of(atoms: Sequence[str]) -> str:
    """Returns an expression for every beginning, of one atom or more, of what the atoms match together."""
    return f"{atoms[0]}{''.join(f'(?:{atom}' for atom in atoms[1:])}{')?' * (len(atoms) - 1)}"

"""A text in chunks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a content: `content[start:end] == text`, in characters."""

    start: int
    end: int
    text: str

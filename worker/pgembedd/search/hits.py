"""Hits of a search."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

TITLE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Hit:
    """A row, or a chunk of one, that a search found.

    `key` is the bare value, or a dict by column where the key has several. `similarity` and `semantic_rank` are None
    for a hit that was found by its words alone, `text_rank` for one that was found by its meaning alone. `record` has
    the columns that the caller may read, without vectors. `place` has the `file`, `page` and `headings` of a hit in a
    file, and all three as `text`.
    """

    key: Any
    score: float
    record: dict[str, Any]
    similarity: float | None = None
    semantic_rank: int | None = None
    text_rank: int | None = None
    rerank_score: float | None = None
    snippet: str | None = None
    chunk_index: int | None = None
    place: dict[str, Any] | None = None

    @property
    def key_text(self) -> str:
        """The key for a reader: the values of several columns with commas between them."""
        return ", ".join(map(str, self.key.values())) if isinstance(self.key, dict) else str(self.key)


@dataclass(frozen=True, slots=True)
class PipelineHit(Hit):
    """A hit of search_many(): the ranks are those within its pipeline."""

    pipeline: str = ""


AnyHit = TypeVar("AnyHit", bound=Hit)


class NotedHits(list[AnyHit]):
    """Hits, best first. `notices` are sentences about the search, such as how many jobs wait in the backfill."""

    def __init__(self, hits: Iterable[AnyHit] = (), notices: Iterable[str] = ()) -> None:
        super().__init__(hits)
        self.notices = tuple(notices)


Hits = NotedHits[Hit]
PipelineHits = NotedHits[PipelineHit]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that the caller may search. `columns` are the types of what a filter may name, by name."""

    name: str
    source: str
    model: str
    fingerprint: str | None
    distance: str
    chunked: bool
    key_columns: list[str]
    text_columns: list[str]
    columns: dict[str, str]


def title_of(hit: Hit, text_columns: Iterable[str]) -> str:
    """Returns the place in a file, else the first line of the first text column that has one, else of the snippet.

    "" without any.
    """
    if hit.place is not None:
        return str(hit.place["text"])
    for text in (*(hit.record.get(name) for name in text_columns), hit.snippet):
        line = next((line.strip() for line in text.splitlines() if line.strip()), "") if isinstance(text, str) else ""
        if line:
            return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1].rstrip()}…"
    return ""

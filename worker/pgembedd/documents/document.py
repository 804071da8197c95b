"""A document with pages of text, as it is read of a file."""

from collections.abc import Mapping
from dataclasses import dataclass

Metadata = Mapping[str, str | int | list[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a PDF, a slide, a part of a sheet, or a section of text that has no pages.

    `number` counts from 1. `text` is Markdown. `headings` are those that its beginning stands under, outermost first;
    a heading that the page begins with is in its text.
    """

    number: int
    headings: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """The pages of a file that hold text, its metadata, and notes for the user: one sentence each.

    `metadata` has those of `title`, `authors`, `created`, `modified` (ISO 8601), `language` and `pages` that the file
    states.
    """

    kind: str
    pages: tuple[Page, ...]
    metadata: Metadata
    notes: tuple[str, ...] = ()

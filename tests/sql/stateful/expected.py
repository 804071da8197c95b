"""The expected state of a table and its vectors, kept next to the real ones by tests/sql/stateful/machine.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache

from tests.support.sql import made_up, paragraphs

Key = tuple[int, str]
Stored = tuple[tuple[str | None, tuple[float, ...]], ...]  # per vector: the chunk (None in a column), and it

CUT = "gamma"  # what a row holds whose text the model is said to have cut


@dataclass(frozen=True)
class Shape:
    """The kind of pipeline and of table."""

    chunked: bool
    clear: bool = False
    titled: bool = False  # the title is put before each chunk, rather than being content
    layout: str = "plain"  # or deferrable, or partitioned

    @property
    def deferrable(self) -> bool:
        """Keys may be exchanged in one statement; in return there is no ON CONFLICT."""
        return self.layout == "deferrable"


@dataclass(frozen=True)
class Row:
    """A row as a user wrote it."""

    title: str | None = None
    content: str | None = None

    def set(self, column: str, text: str | None) -> Row:
        """With another text in `title`, `content` or `both`."""
        if column == "both":
            return Row(text, text)
        return replace(self, **{column: text})


@cache
def vector(text: str, turned: bool) -> tuple[float, ...]:
    """Returns the vector of a text; the other model reverses it."""
    return tuple(made_up(text)[:: -1 if turned else 1])


@cache
def shown(shape: Shape, row: Row) -> tuple[str, str]:
    """Returns the text before and the text of a row as embedded: equal for rows that ask for the same vectors."""
    if shape.titled:
        return (row.title or "") + ": ", row.content or ""
    return "", "\n\n".join(text for text in (row.title, row.content) if text is not None)


def blank(shape: Shape, row: Row) -> bool:
    """Nothing to embed. The texts of the test hold no white space that Python takes for anything else."""
    return not shown(shape, row)[1].strip()


@cache
def vectors(shape: Shape, row: Row, turned: bool) -> Stored:
    """All vectors of a row, in order."""
    before, text = shown(shape, row)
    if blank(shape, row):
        return ()
    if not shape.chunked:
        return ((None, vector(text, turned)),)
    return tuple((found[0], vector(before + found[0], turned)) for found in paragraphs(text))


@dataclass
class Expected:
    """The committed rows, and for each all that its vectors may be of by now.

    A vector in a column goes where its row goes; chunks belong to a key, as long as some row has it.
    """

    shape: Shape
    rows: dict[Key, Row] = field(default_factory=dict)
    had: dict[Key, frozenset[Row]] = field(default_factory=dict)
    tampered: dict[Key, tuple[float, ...]] = field(default_factory=dict)  # vectors that a user wrote

    def copy(self) -> Expected:
        """One that can be changed alone."""
        other = copy(self)
        other.rows, other.had, other.tampered = dict(self.rows), dict(self.had), dict(self.tampered)
        return other

    def put(self, keys: Iterable[Key], row: Row) -> None:
        """Rows inserted, or updated in place."""
        for key in keys:
            self.change({key: (key, row)})

    def drop(self, keys: Iterable[Key]) -> None:
        """Rows deleted."""
        for key in keys:
            for where in (self.rows, self.had, self.tampered):
                where.pop(key, None)

    def change(self, moves: dict[Key, tuple[Key, Row]]) -> None:
        """One statement: the row of a key gets that key and that content, all at once; new rows come from their own."""
        before = self.copy()
        self.drop(key for key in moves if key in before.rows)
        for old, (new, row) in moves.items():
            self.rows[new] = row
            here, there = (new, new) if self.shape.chunked else (old, old)
            was = before.rows.get(here)
            kept = was is not None and not (self.shape.clear and was != row)
            self.had[new] = frozenset({row}) | (before.had[there] if kept else frozenset())
            if kept and there in before.tampered:
                self.tampered[new] = before.tampered[there]

    def may_have(self, key: Key, stored: Stored, turned: bool) -> bool:
        """Tells that a content of that key explains all these vectors; there may be none of them yet."""
        if not stored:
            return True
        if not self.shape.chunked and stored[0][1] == self.tampered.get(key):
            return True
        return any(stored == vectors(self.shape, row, turned) for row in self.had.get(key, ()))

    def now(self, key: Key, turned: bool) -> Stored:
        """The vectors that a row is to have in the end."""
        return vectors(self.shape, self.rows[key], turned)

    def state(self, key: Key) -> str | None:
        """Returns the expected row_state of a row that is done."""
        if blank(self.shape, self.rows[key]):
            return "blank"
        return "truncated" if CUT in shown(self.shape, self.rows[key])[1] else None


Effect = Callable[[Expected], None]


@dataclass
class Late:
    """A transaction that is open: what it will have done, and the keys that no other can touch meanwhile."""

    repeatable: bool
    effects: list[Effect] = field(default_factory=list)
    keys: set[Key] = field(default_factory=set)

    def view(self, committed: Expected) -> Expected:
        """The table as this transaction sees it, apart from what others change after its snapshot."""
        seen = committed.copy()
        for effect in self.effects:
            effect(seen)
        return seen

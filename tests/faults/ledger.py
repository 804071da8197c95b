"""What was committed, kept outside the database."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tests.faults.subjects import Row

Place = tuple[str, int]
"""A subject's name and the number of a row."""
Changes = Mapping[Place, Row | None]
"""What a transaction leaves of the rows it touched; None: deleted."""


class Ledger:
    """The committed transactions of each author, in order. An author's rows are its own, so authors have no order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lost = 0
        """How many transactions were taken back."""
        self._commits: dict[int, list[Changes]] = {}
        self._rows: dict[int, dict[Place, Row]] = {}

    def commit(self, author: int, changes: Changes) -> None:
        """Enters the next transaction of an author."""
        with self._lock:
            self._commits.setdefault(author, []).append(changes)
            _apply(self._rows.setdefault(author, {}), changes)

    def rewind(self, author: int, count: int) -> None:
        """Takes back all but the first `count` transactions of an author, which the server has lost."""
        with self._lock:
            commits = self._commits.get(author, [])
            self.lost += max(len(commits) - count, 0)
            del commits[count:]
            self._rows[author] = {}
            for changes in commits:
                _apply(self._rows[author], changes)

    def count(self, author: int) -> int:
        """How many transactions an author has committed."""
        with self._lock:
            return len(self._commits.get(author, ()))

    def commits(self) -> int:
        """How many transactions were committed by all."""
        with self._lock:
            return sum(map(len, self._commits.values()))

    def rows_of(self, author: int) -> dict[Place, Row]:
        """A copy of an author's rows."""
        with self._lock:
            return dict(self._rows.get(author, {}))

    def rows(self, until: Mapping[int, int] | None = None) -> dict[Place, Row]:
        """All rows, now, or after the first `until[author]` transactions of each author."""
        with self._lock:
            if until is None:
                return {place: row for rows in self._rows.values() for place, row in rows.items()}
            found: dict[Place, Row] = {}
            for author, commits in self._commits.items():
                for changes in commits[: until.get(author, 0)]:
                    _apply(found, changes)
            return found


def _apply(rows: dict[Place, Row], changes: Changes) -> None:
    for place, row in changes.items():
        if row is None:
            rows.pop(place, None)
        else:
            rows[place] = row

"""Transactions at random, of rows that are one author's own."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from tests.faults.ledger import Ledger, Place
from tests.faults.model import MAX_LETTERS
from tests.faults.subjects import WRITERS_TABLE, Row, Subject

KEYS_OF_AN_AUTHOR = 1_000_000
MOST_ROWS = 60
"""Of an author in a table; beyond it only deletes add nothing."""
BULK = 12


@dataclass(frozen=True)
class Statement:
    """One statement, its rows as JSON, and how many rows it must find."""

    text: str
    rows: list[dict[str, object]]

    def run(self, connection: psycopg.Connection) -> None:
        """RuntimeError where the table does not hold the rows that the ledger has."""
        found = connection.execute(self.text.encode(), {"rows": json.dumps(self.rows)}).rowcount
        if found != len(self.rows):
            raise RuntimeError(f"{self.text} found {found} of {len(self.rows)} rows: {self.rows}")


@dataclass
class Transaction:
    """Statements, what they change, and whether they are to be committed; `undone` are rolled back to a savepoint."""

    statements: list[Statement] = field(default_factory=list)
    undone: list[Statement] = field(default_factory=list)
    changes: dict[Place, Row | None] = field(default_factory=dict)
    commits: bool = True

    def run(self, connection: psycopg.Connection, author: int, number: int) -> None:
        """Everything but the commit. The author's row notes the transaction, and is locked until it ends."""
        mark = f"update {WRITERS_TABLE} set last = %s where id = %s"
        if connection.execute(mark.encode(), (number, author)).rowcount != 1:
            raise RuntimeError(f"The row of writer {author} is not there.")
        if self.undone:
            connection.execute("savepoint before")
            for statement in self.undone:
                statement.run(connection)
            connection.execute("rollback to savepoint before")
        for statement in self.statements:
            statement.run(connection)


class Author:
    """Plans transactions from what the ledger says of its rows."""

    def __init__(self, number: int, ledger: Ledger, seed: int, subjects: Sequence[Subject]) -> None:
        self.number, self.ledger, self._subjects = number, ledger, subjects
        self.random = random.Random(seed * 1000 + number)
        self._next = number * KEYS_OF_AN_AUTHOR
        self._earlier: dict[Place, Row] = {}

    def plan(self) -> Transaction:
        """The next transaction: one or two changes of one table or two."""
        transaction = Transaction()
        rows = self.ledger.rows_of(self.number)
        for subject in self.random.sample(self._subjects, self.random.choice((1, 1, 2))):
            own = {number: row for (name, number), row in rows.items() if name == subject.name}
            self._change(transaction, subject, own)
        if transaction.statements and self.random.random() < 0.1:
            transaction.commits = False
        elif self.random.random() < 0.1:
            transaction.undone, other = transaction.statements, Transaction()
            transaction.statements, transaction.changes = other.statements, other.changes
        return transaction

    def enter(self, transaction: Transaction) -> None:
        """Notes that it was committed."""
        before = self.ledger.rows_of(self.number)
        self._earlier = {place: before[place] for place in transaction.changes if place in before}
        self.ledger.commit(self.number, transaction.changes)

    def rewind(self, count: int) -> None:
        """Takes back all but the first `count` transactions, which the server has lost."""
        self._earlier = {}
        self.ledger.rewind(self.number, count)

    def _change(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        if len(own) < 5:
            return self._insert(transaction, subject, own)
        actions: list[Callable[[Transaction, Subject, dict[int, Row]], None]] = [
            *(self._update,) * 4,
            *(self._update_and_back,) * 2,
            *(self._back,) * 3,
            *(self._delete,) * (6 if len(own) > MOST_ROWS else 1),
            *(self._insert,) * (0 if len(own) > MOST_ROWS else 3),
            self._touch,
            self._insert_again,
            self._rekey,
        ]
        return self.random.choice(actions)(transaction, subject, own)

    def _insert(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        count = self.random.choice((1, 1, 1, 2, 3, BULK))
        numbers = range(self._next, self._next + count)
        self._next += count
        self._put(transaction, subject, {number: self._row() for number in numbers}, insert(subject))

    def _update(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        self._put(transaction, subject, {number: self._row() for number in self._some(own)}, update(subject))

    def _update_and_back(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        """A, B and A again in one transaction."""
        some = self._some(own)
        self._put(transaction, subject, {number: self._row() for number in some}, update(subject))
        self._put(transaction, subject, {number: own[number] for number in some}, update(subject))

    def _back(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        """What the transaction before changed is as it was before that: A, B and A again in two transactions."""
        earlier = {n: row for (name, n), row in self._earlier.items() if name == subject.name and n in own}
        self._put(transaction, subject, earlier or {n: self._row() for n in self._some(own)}, update(subject))

    def _touch(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        """A change of a column that is not embedded."""
        self._put(transaction, subject, {number: own[number] for number in self._some(own)}, touch(subject))

    def _delete(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        self._take(transaction, subject, self._some(own))

    def _insert_again(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        """Deleted, and inserted with another text in the same transaction."""
        some = self._some(own)
        self._take(transaction, subject, some)
        self._put(transaction, subject, {number: self._row() for number in some}, insert(subject))

    def _rekey(self, transaction: Transaction, subject: Subject, own: dict[int, Row]) -> None:
        """The same row under another key."""
        (number,) = self.random.sample(sorted(own), 1)
        moved, self._next = self._next, self._next + 1
        keys = _keys(subject, number) | {f"new_{name}": value for name, value in _keys(subject, moved).items()}
        transaction.statements.append(Statement(rekey(subject), [keys]))
        transaction.changes |= {(subject.name, number): None, (subject.name, moved): own[number]}

    def _some(self, own: dict[int, Row]) -> list[int]:
        return self.random.sample(sorted(own), min(len(own), self.random.choice((1, 1, 2, 3, 8))))

    def _put(self, transaction: Transaction, subject: Subject, rows: dict[int, Row], text: str) -> None:
        told = [_keys(subject, number) | {"title": row.title, "body": row.body} for number, row in rows.items()]
        transaction.statements.append(Statement(text, told))
        transaction.changes |= {(subject.name, number): row for number, row in rows.items()}

    def _take(self, transaction: Transaction, subject: Subject, numbers: list[int]) -> None:
        transaction.statements.append(Statement(delete(subject), [_keys(subject, number) for number in numbers]))
        transaction.changes |= dict.fromkeys(((subject.name, number) for number in numbers), None)

    def _row(self) -> Row:
        """Mostly words; sometimes blank."""
        title = self.random.choice((None, self._words(12), self._words(30)))
        body = self.random.choice((None, "", *(self._words(self.random.randrange(20, MAX_LETTERS // 2)),) * 12))
        return Row(title, body)

    def _words(self, letters: int) -> str:
        word = string.ascii_lowercase
        words = "".join(self.random.choices(word + "  ", k=letters)).split()
        return " ".join([*words, f"{self.random.randrange(10**6)}"])


def _keys(subject: Subject, number: int) -> dict[str, object]:
    return dict(zip(subject.key_columns, subject.key(number), strict=True))


def _given(subject: Subject, more: str = "") -> str:
    return f"jsonb_to_recordset(%(rows)s::jsonb) as x({subject.columns()}{more})"


def _same(subject: Subject) -> str:
    return " and ".join(f"t.{name} = x.{name}" for name in subject.key_columns)


def insert(subject: Subject) -> str:
    """Rows with title and body."""
    names = subject.names()
    given = _given(subject, ", title text, body text")
    return f"insert into {subject.name} ({names}, title, body) select {names}, title, body from {given}"


def update(subject: Subject) -> str:
    """Title and body of rows."""
    given = _given(subject, ", title text, body text")
    return f"update {subject.name} t set title = x.title, body = x.body from {given} where {_same(subject)}"


def touch(subject: Subject) -> str:
    """A column that no pipeline watches."""
    return f"update {subject.name} t set seen = t.seen + 1 from {_given(subject)} where {_same(subject)}"


def delete(subject: Subject) -> str:
    """Rows by key."""
    return f"delete from {subject.name} t using {_given(subject)} where {_same(subject)}"


def rekey(subject: Subject) -> str:
    """Rows that get another key."""
    moved = ", ".join(f"{name} = x.new_{name}" for name in subject.key_columns)
    return (
        f"update {subject.name} t set {moved} from {_given(subject, ', ' + subject.columns('new_'))} "
        f"where {_same(subject)}"
    )

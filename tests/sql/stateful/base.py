"""A machine that does to a table and its queue whatever may happen to them, in any order, and looks at each step.

Writers, a second session whose transaction stays open, workers that claim, read and store in steps of their own or
die in between, and operators. At rest, everything must be as tests/sql/stateful/expected.py says.
"""

from __future__ import annotations

import psycopg
from hypothesis import event
from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.sql.stateful import stage
from tests.sql.stateful.expected import Effect, Expected, Key, Late, Row, Shape
from tests.support.databases import Database
from tests.support.sql import learn_vector, rows, value

Named = tuple[int, Key]  # a row, as a pipeline knows it


class Base(RuleBasedStateMachine):
    """The table, the pipelines, and what is known of them."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        # Writers, workers and operators, and a transaction that stays open: their sessions are not one.
        self.user, self.worker, self.other = (database.connect() for _ in range(3))
        self.warnings: list[str] = []
        for connection in (self.user, self.worker, self.other):
            learn_vector(connection)
            connection.execute(f"set lock_timeout = '{stage.PATIENCE}'")
            connection.add_notice_handler(self._heard)
        self.late: Late | None = None
        self.doomed: set[Named] = set()  # rows that were made to fail, whose vectors are not awaited
        self.blind: set[Key] = set()  # keys whose chunks a REPEATABLE READ transaction may not have seen
        self.paused: set[int] = set()

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warnings.append(str(notice.message_primary))

    def begin(self, shape: Shape, before: dict[Key, Row]) -> None:
        """A table with one pipeline, and with rows that were there before it."""
        self.shape = shape
        self.expected = Expected(shape)
        for key, row in before.items():
            self.expected.put([key], row)
        stage.build(self.user, shape, before)
        self.main = int(value(self.user, "select id from pgembedd_internal.pipeline"))
        self.beside: int | None = None
        self.turned = {self.main: False}
        self.pin(self.main, "one")

    def pin(self, pipeline_id: int, fingerprint: str) -> None:
        """As the first worker does that serves it."""
        assert value(self.worker, "select pgembedd_internal.pin_model(%s, %s)", pipeline_id, fingerprint) == fingerprint

    def name(self, pipeline_id: int) -> str:
        """The current name of the pipeline."""
        return str(value(self.user, "select name from pgembedd_internal.pipeline where id = %s", pipeline_id))

    # Which rows a statement may touch: none that the open transaction holds, unless it is that transaction's own.

    def seen(self, late: bool) -> Expected:
        return self.late.view(self.expected) if self.late and late else self.expected

    def held(self, late: bool) -> set[Key]:
        return self.late.keys if self.late and not late else set()

    def free(self, key: Key, late: bool) -> bool:
        return key not in self.seen(late).rows and key not in self.held(late)

    def some(self, numbers: list[int], late: bool) -> list[Key]:
        """Keys of rows that are there, by any numbers; rather such as some worker has just read."""
        there = sorted(self.seen(late).rows.keys() - self.held(late))
        there += 3 * [key for key in there if key in self.in_hand()]
        return sorted({there[number % len(there)] for number in numbers}) if there else []

    def in_hand(self) -> set[Key]:
        """The jobs that workers have claimed and read."""
        return set()

    def write(
        self,
        statement: str,
        values: dict[str, object],
        keys: list[Key],
        effect: Effect,
        late: bool,
    ) -> None:
        """Run a statement that changes these rows, at once or in the open transaction."""
        values = {"tenants": [key[0] for key in keys], "slugs": [key[1] for key in keys], **values}
        if not late:
            assert self.user.execute(statement, values).rowcount == len(keys)
            effect(self.expected)
            return
        assert self.late is not None
        try:
            changed = self.other.execute(statement, values).rowcount
        except (psycopg.errors.SerializationFailure, psycopg.errors.UniqueViolation):
            assert self.late.repeatable
            event("serialization failure")
            self.end(commit=False)
            return
        if changed != len(keys):
            assert self.late.repeatable, "no other transaction could touch these rows"
            self.end(commit=False)
            return
        self.late.effects.append(effect)
        self.late.keys |= set(keys)

    def open(self, repeatable: bool) -> None:
        """A transaction of the other session."""
        level = psycopg.IsolationLevel.REPEATABLE_READ if repeatable else psycopg.IsolationLevel.READ_COMMITTED
        self.other.isolation_level = level
        self.other.autocommit = False
        self.late = Late(repeatable)

    def end(self, commit: bool) -> None:
        """Of the open transaction."""
        assert self.late is not None
        ended, self.late = self.late, None
        event(f"{'commit' if commit else 'rollback'} of {len(ended.effects)}, repeatable {ended.repeatable}")
        if not commit:
            self.other.rollback()
        else:
            self.other.commit()
            self.expected = ended.view(self.expected)
            if ended.repeatable:
                self.blind |= ended.keys
        self.other.autocommit = True

    @invariant()
    def nothing_foreign_is_stored(self) -> None:
        """No vector but of a content that the row had, whole or not at all; dead letters only of what failed."""
        assert self.warnings == []
        assert set(stage.letters(self.worker)) == self.doomed
        dead = {named for named, state in stage.exceptions(self.worker).items() if state == "dead"}
        assert dead == self.doomed
        states = dict(rows(self.worker, "select id, state from pgembedd_internal.pipeline"))
        assert states == {one: "paused" if one in self.paused else "running" for one in self.turned}
        for pipeline_id, turned in self.turned.items():
            for key, found in stage.stored(self.worker, pipeline_id).items():
                if key in self.blind:
                    continue
                assert key in self.expected.rows, f"{key} has vectors, but is no row"
                assert self.expected.may_have(key, found, turned), f"{key} never was {found}"

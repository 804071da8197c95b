"""The state machine: its rules, and the invariants that hold once every job is settled."""

from __future__ import annotations

import sys

import psycopg
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.sql.stateful import stage
from tests.sql.stateful.expected import Key, Row, Shape
from tests.sql.stateful.workers import CLAIMS, Workers
from tests.sql.stateful.writers import KEYS, NOW_AND_THEN, ROWS, TEXTS, WHEN, Writers
from tests.support.databases import Database
from tests.support.sql import LANES, call, let_leases_run_out, qualified, value

ROUNDS = 30  # of settling: every job is read, and its row may be unchanged


class Machine(Workers, Writers):
    """All of it. What is not worked in the end is worked by tear-down, which looks at the result, too."""

    def __init__(self, database: Database, *, chunked: bool) -> None:
        super().__init__(database)
        self.chunked = chunked

    @initialize(
        clear=st.booleans(),
        titled=st.booleans(),
        layout=st.sampled_from(["plain", "deferrable", "partitioned"]),
        before=st.dictionaries(KEYS, ROWS, min_size=2, max_size=5),
    )
    def start(self, clear: bool, titled: bool, layout: str, before: dict[Key, Row]) -> None:
        self.setup_workers()
        self.begin(Shape(self.chunked, clear, titled and self.chunked, layout), before)

    @rule(number=CLAIMS, change=st.sampled_from(["update", "delete", "move"]), text=TEXTS, key=KEYS, when=WHEN)
    def overtake(self, number: int, change: str, text: str | None, key: Key, when: str) -> None:
        """A worker has read, a writer writes, and then the worker stores: what all the care is for."""
        if self.picked(number, read=True) is None:
            self.read(number)
        if change == "update":
            self.update([-1], "content", text, when)  # the last of all rows is one that was read
        elif change == "delete":
            self.delete([-1], when)
        else:
            self.move(-1, key, None, when)
        self.store(number, again=False)

    @rule(beside=st.booleans())
    def pause_or_resume(self, beside: bool) -> None:
        one = self.beside if beside and self.beside else self.main
        if one in self.paused:
            self.go_on(one)
        else:
            call(self.user, "pause", pipeline=self.name(one))
            self.paused.add(one)

    def go_on(self, pipeline_id: int) -> None:
        call(self.user, "resume", pipeline=self.name(pipeline_id))
        self.paused.discard(pipeline_id)

    @rule(
        upkeep=st.sampled_from(["sweep", "retention", "tick", "retry", "backfill", "force", "lacking", "all", "anew"])
    )
    def keep_up(self, upkeep: str) -> None:
        if upkeep == "retry":
            self.retry_dead_letters()
            return
        if upkeep in ("backfill", "force"):
            self.backfill(upkeep == "force" and self.late is None)
            return
        if upkeep in ("lacking", "all", "anew"):
            stage.open_backfills(self.user, list(self.turned), upkeep)
            return
        arguments = {"tick": "0, 0"}.get(upkeep, "")
        self.user.execute(f"select {qualified(upkeep)}({arguments})")
        if upkeep != "sweep":
            self.forget_gone()

    def forget_gone(self) -> None:
        """As the retention does, which leaves out pipelines that do not run."""
        self.doomed = {named for named in self.doomed if named[1] in self.expected.rows or named[0] in self.paused}

    def backfill(self, force: bool) -> None:
        for one in self.turned:
            queued = call(self.user, "backfill", pipeline=self.name(one), force=force)
            assert not force or queued == len(self.expected.rows)

    def retry_dead_letters(self) -> None:
        assert call(self.user, "retry_dead_letters") == len(self.doomed)
        self.doomed = set()

    @rule(force=st.booleans(), give_up=NOW_AND_THEN)
    @precondition(lambda self: self.late is None)
    def change(self, force: bool, give_up: bool) -> None:
        """Of the model: to begin with, there or back, or no more."""
        if self.beside is None:
            self.change_model()
        elif give_up:
            self.drop(self.beside)
        else:
            self.switch(self.beside, force)

    def change_model(self) -> None:
        assert call(self.user, "change_model", pipeline="documents", model="another") == len(self.expected.rows)
        self.beside = int(value(self.user, "select max(id) from pgembedd_internal.pipeline"))
        self.turned[self.beside] = not self.turned[self.main]
        self.pin(self.beside, f"fingerprint of {self.beside}")

    def switch(self, beside: int, force: bool) -> None:
        """There or back, whichever is its turn; refused if rows would be lost, or old."""
        here, there = (stage.stored(self.user, one).keys() for one in (self.main, beside))
        loss = self.expected.rows.keys() & here - there
        behind = stage.queued_for(self.user, beside) - stage.queued_for(self.user, self.main)
        back = self.name(beside).endswith(".previous")
        try:
            call(self.user, "revert_model" if back else "switch_model", pipeline="documents", force=force)
        except psycopg.errors.ObjectNotInPrerequisiteState:
            assert not force
            assert loss or behind or beside in self.paused
            event("switch refused")
            return
        assert force or not (loss or behind)
        event(f"switch, back {back}")
        self.main, self.beside = beside, self.main
        assert self.name(self.main) == "documents"

    def drop(self, beside: int) -> None:
        call(self.user, "drop_pipeline", pipeline=self.name(beside), drop_vectors=True)
        self.doomed = {named for named in self.doomed if named[0] != beside}
        self.paused.discard(beside)
        # A claim that was not read yet cannot be any more; what was read may still be stored, and is lost.
        self.claims = [c for c in self.claims if c.jobs[0].pipeline_id != beside or c.contents is not None]
        del self.turned[beside]
        self.beside = None

    @rule(commit=st.booleans())
    def settle(self, commit: bool) -> None:
        """Everything goes on, and all is worked until nothing is left."""
        if self.late:
            self.end(commit)
        for one in list(self.paused):
            self.go_on(one)
        for _ in range(ROUNDS):
            if not stage.waiting(self.worker):
                break
            for lane in LANES:
                let_leases_run_out(self.user, lane)
                for claim in self.take(lane, 20_000):
                    self.fetch(claim)
                    self.deliver(claim)
                    self.claims.remove(claim)
        assert not stage.waiting(self.worker), "the same jobs come back for ever"
        self.at_rest()

    def at_rest(self) -> None:
        """Every row has exactly the vectors of its content, in all pipelines, and nothing else is left of anything."""
        self.everything_is_embedded()
        call(self.user, "retention")
        self.forget_gone()
        self.blind &= {key for _, key in self.doomed}
        self.everything_is_embedded(orphans=False)
        expected = {
            (one, key): self.expected.state(key)
            for one in self.turned
            for key in self.expected.rows
            if self.expected.state(key)
        }
        assert stage.exceptions(self.user) == expected | dict.fromkeys(self.doomed, "dead")
        assert call(self.user, "sweep") == 0
        assert not stage.waiting(self.user)

    def everything_is_embedded(self, orphans: bool = True) -> None:
        """Apart from rows that were made to fail."""
        for one, turned in self.turned.items():
            stored = stage.stored(self.user, one)
            for key in self.expected.rows:
                if (one, key) not in self.doomed:
                    assert stored.get(key, ()) == self.expected.now(key, turned), f"{key} in {one}"
            assert stored.keys() <= self.expected.rows.keys() | (self.blind if orphans else set())
            if self.shape.chunked:
                faults = stage.chunk_faults(self.user, one, self.shape)
                assert [fault for fault in faults if (one, fault[:2]) not in self.doomed] == []

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "expected"):
                self.settle(commit=True)
                self.nothing_foreign_is_stored()
        finally:
            self.other.rollback()
            stage.clear_away(self.user)
            for connection in (self.user, self.worker, self.other):
                connection.close()

"""The steps of workers, one at a time, with any number of claims at once, and their deaths in between."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.sql.stateful import stage
from tests.sql.stateful.base import Base
from tests.sql.stateful.expected import CUT, Key, blank, shown, vector
from tests.support import sql
from tests.support.sql import BACKFILL, FRESH, LANES, Content, Job, value

DONE = {"written", "unchanged", "cleared", "gone"}
SOME_LANE = st.sampled_from([FRESH, FRESH, BACKFILL])
CLAIMS = st.integers(0, 20)


@dataclass
class Claim:
    """Jobs of one pipeline that some worker has, or believes to have."""

    jobs: list[Job]
    contents: list[Content] | None = None
    asked: list[Any] | None = None  # what the rows said when they were read; None for a row that was gone

    def key(self, number: int) -> Key:
        """Of the row of a job."""
        key = json.loads(self.jobs[number].key)
        return key["tenant"], key["slug"]


class Workers(Base):
    """Claims stay open across everything else that happens, and are heard of again when they should not."""

    def setup_workers(self) -> None:
        self.claims: list[Claim] = []
        self.suspected: set[tuple[int, Key]] = set()

    def in_hand(self) -> set[Key]:
        return {claim.key(n) for claim in self.claims[-3:] if claim.asked for n in range(len(claim.jobs))}

    def picked(self, number: int, read: bool | None = None) -> Claim | None:
        """Some claim of a pipeline that is still there."""
        fit = [
            claim
            for claim in self.claims
            if read is None or (claim.contents is not None if read else claim.jobs[0].pipeline_id in self.turned)
        ]
        return fit[number % len(fit)] if fit else None

    @rule(lane=SOME_LANE, size=st.sampled_from([1, 3, 100]), read=st.sampled_from([True, True, False]))
    def claim(self, lane: str, size: int, read: bool) -> None:
        for claim in self.take(lane, size):
            if read:
                self.fetch(claim)

    def take(self, lane: str, size: int) -> list[Claim]:
        """A claim; jobs that killed workers when they were alone are given up by it."""
        before = stage.letters(self.worker)
        if lane == BACKFILL:
            for one in self.turned:
                value(self.worker, "select pgembedd_internal.continue_backfill(%s)", one)
        jobs = sql.claim(self.worker, lane, size)
        for named, reason in stage.letters(self.worker).items():
            if before.get(named) != reason:
                assert reason == "worker_died"
                assert named in self.suspected
                self.doomed.add(named)
                event(reason)
        by_pipeline = defaultdict(list)
        for job in jobs:
            by_pipeline[job.pipeline_id].append(job)
        assert not self.paused & by_pipeline.keys()
        claims = [Claim(mine) for mine in by_pipeline.values()]
        self.claims += claims
        return claims

    def fetch(self, claim: Claim) -> None:
        """Read; a suspect is marked before that, as one that is worked alone."""
        for number, job in enumerate(claim.jobs):
            if job.suspect and sql.mark_alone(self.worker, job):
                self.suspected.add((job.pipeline_id, claim.key(number)))
        claim.contents = sql.read(self.worker, claim.jobs)
        claim.asked = []
        for number, content in enumerate(claim.contents):
            row = self.expected.rows.get(claim.key(number))
            asked = None if row is None else shown(self.shape, row)
            state = "gone" if row is None else "blank" if blank(self.shape, row) else "ok"
            assert (content.state, content.text) == (state, asked[1] if asked and state == "ok" else None)
            claim.asked.append(asked)

    @rule(number=CLAIMS, again=st.sampled_from([False, False, True]))
    def store(self, number: int, again: bool) -> None:
        """With `again` the worker does not hear the answer, and will tell it once more."""
        if claim := self.picked(number, read=True):
            self.deliver(claim)
            if not again:
                self.claims.remove(claim)
        else:
            self.read(number)

    @rule(number=CLAIMS)
    def store_or_read(self, number: int) -> None:
        """The same again, since everything else waits for it."""
        self.store(number, again=False)

    def read(self, number: int) -> None:
        """Returns the claimed jobs, or, without any, claims some."""
        if claim := self.picked(number, read=False):
            self.fetch(claim)
        else:
            self.claim(FRESH if number % 3 else BACKFILL, 1 + number, read=True)

    def deliver(self, claim: Claim) -> None:
        """Store what was read: each job with the one outcome that it must have."""
        assert claim.contents is not None
        assert claim.asked is not None
        pipeline_id = claim.jobs[0].pipeline_id
        turned = self.turned.get(pipeline_id, False)
        there = stage.waiting(self.worker)
        before = stage.stored(self.worker, pipeline_id) if pipeline_id in self.turned else {}
        dropped = [1 if CUT in (content.text or "") else 0 for content in claim.contents]
        outcomes = sql.store(
            self.worker, claim.jobs, claim.contents, embed=lambda text: list(vector(text, turned)), dropped=dropped
        )
        done = set()
        for number, (job, outcome) in enumerate(zip(claim.jobs, outcomes, strict=True)):
            key = claim.key(number)
            event(f"outcome {outcome}")
            if (job.queue, job.msg_id, job.read_ct) not in there:
                assert outcome == "lost"
                continue
            assert outcome in self.possible(key, claim.asked[number], claim.contents[number]), f"{key} {outcome}"
            if outcome in DONE:
                self.doomed.discard((pipeline_id, key))
                done.add(key)
        stored = stage.stored(self.worker, pipeline_id) if pipeline_id in self.turned else {}
        for key in done & self.expected.rows.keys():
            assert stored.get(key, ()) == self.expected.now(key, turned), f"{key} has other vectors than were stored"
        for key in (before.keys() | stored.keys()) - done:
            assert stored.get(key) == before.get(key), f"{key} has other vectors, though nothing was stored"

    def possible(self, key: Key, asked: Any, content: Content) -> set[str]:
        """The outcomes that a job of ours may have now."""
        row = self.expected.rows.get(key)
        if row is None:
            return {"gone"}
        if self.late and key in self.late.keys:
            return {"locked"}
        if asked != shown(self.shape, row):
            # Nothing is told of a row that was not there; empty content has the same hash as none.
            return {"changed"} if asked is not None else {"changed", "cleared", "unchanged"}
        # A chunk to be taken over may be gone by now.
        return {"written", "unchanged", "cleared"} | ({"changed"} if content.known else set())

    @rule(
        number=CLAIMS,
        deed=st.sampled_from(["fail", "give up", "give up", "release", "extend", "crash", "crash", "lease"]),
    )
    def go_wrong(self, number: int, deed: str) -> None:
        """A row fails, a claim is given back, kept for longer, or never heard of again; or time goes on."""
        claim = self.picked(number)
        if claim is None or deed == "lease":
            for lane in LANES:
                sql.let_leases_run_out(self.user, lane)
        elif deed == "release":
            sql.release(self.worker, claim.jobs)
        elif deed == "extend":
            sql.extend(self.worker, claim.jobs)
        elif deed == "crash":
            self.claims.remove(claim)
        else:
            self.fail(claim, number % len(claim.jobs), permanent=deed == "give up")

    def fail(self, claim: Claim, number: int, permanent: bool) -> None:
        """One job of a claim."""
        job = claim.jobs[number]
        there = (job.queue, job.msg_id, job.read_ct) in stage.waiting(self.worker)
        outcome, attempts, _ = sql.fail(self.worker, job, permanent=permanent)
        assert (outcome == "lost") != there
        event(f"failure {outcome}")
        if outcome == "dead":
            assert permanent or attempts == stage.MAX_ATTEMPTS
            self.doomed.add((job.pipeline_id, claim.key(number)))

    @rule(lane=SOME_LANE, size=st.sampled_from([3, 100]))
    def work(self, lane: str, size: int) -> None:
        """Another worker, to whom nothing happens."""
        for claim in self.take(lane, size):
            self.fetch(claim)
            self.deliver(claim)
            self.claims.remove(claim)

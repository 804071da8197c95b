"""Pipelines share a worker by time, and claims are sized by the time that their jobs take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgembedd.database.records import BACKFILL, FRESH, Due
from pgembedd.loop.fair_share import BACKFILL_CLAIM_S, CLAIM_S, FIRST_SIZE, LARGEST, SMALLEST, FairShare
from pgembedd.loop.lane import Lane
from pgembedd.loop.parts import Parts
from pgembedd.loop.role import Role
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT
from tests.support.embedders import Wrapped, only

ONE, TWO, THREE = (Due(number, FRESH) for number in (1, 2, 3))


@dataclass
class Simulation:
    """A worker that takes `job_s` seconds for a job of each pipeline, one claim ahead of the model, as ours."""

    waiting: dict[Due, int]
    job_s: dict[Due, float]
    share: FairShare = field(default_factory=FairShare)
    now_s: float = 0.0
    used_s: dict[Due, float] = field(default_factory=dict)
    done_at_s: dict[Due, float] = field(default_factory=dict)
    order: list[Due] = field(default_factory=list)
    _ahead: list[tuple[Due, int]] = field(default_factory=list)

    def step(self) -> None:
        """Claims once, and stores the claim before it."""
        due = [each for each, jobs in self.waiting.items() if jobs]
        if due:
            chosen = self.share.next(due)
            assert chosen is not None
            jobs = min(self.share.size(chosen), self.waiting[chosen])
            self.waiting[chosen] -= jobs
            self.share.claimed(chosen, jobs)
            self.order.append(chosen)
            self._ahead.append((chosen, jobs))
        if len(self._ahead) > 1 or not due:
            stored, jobs = self._ahead.pop(0)
            took_s = jobs * self.job_s[stored]
            self.now_s += took_s
            self.used_s[stored] = self.used_s.get(stored, 0.0) + took_s
            self.done_at_s[stored] = self.now_s
            self.share.stored(stored, jobs, took_s)

    def run(self) -> None:
        """Works until nothing is left."""
        while any(self.waiting.values()) or self._ahead:
            self.step()


def test_short_rows_do_not_wait_behind_long_articles() -> None:
    """Shares of jobs instead of time would put the 300 short rows behind nearly all of the articles."""
    run = Simulation({ONE: 44, TWO: 300}, {ONE: 2.0, TWO: 0.01})
    run.run()
    # Twice its own 3 s, and the claims of the articles until it is known how long one takes.
    assert run.done_at_s[TWO] < 2 * 3.0 + FIRST_SIZE * 2.0 + 2 * SMALLEST * 2.0
    again = Simulation({ONE: 44, TWO: 300}, {ONE: 2.0, TWO: 0.01}, run.share)
    again.run()
    assert again.done_at_s[TWO] < 2 * 3.0 + 3 * SMALLEST * 2.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6))
def test_each_pipeline_gets_the_same_time_while_all_have_jobs(job_s: list[float]) -> None:
    pipelines = [Due(number, FRESH) for number in range(len(job_s))]
    run = Simulation(dict.fromkeys(pipelines, 10**9), dict(zip(pipelines, job_s, strict=True)))
    for _ in range(400):
        run.step()
    before = dict(run.used_s)
    for _ in range(200 * len(job_s)):
        run.step()
    used = [run.used_s[each] - before[each] for each in pipelines]
    claim_s = [run.share.size(each) * run.job_s[each] for each in pipelines]
    assert max(used) - min(used) <= 4 * max(claim_s)


def test_time_is_not_saved_up() -> None:
    """A pipeline that had nothing to do for long starts level with the others."""
    run = Simulation({ONE: 10**9, TWO: 0}, {ONE: 0.02, TWO: 0.02})
    for _ in range(500):
        run.step()
    run.waiting[TWO] = 10**9
    first = len(run.order)
    for _ in range(20):
        run.step()
    assert run.order[first:].count(ONE) >= 8


def test_no_pipeline_is_left_out() -> None:
    everyone = [Due(number, FRESH) for number in range(50)]
    share = FairShare()
    chosen = set()
    for _ in everyone:
        each = share.next(everyone)
        assert each is not None
        share.claimed(each, 1)
        share.stored(each, 1, 0.01)
        chosen.add(each.pipeline_id)
    assert chosen == set(range(50))


def test_a_fixed_size_stays() -> None:
    share = FairShare(7)
    share.stored(ONE, 14, 0.001)
    share.stored(ONE, 14, 100.0)
    assert share.size(ONE) == 7


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(0, 1000))))
def test_it_stays_in_its_bounds_and_grows_to_its_double_at_most(stores: list[tuple[int, float]]) -> None:
    share = FairShare()
    for jobs, seconds in stores:
        before = share.size(ONE)
        share.stored(ONE, jobs, seconds)
        assert SMALLEST <= share.size(ONE) <= LARGEST
        assert share.size(ONE) <= 2 * before


@pytest.mark.parametrize("rows_per_s", [1.0, 30.0, 200.0, 1_000.0, 1_000_000.0])
@pytest.mark.parametrize("claim_s", [CLAIM_S, BACKFILL_CLAIM_S])
def test_a_claim_is_what_the_worker_does_in_a_moment(rows_per_s: float, claim_s: float) -> None:
    share = FairShare(claim_s=claim_s)
    for _ in range(20):
        share.stored(ONE, share.size(ONE), share.size(ONE) / rows_per_s)
    assert share.size(ONE) == pytest.approx(min(max(SMALLEST, rows_per_s * claim_s), LARGEST), abs=1)


@pytest.mark.parametrize("commit_s", [0.3, 1.0])
def test_claims_do_not_shrink_to_a_few_rows_where_commits_are_slow(commit_s: float) -> None:
    share = FairShare()
    for _ in range(20):
        jobs = share.size(ONE)
        share.stored(ONE, jobs, commit_s + jobs * 0.001, commit_s)
    assert share.size(ONE) >= 14


def test_claims_of_rows_that_are_slow_to_write_are_small() -> None:
    share = FairShare()
    for _ in range(20):
        jobs = share.size(ONE)
        share.stored(ONE, jobs, jobs * 0.1, jobs * 0.1)
    assert share.size(ONE) <= 20


def test_each_pipeline_has_a_size_of_its_own() -> None:
    share = FairShare()
    for _ in range(20):
        share.stored(ONE, share.size(ONE), share.size(ONE) * 1.0)
        share.stored(TWO, share.size(TWO), share.size(TWO) * 0.0001)
    assert (share.size(ONE), share.size(TWO), share.size(THREE)) == (SMALLEST, LARGEST, FIRST_SIZE)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def share_of_two(clock: Clock) -> FairShare:
    """One in which another pipeline than ONE has had a store."""
    share = FairShare(8, clock)
    share.claimed(TWO, 8)
    share.stored(TWO, 8, 0.2)
    return share


def test_a_pipeline_that_waits_in_vain_is_left_out_for_longer_each_time() -> None:
    """Although the other one is hardly ever due, and would wait for it with each of its rows."""
    share = share_of_two(clock := Clock())
    out_s = []
    for _ in range(8):
        ended_s = clock.now_s
        while share.next([ONE]) is None:
            assert share.left_out() == [ONE.pipeline_id]
            assert share.next([ONE, TWO]) == TWO
            clock.now_s += 0.5
        out_s.append(clock.now_s - ended_s)
        share.claimed(ONE, 8)
        clock.now_s += 2.0
        share.released(ONE, 8, 2.0)
    assert out_s == [0.0, 20.0, 20.0, 20.0, 20.0, 32.0, 64.0, 64.0]


def test_it_has_one_claim_at_a_time_until_one_is_stored() -> None:
    share = share_of_two(clock := Clock())
    for report in (share.released, share.stored):
        assert share.next([ONE]) == ONE
        share.claimed(ONE, 8)
        assert (share.next([ONE]) is None) == (report == share.stored)
        report(ONE, 8, 2.0)
        clock.now_s += 20.0
    share.claimed(ONE, 8)
    assert (share.next([ONE]), share.left_out()) == (ONE, [])


def test_a_long_wait_for_a_provider_is_had_at_most_every_ten_minutes() -> None:
    share = share_of_two(clock := Clock())
    for _ in range(6):
        share.claimed(ONE, 8)
        share.released(ONE, 8, 60.0)
    clock.now_s = 599.0
    assert share.next([ONE]) is None
    clock.now_s = 600.0
    assert share.next([ONE]) == ONE


def test_a_pipeline_that_is_alone_or_waits_shortly_is_not_left_out() -> None:
    alone, share = FairShare(8), share_of_two(Clock())
    for each, seconds in [(alone, 60.0), (share, 0.9)]:
        each.claimed(ONE, 8)
        each.released(ONE, 8, seconds)
        assert (each.next([ONE]), each.left_out()) == (ONE, [])


def test_time_that_is_waited_in_vain_counts() -> None:
    share, turns = share_of_two(Clock()), 0
    share.claimed(ONE, 8)
    share.released(ONE, 8, 0.9)
    while share.next([ONE, TWO]) == TWO:
        share.claimed(TWO, 8)
        share.stored(TWO, 8, 0.2)
        turns += 1
    assert turns * 0.2 == pytest.approx(0.9, abs=0.3)


def test_a_batch_that_is_sent_is_no_wait_in_vain() -> None:
    share = share_of_two(Clock())
    share.claimed(ONE, 8)
    share.sent(ONE)
    share.released(ONE, 8, 60.0)
    assert share.next([ONE]) == ONE
    share.claimed(ONE, 8)
    share.released(ONE, 8, 60.0)
    assert share.next([ONE]) is None, "of that batch alone"


def test_only_a_backfill_of_texts_is_claimed_for_longer(monkeypatch: pytest.MonkeyPatch, model: Session) -> None:
    """Rows of another table wait behind a claim of a lane, and files of a claim are held in memory."""
    claims_s = {}

    def recorded(queue: str, given: Any, role: Any, task: Any, *others: Any, **options: Any) -> Lane:
        lane = Lane(queue, given, role, task, *others, **options)
        claims_s[task.name, queue] = lane.share.claim_s
        return lane

    monkeypatch.setattr("pgembedd.loop.parts.Lane", recorded)
    Parts("", Settings(), ModelRegistry(only(Wrapped(model))), Role(), SILENT).close()
    assert {name: claims_s[name] for name in claims_s if claims_s[name] != CLAIM_S} == {
        ("embed", BACKFILL): BACKFILL_CLAIM_S
    }
    assert set(claims_s) == {(task, queue) for task in ("embed", "parse") for queue in (FRESH, BACKFILL)}

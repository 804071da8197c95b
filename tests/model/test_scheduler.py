"""Threads that take queries first: who is next, who never waits, and what documents are owed."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from concurrent.futures import CancelledError, Future
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.scheduler import BACKFILL_NICE, BACKFILL_SHARE, DOCUMENTS_SHARE, FairShare, Lane, Scheduler
from tests.support.waiting import PATIENCE_S


class Blocked:
    """Work that says when it has begun, and goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.let_go.wait(PATIENCE_S)


def occupy(scheduler: Scheduler, lane: Lane, count: int) -> list[Blocked]:
    """So many threads busy with that lane's work."""
    work = [Blocked() for _ in range(count)]
    for each in work:
        scheduler.submit(lane, each)
        assert each.begun.wait(PATIENCE_S)
    return work


def test_a_query_behind_a_hundred_documents_is_next_on_the_shared_threads() -> None:
    done: list[str] = []
    scheduler = Scheduler(1)
    blocked = [*occupy(scheduler, "query", 1), *occupy(scheduler, "fresh", 1)]  # its own thread, and the shared one
    futures: list[Future[None]] = [scheduler.submit("fresh", partial(done.append, f"document {i}")) for i in range(100)]
    futures.append(scheduler.submit("query", partial(done.append, "query")))
    blocked[1].let_go.set()
    futures[-1].result(PATIENCE_S)
    futures[-2].result(PATIENCE_S)
    blocked[0].let_go.set()
    scheduler.shutdown()
    assert done[0] == "query"
    assert done[1:] == [f"document {i}" for i in range(100)], "documents keep their order"


def test_a_query_waits_for_no_document_that_runs() -> None:
    scheduler = Scheduler(2)
    blocked = occupy(scheduler, "fresh", 2)
    assert scheduler.submit("query", lambda: "answered").result(PATIENCE_S) == "answered"
    for each in blocked:
        each.let_go.set()
    scheduler.shutdown()


def test_queries_have_all_threads_where_nothing_else_is_to_do() -> None:
    scheduler = Scheduler(3)
    for each in occupy(scheduler, "query", 4):
        each.let_go.set()
    scheduler.shutdown()


def test_errors_come_out_of_the_future_and_the_thread_goes_on() -> None:
    scheduler = Scheduler(1)
    with pytest.raises(ZeroDivisionError):
        scheduler.submit("fresh", lambda: 1 // 0).result(PATIENCE_S)
    assert scheduler.submit("fresh", lambda: "still here").result(PATIENCE_S) == "still here"
    scheduler.shutdown()


def test_what_is_cancelled_while_it_waits_is_not_done() -> None:
    scheduler, done = Scheduler(1), list[str]()
    (blocked,) = occupy(scheduler, "fresh", 1)
    cancelled = scheduler.submit("fresh", partial(done.append, "cancelled"))
    kept = scheduler.submit("fresh", partial(done.append, "kept"))
    assert cancelled.cancel()
    blocked.let_go.set()
    kept.result(PATIENCE_S)
    scheduler.shutdown()
    assert done == ["kept"]


@pytest.mark.parametrize("cancel", [True, False])
def test_shutdown_finishes_what_runs_and_what_waits_unless_told_otherwise(cancel: bool) -> None:
    scheduler, done = Scheduler(1), list[str]()
    blocked = [*occupy(scheduler, "query", 1), *occupy(scheduler, "fresh", 1)]
    lanes: list[Lane] = ["fresh", "query"]
    waiting = [scheduler.submit(lane, partial(done.append, lane)) for lane in lanes]
    ending = threading.Thread(target=partial(scheduler.shutdown, cancel_futures=cancel))
    ending.start()
    if cancel:
        for each in waiting:
            with pytest.raises(CancelledError):
                each.result(PATIENCE_S)
    for work in blocked:
        work.let_go.set()
    ending.join(PATIENCE_S)
    assert sorted(done) == ([] if cancel else ["fresh", "query"])
    with pytest.raises(RuntimeError):
        scheduler.submit("query", lambda: None)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0.001, 0.01), st.floats(0.001, 0.3)), min_size=1, max_size=10), st.floats(0.01, 0.5)
)
def test_documents_get_their_share_of_an_endless_stream_of_queries(
    costs: list[tuple[float, float]], share: float
) -> None:
    fair_share, seconds = FairShare(share), {"query": 0.0, "document": 0.0}
    for i in range(20_000):
        query_s, document_s = costs[i % len(costs)]
        turn = fair_share.choose(first=1, second=1)
        assert turn is not None
        took = query_s if turn == "first" else document_s
        fair_share.record(turn, took, second=1)
        seconds["query" if turn == "first" else "document"] += took
    longest_s, most_earned_s = max(d for _, d in costs), max(q for q, _ in costs) * share / (1 - share)
    owed_s = seconds["query"] * share / (1 - share)
    assert owed_s - most_earned_s - 1e-6 <= seconds["document"] <= owed_s + longest_s + 1e-6


def test_one_document_at_a_time_goes_ahead_of_queries() -> None:
    fair_share = FairShare(DOCUMENTS_SHARE)
    fair_share.record("first", 100.0, second=5)
    assert [fair_share.choose(5, 5) for _ in range(3)] == ["owed", "first", "first"]
    fair_share.record("owed", 1.0, second=4)
    assert fair_share.choose(5, 4) == "owed", "what it cost was less than what was owed"


def test_nothing_is_saved_up_while_no_document_waits() -> None:
    fair_share = FairShare(DOCUMENTS_SHARE)
    fair_share.record("first", 100.0, second=0)
    assert fair_share.choose(1, 1) == "first"
    fair_share.record("first", 100.0, second=1)
    assert fair_share.choose(1, 0) == "first"
    assert fair_share.choose(1, 1) == "first"
    assert fair_share.choose(0, 1) == "second"
    fair_share.record("first", 100.0, second=1)
    fair_share.record("first", 1.0, second=0)
    assert fair_share.choose(1, 1) == "first"
    assert fair_share.choose(0, 0) is None


def test_the_shares_are_small() -> None:
    assert 0 < DOCUMENTS_SHARE < 0.5
    assert BACKFILL_SHARE == 0.25


def test_a_changed_row_behind_a_backfill_is_next() -> None:
    """It waits for the text that runs, and for none of the hundred behind it."""
    done: list[str] = []
    scheduler = Scheduler(1)
    (blocked,) = occupy(scheduler, "backfill", 1)
    waiting = [scheduler.submit("backfill", partial(done.append, "backfill")) for _ in range(100)]
    fresh = scheduler.submit("fresh", partial(done.append, "fresh"))
    blocked.let_go.set()
    fresh.result(PATIENCE_S)
    waiting[-1].result(PATIENCE_S)
    scheduler.shutdown()
    assert done == ["fresh"] + ["backfill"] * 100


def test_on_cores_a_changed_row_waits_for_no_text_of_a_backfill_that_runs() -> None:
    scheduler = Scheduler(2, on_cores=True)
    blocked = occupy(scheduler, "backfill", 2)
    assert scheduler.submit("fresh", lambda: "embedded").result(PATIENCE_S) == "embedded"
    for each in blocked:
        each.let_go.set()
    scheduler.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no nice value of its own")
def test_on_cores_a_backfill_takes_what_the_others_leave() -> None:
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    scheduler = Scheduler(1, on_cores=True)
    lanes: list[Lane] = ["query", "fresh", "backfill"]
    assert [scheduler.submit(lane, nice).result(PATIENCE_S) for lane in lanes] == [nice(), nice(), BACKFILL_NICE]
    scheduler.shutdown()


@pytest.mark.parametrize("on_cores", [True, False])
def test_a_backfill_gets_a_quarter_beside_changes_without_end(on_cores: bool) -> None:
    """The scheduler's own clock: each run takes two seconds of it, whatever its lane, and all wait from the start.

    On cores a backfill's own thread, which may get no core, is kept busy; what it is owed runs on the shared one.
    """
    ticks, done = itertools.count(), list[Lane]()
    scheduler = Scheduler(1, clock=lambda: float(2 * next(ticks)), on_cores=on_cores)
    (blocked,) = occupy(scheduler, "fresh", 1)
    kept_busy = occupy(scheduler, "backfill", 1) if on_cores else []
    lanes: list[Lane] = ["fresh", "backfill"]
    futures = [scheduler.submit(lane, partial(done.append, lane)) for lane in lanes for _ in range(400)]
    blocked.let_go.set()
    futures[399].result(PATIENCE_S)
    for each in kept_busy:
        each.let_go.set()
    scheduler.shutdown()
    until_fresh_ends = done[: len(done) - done[::-1].index("fresh")]
    assert until_fresh_ends.count("fresh") == 400
    assert until_fresh_ends.count("backfill") == pytest.approx(400 / 3, abs=2)


def test_what_is_submitted_while_the_pool_ends_is_cancelled_or_refused() -> None:
    scheduler = Scheduler(1)
    first = occupy(scheduler, "fresh", 1)[0]
    late: list[Future[None]] = []

    def submit_more(_future: Future[None]) -> None:  # between the cancelling of what waits and the end of the threads
        late.append(scheduler.submit("fresh", lambda: None))
        first.let_go.set()

    scheduler.submit("fresh", lambda: None).add_done_callback(submit_more)
    scheduler.shutdown(cancel_futures=True)
    assert late[0].done()

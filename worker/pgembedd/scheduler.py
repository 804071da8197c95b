"""Threads in lanes: queries before changed rows before a backfill, and none of them is starved."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Result = TypeVar("Result")
Lane = Literal["query", "fresh", "backfill"]
Turn = Literal["first", "second", "owed"]
"""The next task of a shared thread; `owed` is one of the second kind that goes ahead of the first."""

Clock = Callable[[], float]

DOCUMENTS_SHARE = 0.1
"""The documents' share of the shared threads' time while queries come without end."""
BACKFILL_SHARE = 0.25
"""The share of a backfill in the documents' time while changes of rows come without end."""
BACKFILL_NICE = 19
"""The nice value of a backfill's own threads: they take what the others leave."""


class FairShare:
    """Shares threads between two kinds of tasks while both wait.

    The first kind goes first, but each second that one takes while the second kind waits earns this its share of a
    second, and one of it may go ahead as soon as anything is owed. Time is counted, not runs: a run of documents may
    take twenty times as long as a query's, or as long, and the share holds either way. Nothing is saved up: the balance
    is zero again when either kind has none waiting.
    """

    def __init__(self, share: float) -> None:
        """`share` of the second kind in the time, between 0 and 1."""
        self._earned_per_s = share / (1 - share)
        self._owed_s = 0.0
        self._paying = False

    def choose(self, first: int, second: int) -> Turn | None:
        """Returns what to take next, given how many of each kind wait; None where none do."""
        if first == 0 or second == 0:
            self._owed_s = 0.0
            return "first" if first else "second" if second else None
        if self._owed_s <= 0 or self._paying:
            return "first"
        self._paying = True  # one at a time: what it costs is not known before it is done
        return "owed"

    def record(self, turn: Turn, seconds: float, *, second: int) -> None:
        """Records the seconds that a shared thread spent on a turn; `second` of the second kind wait now."""
        if turn == "first":
            self._owed_s = self._owed_s + seconds * self._earned_per_s if second else 0.0
        elif turn == "owed":
            self._paying = False
            self._owed_s -= seconds


@dataclass(frozen=True)
class _Task:
    future: Future[Any]
    work: Callable[[], Any]

    def run(self) -> None:
        """Runs it, unless it was cancelled while it waited."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Scheduler:
    """`threads` threads for all lanes, in the order of `Lane`, and one more for queries alone.

    So a query waits for no running document, and queries have all cores where there is nothing else
    to do. Each submission sends one call to the shared threads (a query one to its own thread as well), and a
    called thread takes the best task at that moment: it may find that another thread was quicker.

    `on_cores`, where a task keeps a core busy: a backfill has as many threads of its own, which take what the others
    leave of the cores, so that a changed row does not wait for the end of a running text of a backfill either. The
    shared threads take only what a backfill is owed.
    """

    def __init__(self, threads: int, clock: Clock = time.monotonic, *, on_cores: bool = False) -> None:
        """`clock` gives seconds."""
        self._clock, self._on_cores = clock, on_cores
        self._documents, self._backfills = FairShare(DOCUMENTS_SHARE), FairShare(BACKFILL_SHARE)
        self._lock = threading.Lock()
        self._waiting: dict[Lane, deque[_Task]] = {"query": deque(), "fresh": deque(), "backfill": deque()}
        self._shared = ThreadPoolExecutor(threads, thread_name_prefix="model")
        self._own: dict[Lane, ThreadPoolExecutor] = {"query": ThreadPoolExecutor(1, thread_name_prefix="queries")}
        if on_cores:
            self._own["backfill"] = ThreadPoolExecutor(threads, "backfill", initializer=_yield_cores)

    def submit(self, lane: Lane, work: Callable[[], Result]) -> Future[Result]:
        """Hands `work` to the threads. RuntimeError after shutdown()."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting[lane].append(_Task(future, work))
        try:
            if lane in self._own:
                self._own[lane].submit(self._take_of, lane)
            if lane != "backfill" or not self._on_cores:
                self._shared.submit(self._take_any)
        except RuntimeError:
            future.cancel()
            raise
        return future

    def shutdown(self, *, cancel_futures: bool = False) -> None:
        """Finishes running tasks, and waiting ones unless they are to be cancelled; then ends the threads."""
        if cancel_futures:
            self._cancel()
        for threads in (*self._own.values(), self._shared):
            threads.shutdown(wait=True, cancel_futures=cancel_futures)
        if cancel_futures:
            self._cancel()  # what was submitted meanwhile, and whose calls were cancelled

    def _cancel(self) -> None:
        with self._lock:
            left = [task for lane in self._waiting.values() for task in lane]
            for lane in self._waiting.values():
                lane.clear()
        for task in left:
            if task.future.cancel():
                task.future.set_running_or_notify_cancel()  # else wait() would not see it

    def _take_of(self, lane: Lane) -> None:
        with self._lock:
            task = self._waiting[lane].popleft() if self._waiting[lane] else None
        if task:
            task.run()

    def _counts(self) -> tuple[int, int, int]:
        """Returns how many of each lane wait for the shared threads."""
        queries, fresh, backfill = map(len, self._waiting.values())
        return queries, fresh, backfill if fresh or not self._on_cores else 0

    def _take_any(self) -> None:
        while self._take_best() == "owed":
            pass  # what it was called for may wait still

    def _take_best(self) -> Turn | None:
        """Runs the best task; returns which turn it was among the documents, None for a query and for nothing."""
        with self._lock:
            queries, fresh, backfill = self._counts()
            turn = self._documents.choose(queries, fresh + backfill)
            document = self._backfills.choose(fresh, backfill) if turn in ("second", "owed") else None
            lane: Lane = "query" if document is None else "fresh" if document == "first" else "backfill"
            task = self._waiting[lane].popleft() if turn else None
        if turn and task:
            started = self._clock()
            task.run()
            took_s = self._clock() - started
            with self._lock:
                _, fresh, backfill = self._counts()
                self._documents.record(turn, took_s, second=fresh + backfill)
                if document is not None:
                    self._backfills.record(document, took_s, second=backfill)
        return document


def _yield_cores() -> None:
    """Has this thread yield the cores, on Linux: elsewhere a thread has no nice value of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKFILL_NICE)

"""The worker's pure parts: lanes, isolation, grouping, what is in flight, and what an error decides."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from math import ceil, log2

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from pgembedd.database.connect import connect
from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import TRANSIENT, is_connection_error
from pgembedd.database.job_errors import translate_errors
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Job, ServedPipeline, by_due
from pgembedd.database.sessions import Sessions
from pgembedd.errors import REFUSALS, ConfigurationError, DatabaseUnavailableError, Deferred, RowFailure
from pgembedd.loop.bisect import bisect
from pgembedd.loop.in_flight import InFlight


def job(msg_id: int, pipeline: int = 1, read_ct: int = 1) -> Job:
    """A job of a pipeline."""
    return Job("queue", msg_id, read_ct, "1", suspect=False, pipeline=ServedPipeline(pipeline, "p", "m", None, 3))


@given(st.lists(st.booleans(), max_size=64))
def test_bad_items_are_found_alone_and_good_ones_kept(good: list[bool]) -> None:
    items = list(range(len(good)))
    calls = 0

    def attempt(part: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if bad := [item for item in part if not good[item]]:
            raise RowFailure("bad", str(bad))
        return [item * 10 for item in part]

    results = bisect(items, attempt)
    assert [item for item, _ in results] == items
    for item, value in results:
        if good[item]:
            assert value == item * 10
        else:
            assert isinstance(value, RowFailure)
            assert value.detail == f"[{item}]", "the failure is of this item alone"
    bad = good.count(False)
    assert calls <= (2 * bad * ceil(log2(len(items))) + 1 if items else 0)


def test_other_errors_are_the_callers() -> None:
    def attempt(part: Sequence[int]) -> list[int]:
        raise Deferred("locked", 1.0)

    with pytest.raises(Deferred):
        bisect([1, 2], attempt)


@given(st.lists(st.integers(1, 4), max_size=40))
def test_jobs_are_grouped_by_pipeline_first_come_first(pipelines: list[int]) -> None:
    jobs = [job(n, pipeline) for n, pipeline in enumerate(pipelines)]
    groups = by_due(iter(jobs))
    assert Counter(one for group in groups for one in group) == Counter(jobs)
    assert len(groups) == len(set(pipelines))
    assert [group[0].msg_id for group in groups] == sorted(group[0].msg_id for group in groups)
    for group in groups:
        assert len({one.pipeline.id for one in group}) == 1
        assert [one.msg_id for one in group] == sorted(one.msg_id for one in group)


def test_two_claims_of_a_message_are_held_apart() -> None:
    held = InFlight()
    held.add([job(1, read_ct=1), job(2)])
    held.add([job(1, read_ct=2)])
    held.remove([job(1, read_ct=1)])
    assert held.held([job(1, read_ct=1), job(1, read_ct=2)]) == [job(1, read_ct=2)]
    assert len(held) == 2
    assert held.oldest_s() > 0
    held.remove(held.jobs())
    assert held.oldest_s() == 0


def test_waiting_for_what_is_in_flight_ends_with_it() -> None:
    held = InFlight()
    held.add([job(1)])
    assert not held.wait_for(lambda keys: not keys, 0.01)
    threading.Timer(0.01, lambda: held.remove([job(1)])).start()
    assert held.wait_for(lambda keys: not keys, 30)


def never() -> bool:
    return False


def test_a_suspect_starts_after_what_is_in_progress_and_before_anything_else() -> None:
    """Also one of another thread: they take turns, and neither waits for the other's that has not started."""
    held = InFlight()
    held.add([job(1), job(2), job(3), job(4)])
    assert held.start([job(1)], never)
    order: list[str] = []

    def alone(number: int) -> None:
        assert held.start_alone([job(number)], never)
        order.append(f"{number} begins")
        assert held._started == set()
        order.append(f"{number} ends")
        held.remove([job(number)])

    def together() -> None:
        assert held.start([job(4)], never)
        order.append("4 begins")

    threads = [threading.Thread(target=alone, args=[number], daemon=True) for number in (2, 3)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        assert held.wait_for(lambda _keys, number=number: len(held._suspects) == number, 30)  # type: ignore[misc]
    threads.append(threading.Thread(target=together, daemon=True))
    threads[-1].start()
    assert not held.wait_for_room(set(), 0, 0.01)
    held.remove([job(1)])
    for thread in threads:
        thread.join(30)
    assert order == ["2 begins", "2 ends", "3 begins", "3 ends", "4 begins"]
    assert held.wait_for_room(set(), 0, 30)


def test_waiting_for_a_turn_ends_when_the_worker_stops_or_the_job_is_gone() -> None:
    held = InFlight()
    held.add([job(1), job(2)])
    assert held.start([job(1)], never)
    assert not held.start_alone([job(2)], lambda: True)
    assert not held.start([job(1)], lambda: True)
    held.remove([job(2)])
    assert held.start_alone([job(2)], never), "its lease was lost, which its mark will tell"
    assert held.start([job(1)], never)


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("away"),
        errors.AdminShutdown(),
        errors.CrashShutdown(),
        errors.CannotConnectNow(),
        errors.IdleSessionTimeout(),
        errors.ConnectionFailure(),
        errors.ProtocolViolation(),
        errors.TooManyConnections(),
        errors.ReadOnlySqlTransaction(),
        psycopg.OperationalError("server closed the connection unexpectedly"),
        psycopg.InterfaceError("the connection is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_connection_errors(error: Exception) -> None:
    assert is_connection_error(error)


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("no"),
        ValueError("no"),
        psycopg.ProgrammingError("a mistake of ours, without SQLSTATE"),
        errors.QueryCanceled(),
        errors.LockNotAvailable(),
        errors.InsufficientPrivilege(),
        errors.CheckViolation(),
        errors.DiskFull(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_are_not_of_the_connection(error: Exception) -> None:
    assert not is_connection_error(error)


class Diagnosed(PipelineRepository):
    """Finds that problem, without a database."""

    def __init__(self, problem: str | None) -> None:
        super().__init__(Connection(Sessions("", "test"), threading.Event()))
        object.__setattr__(self, "problem", problem)

    def diagnose(self, pipeline: ServedPipeline, allowed_s: float | None = None) -> str | None:  # noqa: ARG002
        """The problem."""
        problem: str | None = vars(self)["problem"]
        return problem


@pytest.mark.parametrize(
    ("error", "problem", "decided"),
    [
        (errors.LockNotAvailable("x"), "broken", Deferred),
        (errors.DiskFull("x"), None, Deferred),
        (errors.OutOfMemory("x"), None, Deferred),
        (errors.CheckViolation("x"), None, RowFailure),
        (errors.QueryCanceled("x"), None, RowFailure),
        (errors.UndefinedColumn("x"), "The column is gone.", Deferred),
        (errors.AdminShutdown("x"), "broken", errors.AdminShutdown),
        (ValueError("x"), "broken", ValueError),
    ],
    ids=repr,
)
def test_what_an_error_decides(error: Exception, problem: str | None, decided: type[Exception]) -> None:
    with pytest.raises(decided) as caught, translate_errors("write", Diagnosed(problem), [job(1)]):
        raise error
    if isinstance(caught.value, Deferred) and isinstance(error, errors.UndefinedColumn):
        assert caught.value.why == problem
    if isinstance(caught.value, RowFailure):
        assert caught.value.reason == "write"


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_code_that_refusals_have_is_a_rows_failure_like_any_other(code: str) -> None:
    """A content function may raise it as well."""
    with pytest.raises(RowFailure), translate_errors("content", Diagnosed(None), [job(1)]):
        raise errors.lookup(code)("x")


def test_what_stands_in_the_way_of_our_own_tables_is_tried_again() -> None:
    assert {errors.DeadlockDetected, errors.LockNotAvailable, errors.QueryCanceled, errors.DiskFull} <= set(TRANSIENT)


@pytest.mark.parametrize(
    ("conninfo", "kind", "said"),
    [
        ("postgresql://me@127.0.0.1:1/db", DatabaseUnavailableError, '"db" at 127.0.0.1:1 (as me) cannot be reached'),
        ("postgresql://me@no-such-host.invalid/db", DatabaseUnavailableError, '"db" at no-such-host.invalid'),
        ("host=/nonexistent dbname=db user=me", DatabaseUnavailableError, "No such file or directory"),
        ("nonsense", ConfigurationError, "cannot be read"),
        ("postgresql://me:secret@127.0.0.1:1/db", DatabaseUnavailableError, "Connection refused"),
    ],
)
def test_a_connection_that_fails_says_where_and_why(conninfo: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        connect(conninfo)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)

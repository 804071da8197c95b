"""The one policy of retries: delays that grow within their bounds, and a loop that keeps to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.retry_policy import Failures, RetryPolicy

DELAYS_S = st.floats(0.001, 1e6, allow_nan=False)
FACTORS = st.floats(1, 100, allow_nan=False)


@given(first_s=DELAYS_S, longest_s=DELAYS_S, factor=FACTORS, jitter=st.floats(0, 1), failures=st.integers(-5, 10_000))
def test_a_delay_stays_in_its_bounds(
    first_s: float, longest_s: float, factor: float, jitter: float, failures: int
) -> None:
    expected_s = min(first_s * factor ** min(max(failures - 1, 0), 30), longest_s)
    delay_s = RetryPolicy(first_s, longest_s, factor, jitter).delay_s(failures)
    assert expected_s * (1 - jitter - 1e-9) <= delay_s <= expected_s * (1 + jitter + 1e-9)


@given(first_s=DELAYS_S, longest_s=DELAYS_S, factor=FACTORS)
def test_delays_never_shrink_and_end_at_the_longest(first_s: float, longest_s: float, factor: float) -> None:
    policy = RetryPolicy(first_s, longest_s, factor)
    delays_s = [policy.delay_s(failures) for failures in range(1, 40)]
    assert delays_s == sorted(delays_s)
    assert delays_s[0] == min(first_s, longest_s)
    assert delays_s[-1] <= longest_s


def test_delays_of_failures_at_one_moment_spread() -> None:
    policy = RetryPolicy(2.0, 60.0, jitter=0.25)
    delays_s = [policy.delay_s(1) for _ in range(200)]
    assert len(set(delays_s)) > 150
    assert 1.5 <= min(delays_s) < 1.7 < 2.3 < max(delays_s) <= 2.5


def test_failures_in_succession_are_counted_and_waited_for() -> None:
    assert Failures().may_retry()
    first = RetryPolicy(1000.0, 4000.0).after(Failures())
    second = RetryPolicy(1000.0, 4000.0).after(first)
    assert (first.times, second.times) == (1, 2)
    assert not first.may_retry()
    assert second.retry_at - first.retry_at >= 1000
    assert RetryPolicy(0.0, 0.0).after(first).may_retry()


def test_a_loop_waits_between_its_attempts_and_raises_the_last_error() -> None:
    waited_s: list[float] = []
    raised: list[OSError] = []

    def fail() -> None:
        raised.append(OSError(len(raised)))
        raise raised[-1]

    with pytest.raises(OSError) as caught:
        RetryPolicy(1.0, 3.0, attempts=4).retrying(lambda error: isinstance(error, OSError), sleep=waited_s.append)(
            fail
        )
    assert (waited_s, len(raised)) == ([1.0, 2.0, 3.0], 4)
    assert caught.value is raised[-1]


def test_a_loop_does_not_repeat_what_is_not_transient() -> None:
    calls: list[None] = []

    def fail() -> None:
        calls.append(None)
        raise ValueError

    with pytest.raises(ValueError):
        RetryPolicy(1.0, 3.0).retrying(lambda error: isinstance(error, OSError), sleep=pytest.fail)(fail)
    assert len(calls) == 1

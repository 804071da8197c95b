"""When something that failed is tried again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenacity import Retrying

MOST_STEPS = 30  # of growth: what is beyond is no delay that is ever waited for


@dataclass(frozen=True, slots=True)
class Failures:
    """Some failures in succession; the next attempt is due at `retry_at`, by the monotonic clock."""

    times: int = 0
    retry_at: float = 0.0

    def may_retry(self) -> bool:
        """Tells that the next attempt is due."""
        return time.monotonic() >= self.retry_at


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The delays between attempts: `first_s` seconds, then `factor` times as long each time, at most `longest_s`.

    Each is varied by a random share of up to `jitter`, so that many that failed at once do not come back at once.
    There are at most so many `attempts`, None for no end. `pgembedd_internal._backoff()` is the same in SQL.
    """

    first_s: float
    longest_s: float
    factor: float = 2.0
    jitter: float = 0.0
    attempts: int | None = None

    def delay_s(self, failures: int) -> float:
        """Returns the seconds until the next attempt after so many failures in succession, at least one."""
        steps = min(max(failures, 1) - 1, MOST_STEPS)
        return min(self.first_s * self.factor**steps, self.longest_s) * uniform(1 - self.jitter, 1 + self.jitter)

    def after(self, failures: Failures) -> Failures:
        """Returns them and one more, of this moment."""
        times = failures.times + 1
        return Failures(times, time.monotonic() + self.delay_s(times))

    def retrying(self, is_transient: Callable[[BaseException], bool], **options: Any) -> "Retrying":
        """Returns tenacity's loop, with its `options`, over transient errors; it raises the last one."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_never

        defaults: dict[str, Any] = {
            "retry": retry_if_exception(is_transient),
            "wait": lambda state: self.delay_s(state.attempt_number),
            "stop": stop_never if self.attempts is None else stop_after_attempt(self.attempts),
            "reraise": True,
        }
        return Retrying(**defaults | options)

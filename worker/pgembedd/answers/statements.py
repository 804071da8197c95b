"""A thread for the statements of one connection, which programs with an event loop wait for."""

import asyncio
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any, TypeVar

Result = TypeVar("Result")


class StatementThread:
    """Runs what it is given one after another. A daemon: no silent network keeps the process."""

    def __init__(self, name: str) -> None:
        self._work: Queue[Callable[[], None] | None] = Queue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Returns the result of `work()`. In the order of the calls, also for one whose caller was cancelled."""
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                _tell(loop, done, done.set_exception, error)
            else:
                _tell(loop, done, done.set_result, result)

        self._work.put(run)
        found: Result = await done
        return found

    def close(self) -> None:
        """Ends the thread after what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _tell(
    loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]", tell: Callable[[Any], None], outcome: object
) -> None:
    def unless_cancelled() -> None:
        if not done.done():
            tell(outcome)

    try:
        loop.call_soon_threadsafe(unless_cancelled)
    except RuntimeError:  # the loop is closed: nothing waits for it
        return

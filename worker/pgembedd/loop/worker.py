"""A worker: starts, watches and drains its threads around one model."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.records import Job
from pgembedd.database.sessions import IDLE_S
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.log import get_logger
from pgembedd.loop.parts import Parts
from pgembedd.loop.role import Role
from pgembedd.loop.shutdown import close_with_timeout
from pgembedd.loop.systemd import notify_systemd
from pgembedd.loop.task import SHUTDOWN
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer

# A claim takes seconds. One held for so long hangs: systemd's watchdog may end the process, and the leases expire.
STALLED_S = 600.0
RELEASE_S = 2.0  # to hand jobs back at the end
LAST_S = 1.0  # for the threads to end once no job is left


class Worker:
    """The worker of one process. `run` blocks until `stop` is called or a thread dies."""

    def __init__(
        self,
        conninfo: str,
        settings: Settings,
        models: ModelRegistry,
        role: Role | None = None,
        *,
        observer: Observer = SILENT,
    ) -> None:
        """`models` stay open at the end."""
        self._settings, self._role = settings, role or Role()
        self._failure: BaseException | None = None
        self._parts = Parts(conninfo, settings, models, self._role, observer)
        self._stopping, self._finished = self._parts.stopping, self._parts.finished
        self._in_flight, self._schema = self._parts.in_flight, self._parts.schema
        self._threads = {name: self._thread(name, work) for name, work in self._parts.work.items()}

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # also a panic of Rust
                if self._finished.is_set() or (self._stopping.is_set() and is_connection_error(error)):
                    get_logger().info("thread_stopped", thread=name, error=type(error).__name__)
                    return
                self._failure = self._failure or error
                self.stop()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def stop(self) -> None:
        """Stops claiming; `run` returns once the jobs in flight are finished."""
        self._parts.stop()

    def has_tried(self) -> bool:
        """Tells that it has tried to serve each of its pipelines, and that the database knows which it serves."""
        return self._parts.pinned.has_tried() and self._parts.files.has_tried()

    def health(self) -> str:
        """Returns `ok`, or a sentence that names what hangs."""
        dead = [name for name, thread in self._threads.items() if thread.ident is not None and not thread.is_alive()]
        if dead and not self._stopping.is_set():
            return f"The worker's {dead[0]} thread has died."
        if self._in_flight.oldest_s() >= STALLED_S and not self._schema.stops_jobs():
            return "A claim hangs in the model."
        return "ok"

    def run(self) -> bool:
        """Processes jobs until stopped, then drains; False when unfinished jobs were released.

        After False the model may still be computing, and nothing can stop its threads but the end of the process.
        Raises the error of a thread that died.
        """
        try:
            return self._run()
        finally:
            self._parts.close()

    def _run(self) -> bool:
        for thread in self._threads.values():
            thread.start()
        if self._role.pulls:
            self._parts.pinned.wait_until_ready(lambda: self._stopping.is_set() or self._schema.stops_jobs())
        get_logger().info("worker_started", pid=os.getpid())
        self._role.started.set()
        notify_systemd("READY=1")
        while not self._stopping.wait(1.0):
            self._parts.connections.close(IDLE_S)
            if self.health() == "ok":
                notify_systemd("WATCHDOG=1")
        drained = self._drain()
        if self._failure is not None:
            raise self._failure
        return drained

    def _drain(self) -> bool:
        """Finishes or releases the jobs in flight within the grace period.

        After a failure no job is released: one may have caused it, and only reads without an outcome make one suspect.
        """
        notify_systemd("STOPPING=1")
        self._role.draining.set()
        get_logger().info("draining", in_flight=len(self._in_flight), grace_s=self._settings.grace_s)
        deadline = time.monotonic() + self._settings.grace_s
        for name, thread in self._threads.items():
            if name.startswith("fetch"):
                thread.join(max(0.0, deadline - time.monotonic()))
        drained = self._failure is None and self._in_flight.wait_for(
            lambda held: not held, max(0.0, deadline - time.monotonic())
        )
        self._parts.finish()
        if not drained and self._failure is None and (left := self._in_flight.jobs()):
            # A silent network may keep the statement waiting; the jobs come back when their leases expire.
            released = close_with_timeout(partial(self._release, left), within_s=RELEASE_S)
            if not released:
                get_logger().warning("not_handed_back", jobs=len(left), error="TimeoutError")
        deadline = time.monotonic() + LAST_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        get_logger().info("worker_stopped", drained=drained)
        return drained

    def _release(self, left: Sequence[Job]) -> None:
        try:
            self._parts.outcomes.end(left, SHUTDOWN)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)

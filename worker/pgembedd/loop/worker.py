"""A worker: starts, watches and drains up to eight threads around one model."""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Queue

import psycopg

from pgembedd.answers.answerer import Answerer
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import BACKFILL, FRESH, LANES, Job
from pgembedd.database.schema_check import SchemaWait
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.log import get_logger
from pgembedd.loop.claimer import SHUTDOWN, Claimer
from pgembedd.loop.connections import WorkerConnections
from pgembedd.loop.embed_requests import EmbedRequests
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.index_builder import run_index_builder
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.lane import EmbeddingBatch, Lane
from pgembedd.loop.lease_heartbeat import extend_leases
from pgembedd.loop.maintenance import run_maintenance
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.role import Role
from pgembedd.loop.shutdown import close_with_timeout
from pgembedd.loop.storer import Storer
from pgembedd.loop.systemd import notify_systemd
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer

# A claim takes seconds. One held for so long hangs: systemd's watchdog may end the process, and the leases expire.
STALLED_S = 600.0
RELEASE_S = 2.0  # to hand jobs back at the end
LAST_S = 1.0  # for the threads to end once no job is left
UPKEEP_TIMES = 10  # as long as a batch may take the upkeep, which reads whole tables


class Worker:
    """The worker of one process. `run` blocks until `stop` is called or a thread dies."""

    def __init__(
        self,
        conninfo: str,
        settings: Settings,
        models: ModelRegistry,
        role: Role | None = None,
        *,
        own_models: bool = True,
        observer: Observer = SILENT,
    ) -> None:
        """`own_models` closes `models` at the end."""
        self._settings, self._observer = settings, observer
        self._models, self._own_models, self._role = models, own_models, role or Role()
        self._stopping = threading.Event()  # claim no more
        self._finished = threading.Event()  # no job is in flight, or the grace period is over
        self._failure: BaseException | None = None
        self._schema = SchemaWait(self._role.check)
        self._in_flight = InFlight() if self._role.pushed is None else self._role.pushed.in_flight
        self._batches: list[Queue[EmbeddingBatch | None]] = []
        self._connections = WorkerConnections(conninfo, settings, self._schema, observer)
        self._connection = self._connections.connection
        self._pinned = PinnedModels(models, self._role.pipelines, pulls=self._role.pulls)
        self._outcomes = JobOutcomes(self._lane_of(FRESH), self._connection("release", self._finished))
        self._threads = {name: self._thread(name, work) for name, work in self._work().items()}

    def _work(self) -> dict[str, Callable[[], None]]:
        """Returns what each thread does."""
        settings, role, stopping = self._settings, self._role, self._stopping
        leases = JobRepository(self._connection("heartbeat", self._finished))
        work: dict[str, Callable[[], None]] = {
            "heartbeat": partial(
                extend_leases,
                settings,
                leases,
                self._in_flight,
                self._finished,
                self._observer,
                self._schema,
                partial(self._beat, leases),
            )
        }
        work |= self._lane(FRESH)
        if role.pulls:
            work |= self._lane(BACKFILL)
            upkeep = PipelineRepository(self._connection("upkeep", stopping, limit_times=UPKEEP_TIMES))
            work["upkeep"] = lambda: run_maintenance(settings, upkeep, stopping)
            if role.language is not None and role.language.language_host:
                answerer = Answerer(settings, role.language, self._connection, stopping, self._finished)
                work["fetch answers"] = answerer.run
        if settings.wait == "listen":  # what a pooler does not keep: LISTEN, and the lock and settings of a build
            requests = self._connection("embed requests", stopping)
            work["embed requests"] = EmbedRequests(requests, self._models, stopping, role.served).run
            if role.pulls:
                builds = self._connection("index", stopping)
                work["index"] = lambda: run_index_builder(settings, builds, stopping)
        return work

    def _beat(self, leases: JobRepository) -> None:
        """Tells the database that this process lives, unless it waits by polling: then it has no session of its own."""
        if self._settings.wait == "listen":
            place = f"process {os.getpid()} on {socket.gethostname()}"
            busy_with = {job.pipeline.id for job in self._in_flight.jobs()} | self._pinned.loading()
            leases.heartbeat(place, self._connections.processes(), sorted(busy_with))

    def _lane(self, queue: str) -> dict[str, Callable[[], None]]:
        """Returns the two threads of a lane. They share nothing but the model with those of the other lane.

        Pushed jobs of both queues go through the fresh lane's.
        """
        role, suffix = self._role, "" if queue == FRESH else f" {LANES[queue]}"
        lane = self._lane_of(queue)
        self._batches.append(lane.batches)
        claims = self._connection(("claim" if role.pulls else "push") + suffix, self._stopping)
        stores = self._connection("store" + suffix, self._finished)
        claimer, storer = Claimer(lane, claims, self._stopping.is_set), Storer(lane, stores)
        return {"fetch" + suffix: claimer.run, "deliver" + suffix: storer.run}

    def _lane_of(self, queue: str) -> Lane:
        share = FairShare(self._settings.claim_size)
        return Lane(queue, self._settings, self._role, self._pinned, self._in_flight, self._observer, share)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                if self._finished.is_set() or (self._stopping.is_set() and is_connection_error(error)):
                    get_logger().info("thread_stopped", thread=name, error=type(error).__name__)
                    return
                self._failure = self._failure or error
                self.stop()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def stop(self) -> None:
        """Stops claiming; `run` returns once the jobs in flight are finished."""
        self._stopping.set()

    def health(self) -> str:
        """Returns `ok`, or a sentence that names what hangs."""
        # The index thread ends at once where the role may not build indexes, as the role of a worker usually may not.
        needed = {name: thread for name, thread in self._threads.items() if name != "index"}
        dead = [name for name, thread in needed.items() if thread.ident is not None and not thread.is_alive()]
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
            self._connections.close()

    def _run(self) -> bool:
        for thread in self._threads.values():
            thread.start()
        if self._role.pulls:
            self._pinned.wait_until_ready(lambda: self._stopping.is_set() or self._schema.stops_jobs())
        get_logger().info("worker_started", pid=os.getpid())
        self._role.started.set()
        notify_systemd("READY=1")
        while not self._stopping.wait(1.0):
            self._connections.close_idle()
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
        self._finished.set()
        if not drained and self._failure is None and (left := self._in_flight.jobs()):
            # A silent network may keep the statement waiting; the jobs come back when their leases expire.
            released = close_with_timeout(partial(self._release, left), within_s=RELEASE_S)
            if not released:
                get_logger().warning("not_handed_back", jobs=len(left), error="TimeoutError")
        for batches in self._batches:
            batches.put(None)
        deadline = time.monotonic() + LAST_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if drained and self._own_models:
            self._models.close()  # waits for what is in the model
        get_logger().info("worker_stopped", drained=drained)
        return drained

    def _release(self, left: Sequence[Job]) -> None:
        try:
            self._outcomes.end(left, SHUTDOWN)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)

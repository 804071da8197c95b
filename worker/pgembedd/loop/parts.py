"""The parts of a worker, and what connects them: its threads, connections, wakers and what they share."""

import os
import secrets
import socket
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from pgembedd.answers.answerer import Answerer
from pgembedd.database.embed_requests import CHANNEL, EmbedRequestRepository
from pgembedd.database.jobs import JobRepository
from pgembedd.database.listener import Listener, Waker
from pgembedd.database.listings import ListingRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import BACKFILL, FRESH, LANES
from pgembedd.database.schema_check import SchemaWait
from pgembedd.loop.claimer import Claimer
from pgembedd.loop.connections import EMBED, WorkerConnections
from pgembedd.loop.embed_requests import EmbedRequests
from pgembedd.loop.embedding import Embedding
from pgembedd.loop.fair_share import BACKFILL_CLAIM_S, CLAIM_S, FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.index_builder import BuildLimits, IndexBuilder
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.lane import Lane
from pgembedd.loop.lane_watch import Watch
from pgembedd.loop.lease_heartbeat import extend_leases
from pgembedd.loop.listing import run_listings
from pgembedd.loop.maintenance import run_maintenance
from pgembedd.loop.parsing import FileParsers, Parsing
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.role import Role
from pgembedd.loop.served_pipelines import LOOK_EVERY_S
from pgembedd.loop.storer import Storer
from pgembedd.loop.task import Batch, Task
from pgembedd.model.registry import ModelRegistry
from pgembedd.model.vector_cache import VectorCache
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import Observer

LEAST_NUMBER = 1 << 30  # of a worker: no process id is as large
SETTLED_LOOK_S = 30.0  # between two looks at the models, where a NOTIFY comes with a reason
UPKEEP_TIMES = 10  # as long as a batch may take the upkeep, which reads whole tables


class Parts:
    """All that a worker consists of. `work` is what each of its threads does."""

    def __init__(
        self, conninfo: str, settings: Settings, models: ModelRegistry, role: Role, observer: Observer
    ) -> None:
        self._settings, self._models, self._role, self._observer = settings, models, role, observer
        self.stopping = threading.Event()  # claim no more
        self.finished = threading.Event()  # no job is in flight, or the grace period is over
        self.schema = SchemaWait(role.check)
        self.in_flight = InFlight() if role.pushed is None else role.pushed.in_flight
        self.batches: list[Queue[Batch[Any] | None]] = []
        self._pooled = settings.wait == "poll"
        self._beats = Waker(self.finished)
        self._listener = role.listener or Listener(conninfo, pooled=self._pooled, on_change=self._note_session)
        self._listens = self._listener.hears
        self.connections = WorkerConnections(conninfo, settings, self.schema, self._note_session)
        self._connection = self.connections.connection
        self._number = LEAST_NUMBER + secrets.randbelow(LEAST_NUMBER)
        self._wakers: list[Waker] = []
        self._builds = self._waker()
        look_s = SETTLED_LOOK_S if self._listens else LOOK_EVERY_S
        self.pinned = PinnedModels(models, role.pipelines, pulls=role.pulls, settled_look_s=look_s, worker=self._number)
        self.files = FileParsers(settings, role.pipelines, settled_look_s=look_s, worker=self._number)
        self._cache = role.cache or VectorCache(settings.vector_cache_mb * 1_000_000, observer.recalled)
        self._embedding = Embedding(self.pinned, self._cache)
        self.outcomes = JobOutcomes(self._lane_of(FRESH, self._embedding), self._connection("release", self.finished))
        self.work: dict[str, Callable[[], None]] = {"heartbeat": self._keep_leases} | self._lanes() | self._services()

    def stop(self) -> None:
        """Has all that claims end, and tells the database at once."""
        self.stopping.set()
        for waker in (*self._wakers, self._beats):
            waker.wake()

    def finish(self) -> None:
        """Has all threads end."""
        self.finished.set()
        self.files.close()
        self._beats.wake()
        for batches in self.batches:
            batches.put(None)

    def close(self) -> None:
        """Closes the sessions that are not in use."""
        if self._role.listener is None:
            self._listener.close()
        self.connections.close()

    def _note_session(self, purpose: str, *, up: bool) -> None:
        """Has a new session told to the database at once: where all others are lost, the worker is known by it."""
        self._observer.connection(purpose, up=up)
        if up:
            self._beats.wake()

    def _waker(self, channel: str = "") -> Waker:
        """Makes what ends the waits of a thread that works until `stopping`, as each NOTIFY on a channel does."""
        waker = Waker(self.stopping)
        self._wakers.append(waker)
        if channel:
            self._listener.subscribe(channel, waker.wake)
        return waker

    def _services(self) -> dict[str, Callable[[], None]]:
        """Returns what the threads do that work no jobs."""
        settings, stopping, tasks = self._settings, self.stopping, self._tasks()
        language, work = self._role.language, dict[str, Callable[[], None]]()
        if self._role.pulls:
            upkeep = PipelineRepository(self._connection("upkeep", stopping, limit_times=UPKEEP_TIMES))
            work["upkeep"] = lambda: run_maintenance(settings, upkeep, stopping)
            if settings.uris:
                listings = ListingRepository(self._connection("list objects", stopping, limit_times=UPKEEP_TIMES))
                work["list objects"] = lambda: run_listings(settings, listings, stopping)
            if language is not None and language.language_host:
                asked = self._waker("pgembedd_questions")
                answerer = Answerer(settings, language, self._connection, asked, stopping, self.finished)
                work["fetch answers"] = answerer.run
        if "embed" in tasks:
            connection = self._connection(EMBED, stopping)
            requests = EmbedRequestRepository(connection, self._number, keeps_session=not self._pooled)
            asked = self._waker(CHANNEL)
            served = self._role.served
            work["embed requests"] = EmbedRequests(requests, self._models, stopping, asked, served, self._cache).run
        if "index" in tasks:
            limits = BuildLimits(settings.index_memory_mb, settings.index_workers)
            work["index"] = IndexBuilder(self._connection("index", stopping), limits, stopping, self._builds).run
        return work

    def _tasks(self) -> list[str]:
        """Returns the tasks of this worker, of those that sql/40_jobs/heartbeat.sql names."""
        role, keeps = self._role, not self._pooled  # a pooler keeps neither the settings of a build nor LISTEN
        does = {
            "claim": role.pulls,
            "push": role.pushed is not None and role.pushed.asked,
            "embed": self._listens,
            "index": keeps and role.pulls and self._settings.index_memory_mb > 0,
        }
        return [task for task, done in does.items() if done]

    def _keep_leases(self) -> None:
        leases = JobRepository(self._connection("heartbeat", self.finished))

        def beat() -> None:
            """Tells the database that this process lives, and what it does."""
            sessions = self.connections.processes() + self._listener.sessions.processes()
            place = f"process {os.getpid()} on {socket.gethostname()}"
            tasks = [] if self.stopping.is_set() or self.schema.stops_jobs() else self._tasks()
            busy_with = {job.pipeline.id for job in self.in_flight.jobs()} | self.pinned.loading() if tasks else set()
            known = None if self._pooled else sessions
            if leases.heartbeat(self._number, place, known, tasks, sorted(busy_with)):
                self._builds.wake()

        def wait(timeout_s: float) -> bool:
            self._beats.wait(timeout_s)
            return self.finished.is_set()

        extend_leases(self._settings, leases, self.in_flight, wait, self._observer, self.schema, beat)

    def _lanes(self) -> dict[str, Callable[[], None]]:
        """Returns the threads of the lanes; only the fresh one of a worker that pulls no jobs."""
        pulls, pushed = self._role.pulls, self._role.pushed
        if pulls:
            self._listener.subscribe("pgembedd", self._look_at_models)
        wakers = {queue: self._waker("pgembedd" if pulls else "") for queue in (FRESH, BACKFILL)}
        if pushed is not None:
            pushed.wake = wakers[FRESH].wake
        watch = Watch(wakers[BACKFILL])
        fresh = self._lane(FRESH, wakers[FRESH], watch)
        if not pulls:
            return fresh
        lanes = fresh | self._lane(BACKFILL, wakers[BACKFILL], watch)
        for queue in (FRESH, BACKFILL):
            waker = self._waker("pgembedd")
            lanes |= self._lane(queue, waker, Watch(waker), Parsing(self.files))
        return lanes

    def _look_at_models(self, payload: str | None) -> None:
        if payload in (None, "models"):
            self.pinned.look_soon()
            self.files.look_soon()

    def _lane(
        self, queue: str, waker: Waker, watch: Watch, task: Task[Any, Any] | None = None
    ) -> dict[str, Callable[[], None]]:
        """Returns the two threads of a lane. They share the model with those of the other lane, which they let sleep.

        Pushed jobs of both queues go through the fresh lane's. Another `task` has lanes of its own: no text waits for a
        file.
        """
        role, lane = self._role, self._lane_of(queue, task or self._embedding)
        suffix = ("" if lane.embeds else f" {lane.task.name}") + ("" if queue == FRESH else f" {LANES[queue]}")
        self.batches.append(lane.batches)
        claims = self._connection(("claim" if role.pulls else "push") + suffix, self.stopping)
        stores = self._connection("store" + suffix, self.finished)
        claimer = Claimer(lane, claims, self.stopping.is_set, waker, watch)
        return {"fetch" + suffix: claimer.run, "deliver" + suffix: Storer(lane, stores).run}

    def _lane_of(self, queue: str, task: Task[Any, Any]) -> Lane:
        claim_s = BACKFILL_CLAIM_S if queue == BACKFILL and task is self._embedding else CLAIM_S  # files take memory
        share = FairShare(self._settings.claim_size, claim_s=claim_s)
        return Lane(
            queue, self._settings, self._role, task, self.in_flight, self._observer, share, listens=self._listens
        )

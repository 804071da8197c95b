"""The pipelines that a worker can serve: looks at those that run, prepares for them, and notes what it cannot serve."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import ServedPipeline
from pgembedd.errors import Deferred, ModelError, ModelNotConfiguredError
from pgembedd.log import get_logger
from pgembedd.retry_policy import Failures, RetryPolicy

LOOK_EVERY_S = 2.0  # a worker that can serve a pipeline has three seconds to take another one's note back
LOADING = RetryPolicy(0.05, LOOK_EVERY_S)  # from look to look, while models are being loaded
NOTES = RetryPolicy(4.0, 60.0)  # a note about a pipeline that cannot be served is repeated
START_S = 30.0  # a worker whose models take longer has started as well
DEFERRED_S = 30.0  # until the jobs that were claimed before it was known are due again


class ServedPipelines(ABC):
    """Knows which pipelines of one task this worker can serve.

    Several threads call `look`; a look is made by one of them at a time.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        *,
        pulls: bool = True,
        settled_look_s: float = LOOK_EVERY_S,
        worker: int | None = None,
    ) -> None:
        """`names` restricts it to these pipelines, not `pulls` to those that were asked for.

        A look follows after `settled_look_s` where all can be served, or `look_soon`. `worker` is the number of this
        worker.
        """
        self._settled_look_s, self._worker = settled_look_s, worker
        self._names, self._pulls = names, pulls
        self._served: set[int] = set()
        self._awaited: set[int] = set()  # what they need is being loaded
        self._noted: set[int] = set()  # can be served, and had a note at the last look that they cannot
        self._refused: dict[int, Failures] = {}  # with the times that this was noted in the database
        self._look_at, self._loads = 0.0, 0
        self._wanted = self._looked = 0  # looks that were asked for, and those of them that have been made
        self._ready = threading.Event()
        self._looking = threading.Lock()
        self.gained = 0  # looks after which more could be served than before

    @abstractmethod
    def _running(self, pipelines: PipelineRepository) -> list[tuple[ServedPipeline, bool]]:
        """Returns the running pipelines of the task, each with whether a worker noted that it cannot serve it."""

    @abstractmethod
    def _accept_loaded(self, pipeline: ServedPipeline, pipelines: PipelineRepository) -> bool:
        """Serves the pipeline; False while what it needs is being loaded. ModelError where it cannot be served."""

    def wait_until_ready(self, ended: Callable[[], bool]) -> None:
        """Waits until a pipeline can be served or every one was tried, or `ended()`, at most for half a minute."""
        deadline = time.monotonic() + START_S
        while not self._ready.wait(0.1) and not ended() and time.monotonic() < deadline:
            pass

    def serves(self, pipeline_id: int) -> bool:
        """Tells whether a pipeline could be served at the last look."""
        return pipeline_id in self._served

    def serves_any(self) -> bool:
        """Tells whether any pipeline could be served at the last look."""
        return bool(self._served)

    def unserved(self) -> list[int]:
        """Returns the pipelines of which no job is to be claimed."""
        return [*self._awaited, *self._refused]

    def loading(self) -> set[int]:
        """Returns the pipelines for which something is being loaded."""
        return self._awaited.copy()

    def has_tried(self) -> bool:
        """Tells that it has tried to serve each pipeline, and has found each that it serves without a note."""
        return self._ready.is_set() and not (self._awaited or self._noted)

    def look(self, pipelines: PipelineRepository, *, now: bool = False) -> None:
        """Has what is missing loaded, and finds out what can be served.

        Does nothing until the next look is due, unless it is asked for `now`. Never waits for a model.
        """
        with self._looking:
            began = time.monotonic()
            if not (self._pulls or self._served or self._refused):
                self._look_at = began + LOOK_EVERY_S
            elif now or began >= self._look_at or self._looked != self._wanted:
                wanted = self._wanted  # one that is asked for during the look is another one
                self._look(pipelines, began, now=now)
                self._looked = wanted

    def look_soon(self) -> None:
        """Makes another look due, although one may be in progress. For one thread, the listener's; it never waits."""
        self._wanted += 1

    def look_in_s(self) -> float:
        """Returns the seconds until the next look is due; a moment where it is due already."""
        left_s = self._look_at - time.monotonic() if self._looked == self._wanted else 0.0
        return max(left_s, LOADING.first_s)

    def _look(self, pipelines: PipelineRepository, began: float, *, now: bool) -> None:
        known, loading, disputed = self._served.copy(), set[int](), set[int]()
        running = [(one, noted) for one, noted in self._running(pipelines) if self._concerns(one)]
        for pipeline, noted in running:
            served = self._try(pipeline, pipelines, noted=noted)
            if served is None:
                loading.add(pipeline.id)
            elif served and noted:  # the note stands where another transaction holds the pipeline: the next look tells
                disputed.add(pipeline.id)
        ids = {pipeline.id for pipeline, _ in running}  # others were dropped, paused or stopped
        self._served &= ids
        for pipeline_id in self._refused.keys() - ids:
            self._refused.pop(pipeline_id, None)
        self._awaited, self._noted = loading, disputed
        unsettled = loading | disputed
        self._loads = self._loads + 1 if unsettled and not now else 0
        settled_s = LOOK_EVERY_S if self._refused else self._settled_look_s
        self._look_at = began + (LOADING.delay_s(self._loads) if unsettled else settled_s)
        if self._served or not loading:
            self._ready.set()
        self.gained += not self._served <= known

    def _concerns(self, pipeline: ServedPipeline) -> bool:
        if self._pulls:
            return not self._names or pipeline.name in self._names
        return pipeline.id in self._served or pipeline.id in self._refused

    def _try(self, pipeline: ServedPipeline, pipelines: PipelineRepository, *, noted: bool) -> bool | None:
        """Returns whether the pipeline can be served; None while what it needs is being loaded."""
        try:
            if not self._accept_loaded(pipeline, pipelines):
                if noted:
                    pipelines.note_served(pipeline, loaded=False, worker=self._worker)
                return None
        except ModelError as error:
            self._refuse(pipeline, error, pipelines)
            return False
        except Deferred as stopped:
            get_logger().error("pipeline_stopped", pipeline=pipeline.name, reason=stopped.why)
            return False
        if noted:
            pipelines.note_served(pipeline, worker=self._worker)
        return True

    def _accept(self, pipeline: ServedPipeline) -> None:
        """Serves the pipeline from now on."""
        self._served.add(pipeline.id)
        if self._refused.pop(pipeline.id, None) is not None:
            get_logger().info("model_served", pipeline=pipeline.name, model=pipeline.model)

    def _refuse(self, pipeline: ServedPipeline, error: ModelError, pipelines: PipelineRepository) -> Deferred:
        """Logs once, and repeats the note in the database from time to time; returns what its jobs are told."""
        self._served.discard(pipeline.id)
        if pipeline.id not in self._refused:
            get_logger().error("model_refused", pipeline=pipeline.name, model=pipeline.model, error=str(error))
        noted = self._refused.setdefault(pipeline.id, Failures())
        if noted.may_retry():
            self._refused[pipeline.id] = NOTES.after(noted)
            tried = not isinstance(error, ModelNotConfiguredError)
            pipelines.note_unserved(pipeline, str(error), tried=tried, worker=self._worker)
        return Deferred(str(error), DEFERRED_S)

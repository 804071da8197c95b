"""`pgembedd run --on ray`: Ray places the workers on the nodes of a cluster, and starts them again when they end.

Each is an actor: a process whose only task runs a worker until it is told to stop. Postgres remains the queue, so
neither the actors nor the process that placed them hold anything that another could not do again.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgembedd.cli.process import check_database, run_process, warn_of_unknown_settings
from pgembedd.cli.until_idle import LOOK_EVERY_S, is_idle, stop_when_idle
from pgembedd.errors import ConfigurationError, PgembeddError, SchemaError
from pgembedd.log import configure_logging, get_logger
from pgembedd.loop.shutdown import stop_on_signals
from pgembedd.settings import LanguageSettings, Settings

if TYPE_CHECKING:
    from types import ModuleType

    from pgembedd.loop.worker import Worker

REACH_S = 10.0
END_S = 10.0  # for the last statements and the end of the model, after the grace


@dataclass(frozen=True)
class Placement:
    """The workers that Ray places."""

    workers: int
    address: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Work:
    """The argument of a worker's task. Not its environment or its making, as Ray shows the one and keeps the other.

    `until_idle` has it end once nothing is due or leased.
    """

    conninfo: str
    settings: Settings
    pipelines: Sequence[str]
    language: LanguageSettings
    until_idle: bool


class Actor(Protocol):
    """The handle of a RayWorker."""

    run: Any
    stop: Any


class RayWorker:
    """A worker in a process of Ray's."""

    def __init__(self) -> None:
        self._lock, self._stopped = threading.Lock(), False
        self._stop: Callable[[], None] | None = None

    def run(self, work: Work) -> bool:
        """Runs a worker until `stop`; returns False if unfinished jobs were released.

        What an operator has to correct is raised. After another error the process ends, and Ray starts the next.
        """

        def stops(worker: "Worker") -> None:
            self._stops(worker.stop)
            if work.until_idle:
                stop_when_idle(worker, work.conninfo, work.pipelines)

        try:
            return run_process(
                work.conninfo, work.settings, pipelines=work.pipelines, language=work.language, stops=stops
            )
        except (ConfigurationError, SchemaError):
            raise
        except Exception as error:
            get_logger().error("worker_failed", error=type(error).__name__)
            os._exit(1)

    def _stops(self, stop: Callable[[], None]) -> None:
        with self._lock:
            self._stop = stop
        if self._stopped:
            stop()

    def stop(self) -> None:
        """Drains the worker, now or as soon as it has started."""
        with self._lock:
            self._stopped = True
        if self._stop is not None:
            self._stop()


def run_on_ray(work: Work, placement: Placement) -> bool:
    """Runs workers in a Ray cluster until a signal or an idle queue; returns False if one did not end in time."""
    configure_logging(work.settings.log_format, work.settings.log_level)
    warn_of_unknown_settings()
    ray = _imported()
    check_database(work.conninfo, work.pipelines)
    if work.until_idle and is_idle(work.conninfo, work.pipelines, tell=True, untried=set()):
        return True
    if placement.gpus:
        work = replace(work, settings=replace(work.settings, device="cuda"))
    elif not work.settings.threads:
        work = replace(work, settings=replace(work.settings, threads=max(1, int(placement.cpus))))
    work = replace(work, conninfo=_for_other_machines(work.conninfo))
    _connect(ray, placement.address)
    stopping = threading.Event()
    stop_on_signals(stopping.set)  # after Ray has set its own
    try:
        return _run(ray, work, placement, stopping)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise PgembeddError(f"Ray has ended the workers: {str(error).splitlines()[0]}") from error
    finally:
        ray.shutdown()


def _run(ray: "ModuleType", work: Work, placement: Placement, stopping: threading.Event) -> bool:
    actor = ray.remote(RayWorker).options(
        num_cpus=placement.cpus,
        num_gpus=placement.gpus,
        max_concurrency=2,  # `stop` beside `run`
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy="SPREAD",
    )
    placed: Iterator[Actor] = (actor.remote() for _ in range(placement.workers))
    runs = {each.run.remote(work): each for each in placed}
    drained = True
    while runs and not stopping.wait(LOOK_EVERY_S):
        ended, _ = ray.wait(list(runs), num_returns=len(runs), timeout=0)
        drained = all(ray.get(ended)) and drained
        for run in ended:
            del runs[run]  # without a handle its actor ends, and leaves its CPUs to one that waits for some
    for each in runs.values():
        each.stop.remote()
    ended, left = ray.wait(list(runs), num_returns=len(runs), timeout=work.settings.grace_s + END_S)
    return drained and all(ray.get(ended)) and not left


def _imported() -> "ModuleType":
    """Returns Ray. ConfigurationError without the package."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # two lines that are alike are two events
    try:
        return import_module("ray")
    except ImportError as error:
        raise ConfigurationError(f"The package {error.name} is missing: pip install 'pgembedd[ray]'.") from error


def _connect(ray: "ModuleType", address: str) -> None:
    """Connects to a cluster. ConfigurationError where there is none."""
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:  # where nothing answers, Ray tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        ray.init(address=address, logging_level="warning")
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigurationError(
            f"No Ray cluster can be reached at {address}: start one with `ray start --head`, "
            "or name its address with --address."
        ) from error


def _for_other_machines(conninfo: str) -> str:
    """Returns the connection string with what libpq's variables on this machine add to it."""
    defaults = {one.keyword.decode(): (one.envvar or b"").decode() for one in pq.Conninfo.get_defaults()}
    ours = {keyword: os.environ[name] for keyword, name in defaults.items() if os.environ.get(name)}
    return make_conninfo("", **{**ours, **conninfo_to_dict(conninfo)})

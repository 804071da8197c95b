"""`/livez`, `/readyz` and `/startupz`: whether to restart the process, to send it requests, to wait for it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import psycopg
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from pydantic import BaseModel

from pgembedd.database.connect import PinnedConnection
from pgembedd.database.schema_check import check_schema
from pgembedd.errors import PgembeddError, SchemaError
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal

SCHEMA_EVERY_S = 10.0
WAIT_S = 2.0  # for the database; probes have little patience
PROBE_THREADS = 4  # apart from those of other requests, which may all wait for the database
LOOK_S = 0.5  # for what the queues hold, which takes long with many jobs: then the look before it is told


class Health(BaseModel):
    """The checks, each `ok` or a sentence.

    Of /readyz alone `missing`, the models that could not be loaded, and `stalled`, the number of pipelines with due
    work that does not move: no reason to send requests elsewhere.
    """

    status: str
    checks: dict[str, str]
    missing: list[str] = []
    stalled: int = 0


def router(service: ServiceContext, worker_health: Callable[[], str]) -> APIRouter:
    """The three probes. They need no token and tell nothing that is not public."""
    routes = APIRouter(tags=["health"])
    probe, threads = Probe(service, worker_health), CapacityLimiter(PROBE_THREADS)
    unhealthy: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "not well"}}

    @routes.head("/livez", include_in_schema=False)
    @routes.get("/livez", responses={200: {"model": Health}, **unhealthy})
    async def livez() -> Response:
        """Restart the process when this is not 200."""
        return _answer({"loop": probe.loop})

    @routes.head("/readyz", include_in_schema=False)
    @routes.get("/readyz", responses={200: {"model": Health}, **unhealthy})
    async def readyz() -> Response:
        """Send requests when this is 200."""
        return await run_sync(ready, limiter=threads)

    def ready() -> Response:
        missing = service.served.missing()
        checks = {"stopping": probe.stopping, "model": lambda: probe.model(missing), "loop": probe.loop}
        checks |= {"database": probe.database} if service.database is not None else {}
        return _answer(checks, {"missing": lambda: missing, "stalled": probe.stalled})

    @routes.head("/startupz", include_in_schema=False)
    @routes.get("/startupz", responses={200: {"model": Health}, **unhealthy})
    async def startupz() -> Response:
        """Wait with the other probes until this is 200."""
        return _answer({"model": probe.tried})

    return routes


def _answer(checks: dict[str, Callable[[], str]], notes: Mapping[str, Callable[[], object]] | None = None) -> Response:
    results = {name: check() for name, check in checks.items()}
    well = all(result == "ok" for result in results.values())
    body: dict[str, Any] = {"status": "ok" if well else "unavailable", "checks": results}
    body |= {name: value for name, note in (notes or {}).items() if (value := note())}
    return Response(orjson.dumps(body), 200 if well else 503, media_type="application/json")


_AWAY = "The database cannot be reached."


class Probe:
    """The checks: `ok` or a sentence each."""

    def __init__(self, service: ServiceContext, worker_health: Callable[[], str]) -> None:
        self._service, self.loop = service, worker_health
        self._schema = "not checked yet"
        self._schema_until = 0.0

    def stopping(self) -> str:
        """The service was not told to stop."""
        return "The service is stopping." if self._service.stopping.is_set() else "ok"

    def model(self, missing: Sequence[str]) -> str:
        """A model is loaded; a worker without a pipeline has none to load."""
        if missing and not self._service.models.loaded():
            return f"No model could be loaded; missing: {', '.join(missing)}."
        return self.tried()

    def tried(self) -> str:
        """A model is loaded, or all have been tried."""
        models = self._service.models
        tried = models.loaded() or models.failed() or (self._service.started.is_set() and not models.loading())
        return "ok" if tried else "No model is loaded yet."

    def database(self) -> str:
        """The database is reached, and its schema is one that this program works with."""
        if time.monotonic() < self._schema_until and self._schema == "ok":
            return self._check(lambda connection: connection.execute("select 1"))
        self._schema, self._schema_until = self._check(check_schema), time.monotonic() + SCHEMA_EVERY_S
        return self._schema

    def stalled(self) -> int:
        """Returns how many pipelines have due work that does not move; 0 while the database is not well."""
        if self._service.queues is None or self._schema != "ok":
            return 0
        return sum(state == "stalled" for _, state, *_ in self._service.queues.recent(LOOK_S).rows or ())

    def _check(self, look: Callable[[PinnedConnection], object]) -> str:
        assert self._service.database is not None
        try:
            with self._service.database.connection(WAIT_S) as connection:
                look(connection)
        except SchemaError as error:
            return str(error)
        except PgembeddError:
            return "This role may not use pgembedd: run `pgembedd doctor`."
        except Refusal as error:
            return error.sentence if error.code == "schema_unusable" else _sentence(error)
        except psycopg.Error:
            return _AWAY
        return "ok"


def _sentence(error: Refusal) -> str:
    """Returns why there is no connection, without the names that the server's own sentence holds."""
    return "The database refuses the connection: the log says why." if error.code == "database_refused" else _AWAY

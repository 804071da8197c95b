"""The HTTP service under test: on a real port in this process, with the real model."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx

from pgembedd.http.app import build_app
from pgembedd.http.context import ServiceContext
from pgembedd.http.server import HttpServer
from pgembedd.loop.role import Role
from pgembedd.loop.worker import Worker
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from pgembedd.telemetry.observer import SILENT, Observer
from tests.support.worker import brisk, running

TOKEN = "a-token-that-may-do-everything"
# Of clients that speak plain HTTP: each would otherwise read all certificates that there are, for 30 ms.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def serving(
    load: Callable[[str], Embedder],
    conninfo: str | None = None,
    *,
    worker: Worker | None = None,
    observer: Observer = SILENT,
    **http: Any,
) -> Iterator[httpx.Client]:
    """A client of a service on a free port; its default model is the one tests have."""
    given = replace(HttpSettings(http_port=0, http_models="all-MiniLM-L6-v2"), **http)
    models = ModelRegistry(load)
    service = ServiceContext(brisk(), given, models, conninfo, observer)
    with ExitStack() as ended:
        ended.callback(service.close)  # after the worker, which waits on its sockets
        if worker is None and conninfo is not None:
            worker = pushed_worker(service, conninfo, models, observer)
            ended.enter_context(running(worker))
        yield from _client(service, worker, given)


def pushed_worker(
    service: ServiceContext,
    conninfo: str,
    models: ModelRegistry,
    observer: Observer = SILENT,
    *,
    pulls: bool = False,
    **settings: Any,
) -> Worker:
    """The worker of `pgembedd serve`, which processes what is pushed to the service; with `pulls`, of `run --http`."""
    served, listener = service.served.names, service.listener
    shared = partial(Role, pushed=service.pushed, served=served, draining=service.stopping, listener=listener)
    role = shared(pulls=pulls, cache=service.vector_cache)
    return Worker(conninfo, brisk(**settings), models, role, observer=observer)


def _client(service: ServiceContext, worker: Worker | None, given: HttpSettings) -> Iterator[httpx.Client]:
    died: list[str] = []
    health = (lambda: "ok") if worker is None else worker.health
    server = HttpServer(build_app(service, health), given, lambda: died.append("http"))
    server.start()
    headers = {"authorization": f"Bearer {given.http_token}"} if given.http_token else {}
    address = f"http://127.0.0.1:{server.port}"
    try:
        # The client leaves first: a service that closes connections looks ten times a second whether they are closed.
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False, verify=PLAIN) as client:
            yield client
    finally:
        service.stopping.set()
        server.stop()
    assert not died


@contextmanager
def posting(client: httpx.Client, path: str, body: Any) -> Iterator[Callable[[], httpx.Response]]:
    """A request under way in a thread; what is given waits for its answer."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.post, path, json=body)
        yield future.result

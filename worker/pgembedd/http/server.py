"""uvicorn in a thread of its own, beside whatever else the process does."""

import logging
import resource
import socket
import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from pgembedd.errors import ConfigurationError, PgembeddError
from pgembedd.http.connections import PatientProtocol
from pgembedd.log import get_logger
from pgembedd.settings import HttpSettings

DRAIN_S = 10
ACCEPTS = 8
"""Connections taken at a time. uvloop takes one for each turn of its loop and for each listening socket, and under load
a turn takes long: of a burst of new connections the last ones, a probe's among them, would wait for many seconds."""


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(self, app: FastAPI, http: HttpSettings, on_death: Callable[[], None]) -> None:
        """`on_death` is called if the server ends before it was told to."""
        self._socket = _bind(http.http_host, http.http_port)
        self.host, self.port = http.http_host, int(self._socket.getsockname()[1])
        # uvicorn takes uvloop and httptools where they are. Measured, an asyncio loop adds a tenth to the share of HTTP
        # in a request (some 0.6 ms of 6), h11 on uvloop nothing that shows: either will do where they cannot be had.
        config = uvicorn.Config(
            app,
            http=PatientProtocol.of(http, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        _adopt_log()
        self._server = uvicorn.Server(config)
        self._on_death = on_death
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Return when requests are answered."""
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if not self._thread.is_alive():
                raise PgembeddError("The HTTP service did not start; the log says why.")
        get_logger().info("http_started", host=self.host, port=self.port)

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket, *(self._socket.dup() for _ in range(ACCEPTS - 1))])
        finally:
            self._socket.close()
            if not self._stopped.is_set():
                get_logger().error("http_died")
                self._on_death()

    def stop(self) -> None:
        """Answer what is under way, and no more."""
        self._stopped.set()
        self._server.should_exit = True
        self._thread.join(DRAIN_S + 5)
        get_logger().info("http_stopped")


class _Events(logging.Handler):
    """uvicorn's log in ours, without what a client sent."""

    def emit(self, record: logging.LogRecord) -> None:
        """Its errors; exceptions of requests are logged where they are answered, with no words of theirs."""
        if record.levelno >= logging.ERROR and not record.exc_info:
            get_logger().error("http_server", message=str(record.msg))


def _adopt_log() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [_Events()], False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # For the connections made from it: head and body go out in two writes, and would wait 40 ms for each other.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host.strip("[]"), port))
        bound.listen(1024)
    except OSError as error:
        raise ConfigurationError(
            f"The HTTP service cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose others with --http-host and --http-port."
        ) from error
    return bound

"""uvicorn in its own thread."""

import asyncio
import logging
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import uvicorn
from fastapi import FastAPI

from pgembedd.database.listener import call_within
from pgembedd.errors import ConfigurationError, PgembeddError
from pgembedd.http.middleware.connection_limits import ConnectionLimits
from pgembedd.log import get_logger
from pgembedd.settings import HttpSettings

DRAIN_S = 10
TICK_S = 1.0
UNREAD_TIMEOUT_S = 30.0
"""A connection whose client takes nothing of an answer for so long is closed, by Linux itself."""

ACCEPTS = 8
"""Connections accepted at a time. uvloop accepts one for each turn of its loop and each listening socket, and a turn
takes long under load: of a burst of connections the last ones, a probe's among them, would wait many seconds."""


class HttpServer:
    """A server that listens from `start` to `stop`."""

    def __init__(self, app: FastAPI, http: HttpSettings, on_death: Callable[[], None]) -> None:
        """`on_death` is called if the server ends before `stop`."""
        self._socket = _bind(http.http_host, http.http_port)
        self.host, self.port = http.http_host, int(self._socket.getsockname()[1])
        # Half of the files that the process may open are left to the rest of it.
        files = _allow_files(2 * http.http_max_connections)
        limits = ConnectionLimits(max(1, min(http.http_max_connections, files // 2)))
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", limits.protocol),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(http.http_trusted_proxies),
            forwarded_allow_ips=http.http_trusted_proxies,
            timeout_graceful_shutdown=DRAIN_S,
        )
        _adopt_log()
        self._server = _Server(config)
        self._on_death = on_death
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Returns when requests are answered."""
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
        """Answers the requests in progress, and no more."""
        self._stopped.set()
        self._server.stop()
        self._thread.join(DRAIN_S + 5)
        get_logger().info("http_stopped")


class _Server(uvicorn.Server):
    """A server whose loop wakes once a second, for the header `date`, and not ten times to see whether it is to end."""

    _ends: asyncio.Event | None = None

    async def main_loop(self) -> None:
        """Returns at the end."""
        self._loop, self._ends = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), TICK_S)

    def stop(self) -> None:
        """Ends the loop, from another thread."""
        self.should_exit = True
        if self._ends is not None:
            call_within(self._loop, self._ends.set)


class _UvicornLog(logging.Handler):
    """Passes uvicorn's errors to our log, without anything that a client sent."""

    def emit(self, record: logging.LogRecord) -> None:
        """Logs errors; exceptions of requests are logged where they are answered, without their message."""
        if record.levelno >= logging.ERROR and not record.exc_info:
            get_logger().error("http_server", message=str(record.msg))


def _adopt_log() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [_UvicornLog()], False
    logger.setLevel(logging.ERROR)  # below that it makes a record for every malformed request


def _allow_files(wanted: int) -> int:
    """Returns how many files the process may open, which it raises as far as it may where they are fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit both. Head and body go out in two writes, and would wait 40 ms for each other.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_TIMEOUT_S * 1000))
        bound.bind((host.strip("[]"), port))
        bound.listen(1024)
    except OSError as error:
        raise ConfigurationError(
            f"The HTTP service cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose others with --http-host and --http-port."
        ) from error
    return bound

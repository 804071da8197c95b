"""Finds a running server: its owner, port and URI; waits until it accepts connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.home import Home
from pgembedd.embedded_postgres.pidfile import Postmaster, live_postmaster
from pgembedd.errors import ConfigurationError

START_TIMEOUT_S = 300.0  # recovery after a crash may have gigabytes of WAL to read
REFUSING_TIMEOUT_S = 15.0
POLL_S = 0.01

# Variables like PGHOSTADDR or PGSSLMODE are meant for another server. The password is never sent in clear text,
# which another program on the port could request.
_OVERRIDES = {
    "hostaddr": "127.0.0.1",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
    "target_session_attrs": "any",
    "options": "",
}


def find_postmaster(home: Home) -> Postmaster | None:
    """Returns the running postmaster. Raises ConfigurationError when it is another user's."""
    try:
        return live_postmaster(home.cluster)
    except PermissionError:
        account_for(home.cluster)  # its error names the owner
        raise


def require_port(home: Home) -> int:
    """Returns the port of the running server. Raises ConfigurationError when none is running."""
    postmaster = find_postmaster(home)
    if postmaster is None or postmaster.port is None:
        raise ConfigurationError(f"The embedded Postgres in {home.root} is not running: start it first.")
    return postmaster.port


def uri(home: Home, dbname: str) -> str:
    """Returns a libpq URI with the superuser's password."""
    port = require_port(home)
    return f"postgresql://postgres:{home.password.read_text().strip()}@127.0.0.1:{port}/{quote(dbname, safe='')}"


def refusal(home: Home) -> str | None:
    """Returns libpq's reason why the server accepts no connection (never parsed), or None if it does."""
    try:
        conninfo = make_conninfo(uri(home, "postgres"), **_OVERRIDES)
        with psycopg.connect(conninfo, connect_timeout=10):
            return None
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1]


def await_ready(home: Home, alive: Callable[[], bool]) -> bool:
    """Waits until the server accepts connections; False when it is no longer `alive`.

    Raises ConfigurationError on a timeout, and when a server that is ready refuses connections.
    """
    begun, ready_since = time.monotonic(), float("inf")
    while alive():
        postmaster = find_postmaster(home)
        ready = postmaster is not None and postmaster.status == "ready"
        reason = refusal(home) if ready else "it is not ready yet"
        if reason is None:
            return True
        now = time.monotonic()
        ready_since = min(ready_since, now) if ready else float("inf")
        if now - ready_since > REFUSING_TIMEOUT_S or now - begun > START_TIMEOUT_S:
            process = f" (process {postmaster.pid})" if postmaster else ""
            raise ConfigurationError(
                f"The embedded Postgres in {home.root}{process} runs but takes no connections ({reason}): "
                f"see {home.log}, or end it and try again."
            )
        time.sleep(POLL_S)
    return False

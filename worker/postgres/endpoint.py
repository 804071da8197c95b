"""How a running server is reached: whose it is, its port, its URI, and whether it takes connections."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from worker.errors import ConfigurationError
from worker.postgres.account import account_for
from worker.postgres.home import Home
from worker.postgres.pidfile import Postmaster, live_postmaster

# Variables like PGHOSTADDR or PGSSLMODE are meant for another server. The password is never sent in the
# clear: whoever listens on the port instead of our server could ask for that.
_WHATEVER_THE_ENVIRONMENT_SAYS = {
    "hostaddr": "127.0.0.1",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
    "target_session_attrs": "any",
    "options": "",
}


def find_postmaster(home: Home) -> Postmaster | None:
    """The running postmaster. Raises ConfigurationError when it is another user's."""
    try:
        return live_postmaster(home.cluster)
    except PermissionError:
        account_for(home.cluster)  # says whose it is
        raise


def require_port(home: Home) -> int:
    """The port of the running server. Raises ConfigurationError when none is running."""
    postmaster = find_postmaster(home)
    if postmaster is None or postmaster.port is None:
        raise ConfigurationError(f"The embedded Postgres in {home.root} is not running: start it first.")
    return postmaster.port


def uri(home: Home, dbname: str) -> str:
    """A libpq URI with the superuser's password."""
    port = require_port(home)
    return f"postgresql://postgres:{home.password.read_text().strip()}@127.0.0.1:{port}/{quote(dbname, safe='')}"


def refusal(home: Home) -> str | None:
    """Why the server takes no connection (libpq's words, for people only), None when it does."""
    try:
        conninfo = make_conninfo(uri(home, "postgres"), **_WHATEVER_THE_ENVIRONMENT_SAYS)
        with psycopg.connect(conninfo, connect_timeout=10):
            return None
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1]

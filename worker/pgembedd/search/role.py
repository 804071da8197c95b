"""The role that searches on behalf of others: what is checked of it, and what holds in its transaction."""

import json
from typing import Any

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError, SearchRoleError
from pgembedd.settings.conninfo import read_conninfo

TIMEOUT_S = 60.0


def check_search_url(url: str, setting: str) -> None:
    """Raises ConfigurationError, which names the setting, for what is no connection string with a user."""
    if not read_conninfo(url, setting).get("user"):
        raise ConfigurationError(f"{setting} names no user: write postgresql://role@host:5432/database.")


def begin_search(connection: psycopg.Connection, claims: dict[str, Any] | None, timeout_s: float = TIMEOUT_S) -> None:
    """Sets the claims, which policies ask for, and the limit of time in the open transaction.

    SearchRoleError for a role with more rights than a search should have.
    """
    check_role(connection.execute(query("search_session"), session_values(claims, timeout_s)).fetchone())


def session_values(claims: dict[str, Any] | None, timeout_s: float, *, local: bool = True) -> dict[str, Any]:
    """Returns the values of the statement `search_session`; `local` for this transaction, else for the session."""
    milliseconds = str(round(timeout_s * 1000))
    return {"claims": "" if claims is None else json.dumps(claims), "milliseconds": milliseconds, "local": local}


def check_role(found: tuple[Any, ...] | None) -> None:
    """Raises SearchRoleError for the row of `search_session` of a role with more rights than a search should have."""
    role, fault = (found or ("?", "is unknown"))[:2]
    if fault is not None:
        raise SearchRoleError(
            f'The role "{role}" that searches {fault}: it has to be a login role of its own (CREATE ROLE … LOGIN '
            "NOINHERIT), in no other role, that owns nothing."
        )

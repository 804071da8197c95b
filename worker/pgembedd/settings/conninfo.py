"""The connection string: the setting that names it, and what is wrong with it before a connection is tried.

No message repeats a part of it that may be a piece of a password.
"""

import os
import re
from typing import Any

import psycopg
from psycopg import pq

from pgembedd.errors import ConfigurationError
from pgembedd.settings.files import read_secret

LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGPORT", "PGUSER")
_FORM = "write postgresql://user@host:5432/database, or key=value pairs of libpq"


def conninfo_from_environment() -> str | None:
    """Returns DATABASE_URL; "" where libpq's own variables name a database; None where no variable does.

    A password can stay out of the URL: PGPASSFILE and the file named by DATABASE_URL_FILE (a container's or
    systemd's credential) are read. ConfigurationError for what is no connection string.
    """
    url = os.environ.get("DATABASE_URL")
    if named := _named("DATABASE_URL", url, os.environ.get("DATABASE_URL_FILE")):
        return named
    if any(os.environ.get(name) for name in LIBPQ_VARIABLES):
        read_conninfo("")
        return ""
    if url is not None:
        raise ConfigurationError(f"DATABASE_URL is empty: {_FORM}, or unset it.")
    return None


def listen_conninfo_from_environment() -> str | None:
    """Returns DATABASE_LISTEN_URL, which leads past a pooler that cannot LISTEN; None where it is not set.

    It can be in the file named by DATABASE_LISTEN_URL_FILE. ConfigurationError for what is no connection string.
    """
    url, path = os.environ.get("DATABASE_LISTEN_URL"), os.environ.get("DATABASE_LISTEN_URL_FILE")
    return _named("DATABASE_LISTEN_URL", url, path)


def _named(variable: str, url: str | None, path: str | None) -> str | None:
    """Returns the connection string of a variable, or of the file at the path in `variable`_FILE; None if neither."""
    if url:
        return check_conninfo(url, variable)
    if path:
        return check_conninfo(read_secret(path, f"{variable}_FILE"), f"The file {path} named by {variable}_FILE")
    return None


def check_conninfo(conninfo: str, setting: str) -> str:
    """Returns the string. ConfigurationError, which names the setting, for an empty or a malformed one."""
    if not conninfo.strip():
        raise ConfigurationError(f"{setting} is empty: {_FORM}.")
    read_conninfo(conninfo, setting)
    return conninfo


def read_conninfo(conninfo: str, setting: str = "The connection string") -> dict[str, Any]:
    """Returns the parameters of a connection string. ConfigurationError, which names the setting, for a malformed one.

    Of the values only the port and the time limit are checked: the others are libpq's to judge.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        unknown = _unknown_keyword(conninfo, str(error))
        reason = f", as libpq has no parameter {unknown}" if unknown else ""
        raise ConfigurationError(f"{setting} cannot be read{reason}: {_FORM}.") from None  # libpq's words may quote all
    if _has_raw_password(conninfo):
        raise ConfigurationError(
            f"{setting} cannot be read: in a user's name or a password write @ as %40, / as %2F and : as %3A."
        )
    by, ports = (setting, given["port"]) if "port" in given else ("PGPORT", os.environ.get("PGPORT", ""))
    if not all(map(_is_port, str(ports).split(","))):
        raise ConfigurationError(f"{by} names a port that is no number from 1 to 65535: {_FORM}.")
    try:
        psycopg.conninfo.timeout_from_conninfo(given)
    except psycopg.ProgrammingError:
        raise ConfigurationError(f"{setting} names a connect_timeout that is no number of seconds.") from None
    return given


def _is_port(text: str) -> bool:
    """Returns True for an empty one, too: it is the default."""
    try:
        return not text.strip() or 1 <= int(text) <= 65_535
    except ValueError:
        return False


def _has_raw_password(conninfo: str) -> bool:
    """Tells that a URI has an @ elsewhere than before its host, so that libpq takes a password for something else."""
    scheme, _, rest = conninfo.partition("?")[0].partition("://")
    authority, _, path = rest.partition("/")
    return scheme in ("postgres", "postgresql") and (authority.count("@") > 1 or "@" in path)


def _unknown_keyword(conninfo: str, said: str) -> str | None:
    """Returns the keyword that libpq refuses in the words `said`; None where it may be a piece of a password."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    pairs = conninfo.partition("?")[2] if "://" in conninfo else conninfo
    for found in re.finditer(r"(\w+)\s*=", pairs):
        if found[1] not in known and f'"{found[1]}"' in said:
            return None if "password" in pairs[: found.start()] or "@" in pairs else found[1]
    return None

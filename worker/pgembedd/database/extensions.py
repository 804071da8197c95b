"""The extensions that pgembedd needs or uses: their installation and removal.

Runs inside the first migration, on the migration's own connection and transaction.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql

from pgembedd.database.owners import check_extension_owners, foreign
from pgembedd.database.pgmq_checks import MINIMUM_PGMQ, numbers, pgmq_problem, pgmq_statements
from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection as AlchemyConnection

MINIMUM_SERVER = 15
MINIMUM_VECTOR = (0, 7)  # halfvec
_PINNED = "set local search_path to pg_catalog, pg_temp"


def raw(connection: "AlchemyConnection") -> psycopg.Connection:
    """Returns the psycopg connection under SQLAlchemy's, in the same transaction; it leaves `%` and `:name` alone."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise ConfigurationError("pgembedd migrates through psycopg; use a postgresql+psycopg:// URL.")
    return driver


def require_server(connection: psycopg.Connection) -> None:
    """Raises ConfigurationError where the server is too old."""
    if connection.info.server_version < MINIMUM_SERVER * 10_000:
        version = connection.info.parameter_status("server_version")
        raise ConfigurationError(
            f"PostgreSQL {version} is too old, pgembedd needs {MINIMUM_SERVER} or newer: upgrade the server, then run "
            "`pgembedd migrate` again."
        )


def install_extensions(connection: psycopg.Connection) -> str:
    """Installs `vector` and `pgmq`, and `pg_net` and `pg_cron` where they are available.

    Returns the origin of pgmq: `found`, `extension` or `sql`.
    """
    _require_vector(connection)
    pgmq_install = _require_pgmq(connection)
    for name in ("pg_net", "pg_cron"):
        if _loadable(connection, name):
            _try_create(connection, name)
    check_extension_owners(connection)  # another role may have made one since
    return pgmq_install


def install_dblink(connection: psycopg.Connection) -> None:
    """Installs `dblink`, for embed() alone, if it is missing and this role may.

    In a schema without rights for other roles: otherwise every role in the database could open connections.
    """
    installed, available = _versions(connection, "dblink")
    if installed is None and available is not None:
        _try_create(connection, "dblink")


def vector_package(connection: psycopg.Connection) -> str:
    """Returns the name of pgvector's package for this server, as Debian and PostgreSQL's own repository have it."""
    return f"postgresql-{connection.info.server_version // 10000}-pgvector"


def _require_vector(connection: psycopg.Connection) -> None:
    installed, available = _versions(connection, "vector")
    if installed is None and available is None:
        raise ConfigurationError(
            "This Postgres has no pgvector: install it on the server, in Debian the package "
            f"{vector_package(connection)}, then run `pgembedd migrate` again."
        )
    version = installed or available or ""
    if numbers(version) < MINIMUM_VECTOR:
        raise ConfigurationError(
            f"pgvector {version} is too old, pgembedd needs 0.7 or newer for halfvec: upgrade its package, then run "
            "`ALTER EXTENSION vector UPDATE` and `pgembedd migrate` again."
        )
    if installed is None:
        _create(connection, "vector", "An administrator must run `CREATE EXTENSION vector` in this database first.")


def _require_pgmq_rights(connection: psycopg.Connection) -> None:
    role = sql.Identifier(connection.info.user).as_string(connection)
    if statements := pgmq_statements(connection, role):
        raise ConfigurationError(f"pgmq belongs to another role here: an administrator must run `{statements}` first.")


def _require_pgmq(connection: psycopg.Connection) -> str:
    _require_pgmq_rights(connection)
    if problem := pgmq_problem(connection):
        raise ConfigurationError(f"pgmq {problem[0]}. {problem[1]} Then run `pgembedd migrate` again.")
    if _has_pgmq(connection):
        return "found"
    # First, as another role may make it at any time. A lack of rights is told below.
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute("create schema if not exists pgmq")
    check_extension_owners(connection)
    available = _versions(connection, "pgmq")[1]
    if available is not None and numbers(available) >= MINIMUM_PGMQ and _try_create(connection, "pgmq"):
        return "extension"
    from pgmq.install import get_embedded_install_sql  # late: only a first migration needs it

    try:
        with connection.transaction():
            connection.execute(get_embedded_install_sql().encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            "pgmq could not be installed for lack of rights: an administrator must run "
            f'`GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{connection.info.user}"` or install pgmq first '
            "(`pgembedd doctor` prints the GRANTs it then needs)."
        ) from error
    return "sql"


def _loadable(connection: psycopg.Connection, name: str) -> bool:
    """Tells that CREATE EXTENSION can work: available, preloaded, and (pg_cron) in its configured database.

    False for a role that may not read these settings, as for most that are no superusers.
    """
    installed, available = _versions(connection, name)
    if installed is not None or available is None:
        return False
    settings: dict[str, str] = dict(connection.execute(query("preloading")).fetchall())
    if name not in [entry.strip() for entry in settings.get("shared_preload_libraries", "").split(",")]:
        return False
    return name != "pg_cron" or settings.get("cron.database_name") == connection.info.dbname


def _try_create(connection: psycopg.Connection, name: str) -> bool:
    """Creates the extension in a savepoint; False where this role may not."""
    try:
        _create(connection, name, "")
    except ConfigurationError:
        return False
    return True


def _create(connection: psycopg.Connection, name: str, remedy: str) -> None:
    statements: dict[str, LiteralString] = {
        "vector": "create extension vector",
        "pgmq": "create extension pgmq cascade",
        "pg_net": "create extension pg_net",
        "pg_cron": "create extension pg_cron",
        "dblink": "create extension dblink schema pgembedd_code",
    }
    schema = _schema_for_extensions(connection)
    if schema is None:
        raise ConfigurationError(
            f"The search_path has no schema for the extension {name} that another role does not own. {remedy}".strip()
        )
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
            connection.execute(statements[name])
            connection.execute(_PINNED)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"This role may not install the extension {name}. {remedy}".strip()) from error


def _schema_for_extensions(connection: psycopg.Connection) -> str | None:
    """Returns the first schema of the role's own path that no stranger owns, as Postgres takes the first one.

    A role can make a schema that is called like another one, into whose path `"$user"` brings it.
    """
    connection.execute(query("own_path"))
    row = connection.execute("select pg_catalog.current_schemas(false)").fetchone()
    connection.execute(_PINNED)
    return next((name for name in row[0] if not foreign(connection, [name])), None) if row else None


def remove_pgmq(connection: psycopg.Connection) -> None:
    """Drops the queues we made; then pgmq itself, if we installed it and it is not in use.

    `vector` always stays: users' columns are of its types. `pg_net` and `pg_cron` stay too.
    """
    row = connection.execute("select pgmq_install, created_queues from pgembedd.installation").fetchone()
    if row is None or not _has_pgmq(connection):
        return
    origin, queues = row
    for queue in queues:
        connection.execute("select pgmq.drop_queue(queue_name) from pgmq.meta where queue_name = %s", (queue,))
    connection.execute(query("restore_queue_indexes"))
    if origin == "found" or connection.execute("select from pgmq.meta limit 1").fetchone() is not None:
        return
    if origin == "extension":
        connection.execute("drop extension pgmq")
    elif connection.execute(query("pgmq_dependents")).fetchone() is None:
        connection.execute("drop schema pgmq cascade")


def _has_pgmq(connection: psycopg.Connection) -> bool:
    return connection.execute("select to_regclass('pgmq.meta') is not null").fetchone() == (True,)


def _versions(connection: psycopg.Connection, name: str) -> tuple[str | None, str | None]:
    """Returns the (installed, available) versions of an extension."""
    found = {row[0]: (row[1], row[2]) for row in connection.execute(query("extension_versions"))}
    return found[name]

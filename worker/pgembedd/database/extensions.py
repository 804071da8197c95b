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

MINIMUM_VECTOR = (0, 7)  # halfvec
_PINNED = "set local search_path to pg_catalog, pg_temp"


def raw(connection: "AlchemyConnection") -> psycopg.Connection:
    """Returns the psycopg connection under SQLAlchemy's, in the same transaction; it leaves `%` and `:name` alone."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise ConfigurationError("pgembedd migrates through psycopg; use a postgresql+psycopg:// URL.")
    return driver


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


def _require_vector(connection: psycopg.Connection) -> None:
    installed, available = _versions(connection, "vector")
    if installed is None and available is None:
        raise ConfigurationError(
            "This Postgres has no pgvector: install the extension's package on the server "
            "(for example postgresql-17-pgvector), then run `pgembedd migrate` again."
        )
    version = installed or available or ""
    if numbers(version) < MINIMUM_VECTOR:
        raise ConfigurationError(
            f"pgvector {version} is too old, pgembedd needs 0.7 or newer for halfvec: upgrade its package, then run "
            "`ALTER EXTENSION vector UPDATE` and `pgembedd migrate` again."
        )
    if installed is None:
        _create(
            connection,
            "vector",
            "An administrator must run `CREATE EXTENSION vector` in this database first.",
        )


def _require_pgmq_rights(connection: psycopg.Connection) -> None:
    role = sql.Identifier(connection.info.user).as_string(connection)
    if statements := pgmq_statements(connection, role):
        raise ConfigurationError(f"pgmq belongs to another role here: an administrator must run `{statements}` first.")


def _require_pgmq(connection: psycopg.Connection) -> str:
    _require_pgmq_rights(connection)
    if problem := pgmq_problem(connection):
        raise ConfigurationError(f"pgmq {problem[0]}. {problem[1]} Then run `pgembedd migrate` again.")
    if _scalar(connection, "select to_regclass('pgmq.meta') is not null"):
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


# Dropping a schema that we filled must not drop objects that depend on it.
_PGMQ_DEPENDENTS = """
select pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
from pg_catalog.pg_depend d
left join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_catalog.pg_class c on c.oid = case when d.classid = 'pg_class'::regclass then d.objid else r.ev_class end
left join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
where coalesce(c.relnamespace, p.pronamespace) not in ('pgmq'::regnamespace, 'pg_toast'::regnamespace)
  and d.refobjid in (select oid from pg_catalog.pg_class where relnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_type where typnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_proc where pronamespace = 'pgmq'::regnamespace)
limit 1
"""


# Queues that others made stay, with the index that pgmq gives them instead of ours (sql/10_queue/index.sql).
_RESTORE_INDEXES = """
do $$
declare
    one record;
begin
    for one in
        select x.oid::regclass as index, i.indrelid::regclass as queue
        from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
        where i.indrelid in (to_regclass('pgmq.q_pgembedd_jobs'), to_regclass('pgmq.q_pgembedd_backfill'))
          and x.relname like 'q\\_%\\_by\\_pipeline' and pg_catalog.pg_has_role(x.relowner, 'usage')
    loop
        execute pg_catalog.format('drop index %s', one.index);
        execute pg_catalog.format('create index on %s (vt)', one.queue);
    end loop;
end $$;
"""


def remove_pgmq(connection: psycopg.Connection) -> None:
    """Drops the queues we made; then pgmq itself, if we installed it and it is not in use.

    `vector` always stays: users' columns are of its types. `pg_net` and `pg_cron` stay too.
    """
    if not _scalar(connection, "select to_regclass('pgmq.meta') is not null"):
        return
    row = connection.execute("select pgmq_install, created_queues from pgembedd.installation").fetchone()
    if row is None:
        return
    for queue in row[1]:
        connection.execute("select pgmq.drop_queue(queue_name) from pgmq.meta where queue_name = %s", (queue,))
    connection.execute(_RESTORE_INDEXES)
    if row[0] == "found" or _scalar(connection, "select exists (select from pgmq.meta)"):
        return
    if row[0] == "extension":
        connection.execute("drop extension pgmq")
    elif _scalar(connection, _PGMQ_DEPENDENTS) is None:
        connection.execute("drop schema pgmq cascade")


def _versions(connection: psycopg.Connection, name: str) -> tuple[str | None, str | None]:
    """Returns the (installed, available) versions of an extension."""
    row = connection.execute(
        "select installed_version, default_version from pg_catalog.pg_available_extensions where name = %s",
        (name,),
    ).fetchone()
    if row is not None:
        return row[0], row[1]
    installed = connection.execute(
        "select extversion from pg_catalog.pg_extension where extname = %s", (name,)
    ).fetchone()
    return (installed[0] if installed else None), None


def _scalar(connection: psycopg.Connection, query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None

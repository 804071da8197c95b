"""Migrations: alembic runs the frozen versions, then the current definitions in sql/ are applied again.

`pgembedd migrate` and plain `alembic upgrade head` both come through `run_migrations`. alembic and SQLAlchemy are
imported where they are used: a worker, which only checks the schema, starts without them.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from pgembedd.database.connect import connect, pin_path
from pgembedd.database.definitions import Definitions
from pgembedd.database.extensions import raw
from pgembedd.database.rights import no_rights
from pgembedd.errors import ConfigurationError, SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0002"
REVISION_TABLE = "schema_revision"
# A comment locks the schema until the end of the transaction, and only for the schema's owner.
_LOCK = "comment on schema pgembedd is 'Pipelines whose rows have vectors, and the functions of pgembedd.'"


def _folder(name: str) -> Path:
    """Returns the folder `migrations` or `sql`, inside an installed wheel or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parents[1] / name


def sql_files() -> list[Path]:
    """Returns the files of sql/ in load order: by path."""
    return sorted(_folder("sql").rglob("*.sql"))


def sql_digest() -> str:
    """Returns a digest of sql/, by which a worker recognizes the functions of a database."""
    digest, folder = hashlib.sha256(), _folder("sql")
    for path in sql_files():
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def migrate(conninfo: str, revision: str = "head") -> None:
    """Migrates the database to `revision`; a repeated call restores what a restore left out. Idempotent."""
    from alembic import command

    command.upgrade(_alembic_config(conninfo), revision)


def downgrade(conninfo: str, revision: str = "base") -> None:
    """Removes what the migrations installed; users' tables, columns and `vector` stay."""
    from alembic import command

    command.downgrade(_alembic_config(conninfo), revision)


def _alembic_config(conninfo: str) -> "Config":
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_folder("migrations")).replace("%", "%%"))
    config.attributes["conninfo"] = conninfo
    return config


def run_migrations(context: Any, conninfo: str | None) -> None:
    """Runs versions and sql/ in one transaction, one migrator at a time; called by migrations/env.py."""
    if conninfo is None:
        raise ConfigurationError(
            "No database is named: set DATABASE_URL or libpq's own variables (PGHOST, PGDATABASE, ...)."
        )
    if context.is_offline_mode():
        raise ConfigurationError("pgembedd's migrations look at the server, so they cannot be printed with --sql.")
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(conninfo, pinned=False), poolclass=NullPool)
    with engine.connect() as connection, connection.begin(), _explain_errors():
        driver = raw(connection)
        pin_path(driver, in_transaction=True)
        _lock_schema(driver)
        _refuse_newer(driver)
        context.configure(connection=connection, version_table=REVISION_TABLE, version_table_schema="pgembedd")
        if _destination(context) is None and _has_imports(driver):
            driver.execute("select pgembedd._undo_imports()")  # by the functions that are there before the downgrade
        context.run_migrations()
        if context.get_context().get_current_revision() is None:
            driver.execute("drop table if exists pgembedd.schema_revision")
            driver.execute("drop schema pgembedd")
        else:
            apply_sql(driver)


def _lock_schema(connection: psycopg.Connection) -> None:
    """Makes the schema where it is missing, and waits until no other migrator is at work on it."""
    while True:
        try:
            with connection.transaction():
                connection.execute("create schema if not exists pgembedd")
                connection.execute(_LOCK)
        except (psycopg.errors.UniqueViolation, psycopg.errors.InvalidSchemaName):
            continue  # another migrator has just made it, or dropped it
        else:
            return


def has_schema(connection: psycopg.Connection) -> bool:
    """Tells that the database has the schema pgembedd, of whatever version."""
    return connection.execute("select to_regnamespace('pgembedd') is not null").fetchone() == (True,)


def _destination(context: Any) -> Any:
    """Returns the revision that alembic goes to: None for base, "" for a command that goes nowhere."""
    try:
        return context.get_revision_argument()
    except KeyError:
        return ""


def _has_imports(connection: psycopg.Connection) -> bool:
    row = connection.execute("select to_regprocedure('pgembedd._undo_imports()') is not null").fetchone()
    return row == (True,)


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Turns an error that an administrator can fix into a ConfigurationError."""
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as error:
        users = "; ".join((error.diag.message_detail or "").splitlines())
        raise ConfigurationError(f"The migration stopped: {users}. Drop that, and run it again.") from error
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.FeatureNotSupported,
        psycopg.errors.InvalidParameterValue,  # our own refusals
    ) as error:
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        sentence = (error.diag.message_primary or "").removesuffix(".")
        raise ConfigurationError(f"The migration stopped: {sentence}.{hint}") from error


def apply_sql(connection: psycopg.Connection) -> None:
    """Creates or replaces every function, trigger and view of sql/, inside the caller's transaction.

    Bodies are not checked while loading, so a function may come before those that it calls; a test checks them.
    """
    schema = connection.execute(
        "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'"
    ).fetchone()
    if schema is None:
        raise SchemaError(
            "The extension vector is gone from this database: run `CREATE EXTENSION vector`, then migrate again."
        )
    connection.execute(sql.SQL("set local search_path to pg_catalog, pgembedd, {}").format(sql.Identifier(schema[0])))
    connection.execute("set local check_function_bodies to off")
    Definitions(connection).apply(sql_files())
    connection.execute("set local check_function_bodies to default")
    connection.execute("update pgembedd.installation set sql_digest = %s, sql_applied_at = now()", (sql_digest(),))
    connection.execute("set local search_path to pg_catalog, pg_temp")


def _refuse_newer(connection: psycopg.Connection) -> None:
    found = connection.execute("select to_regclass('pgembedd.schema_revision') is not null").fetchone()
    if found and found[0]:
        row = connection.execute("select version_num from pgembedd.schema_revision").fetchone()
        refuse_newer(row[0] if row else None)


def refuse_newer(revision: str | None) -> None:
    """Raises SchemaError when the database is at a revision that this code does not know."""
    if revision is not None and revision > HEAD:
        raise SchemaError(
            f"This database is at pgembedd schema {revision}, newer than this program's {HEAD}: upgrade pgembedd."
        )


def check_schema(connection: psycopg.Connection) -> None:
    """Raises SchemaError unless the database has exactly the schema that this code works with."""
    remedy = "run `pgembedd migrate`."
    try:
        row = connection.execute("select revision, sql_digest from pgembedd.schema_version()").fetchone()
    except (
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.UndefinedTable,
    ) as error:
        raise SchemaError(f"This database has no pgembedd schema: {remedy}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise no_rights(connection) from error
    revision, digest = row if row else (None, None)
    refuse_newer(revision)
    if revision != HEAD:
        raise SchemaError(
            f"This database is at pgembedd schema {revision or 'none'}, this program needs {HEAD}: {remedy}"
        )
    if digest != sql_digest():
        raise SchemaError(f"The functions in this database are not of this version of pgembedd: {remedy}")

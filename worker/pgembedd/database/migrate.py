"""Migrations: alembic runs the frozen versions, then the current definitions in sql/ are applied again.

`pgembedd migrate` and plain `alembic upgrade head` both come through `run_migrations`. alembic and SQLAlchemy are
imported where they are used: a worker starts without them.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pgembedd.database.connect import connect, connect_unpinned, pin_path
from pgembedd.database.definitions import Definitions, execute_script
from pgembedd.database.extensions import raw, require_server
from pgembedd.database.migration_locks import LockWatch, migrate_patiently
from pgembedd.database.own_version import HEAD, folder, sql_digest, sql_files
from pgembedd.database.owners import check_extension_owners, check_owners
from pgembedd.database.queries import query
from pgembedd.database.schema_check import check_schema, refuse_newer
from pgembedd.errors import ConfigurationError, PgembeddError, SchemaError, is_refused_call

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

REVISION_TABLE = "schema_revision"
# A comment locks the schema until the end of the transaction, and only for the schema's owner.
_LOCK = "comment on schema pgembedd is 'Pipelines whose rows have vectors, and the functions of pgembedd.'"


def migrate(conninfo: str, revision: str = "head") -> None:
    """Migrates the database to `revision`; a repeated call restores what a restore left out. Idempotent."""
    from alembic import command

    command.upgrade(_alembic_config(conninfo), revision)


def migrate_unless_newer(conninfo: str) -> str | None:
    """Migrates, except where a newer program has migrated and this one works with it: then returns that revision."""
    with connect(conninfo) as connection, suppress(PgembeddError):  # of what does not fit migrate() says what it is
        if (revision := check_schema(connection).revision) > HEAD:
            return revision
    migrate(conninfo)
    return None


def downgrade(conninfo: str, revision: str = "base") -> None:
    """Removes what the migrations installed; users' tables, columns and `vector` stay."""
    from alembic import command

    command.downgrade(_alembic_config(conninfo), revision)


def _alembic_config(conninfo: str) -> "Config":
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(folder("migrations")).replace("%", "%%"))
    config.attributes["conninfo"] = conninfo
    return config


def run_migrations(context: Any, conninfo: str | None, models: list[dict[str, Any]]) -> None:
    """Runs versions and sql/ in one transaction, one migrator at a time; called by migrations/env.py.

    `models` are the rows of the table `model`: they replace those of another release.
    """
    if conninfo is None:
        raise ConfigurationError(
            "No database is named: set DATABASE_URL or libpq's own variables (PGHOST, PGDATABASE, ...)."
        )
    if context.is_offline_mode():
        raise ConfigurationError("pgembedd's migrations look at the server, so they cannot be printed with --sql.")
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    # The look for hstore compares values of two types, before the path is pinned: any role may have that operator.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect_unpinned(conninfo),
        poolclass=NullPool,
        use_native_hstore=False,
    )
    with _explain_errors():
        migrate_patiently(conninfo, lambda watch: _attempt(context, engine, watch, models))
        # Not before the commit: until then writers of the tables of an upgrade wait.
        with connect(conninfo, autocommit=True) as connection:
            if has_schema(connection):
                connection.execute(query("sweep_migrated"))


def _attempt(context: Any, engine: "Engine", watch: LockWatch, models: list[dict[str, Any]]) -> None:
    """Runs all of it in one transaction."""
    with engine.connect() as connection, connection.begin():
        driver = raw(connection)
        # Whatever the database's default is: else it would not see what another migrator has done before it.
        driver.execute("set transaction isolation level read committed")
        pin_path(driver, in_transaction=True)
        watch.begin(driver)
        _lock_schema(driver)
        check_owners(driver, may_be_missing=True)
        check_extension_owners(driver)
        context.configure(connection=connection, version_table=REVISION_TABLE, version_table_schema="pgembedd")
        if _destination(context) is not None:  # what is there can be removed from any server
            require_server(driver)
        current = context.get_context().get_current_revision()
        refuse_newer(current)
        definitions = Definitions(driver)
        if _destination(context) is None and _has_imports(driver):
            driver.execute(
                "select pgembedd_internal._undo_imports()"
            )  # by the functions that are there before the downgrade
        if _destination(context) not in ("", current):
            _lock_relations(driver)
        context.run_migrations()
        if context.get_context().get_current_revision() is None:
            driver.execute("drop table if exists pgembedd.schema_revision")
            driver.execute("drop schema pgembedd")
        else:
            apply_sql(driver, definitions)
            driver.execute("delete from pgembedd_internal.model")
            driver.execute(query("add_models"), {"models": Jsonb(models)})


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


def _lock_relations(connection: psycopg.Connection) -> None:
    """Locks all that a version may alter, at once and as others do: users' tables, our views, then what they read.

    A version that altered a table first would wait for a reader of a view who waits for that table.
    """
    statements = [statement for (statement,) in connection.execute(query("lock_relations")).fetchall()]
    if statements:
        connection.execute("\n".join(statements).encode())


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
    row = connection.execute("select to_regprocedure('pgembedd_internal._undo_imports()') is not null").fetchone()
    return row == (True,)


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Turns an error that an administrator can fix into a ConfigurationError."""
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as error:
        users = "; ".join((error.diag.message_detail or "").splitlines())
        raise ConfigurationError(f"The migration stopped: {users}. Drop that, and run it again.") from error
    except psycopg.Error as error:
        if not (is_refused_call(error.diag) or isinstance(error, psycopg.errors.FeatureNotSupported)):
            raise
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        sentence = (error.diag.message_primary or "").removesuffix(".")
        raise ConfigurationError(f"The migration stopped: {sentence}.{hint}") from error


def _script(vector_schema: str, *, applied_last: bool) -> bytes:
    """Returns the files of 95_apply/ or the others, with the schema of the extension for `@extschema:vector@`.

    As in an extension's script. The schema is not in the path, as other roles may create objects in it.
    """
    files = [path for path in sql_files() if (path.parent.name == "95_apply") is applied_last]
    script = b"\n;\n".join(path.read_bytes() for path in files)
    return script.replace(b"@extschema:vector@", vector_schema.encode())


def apply_sql(connection: psycopg.Connection, definitions: Definitions) -> None:
    """Puts the functions and views of sql/ in the place of those that are installed, inside the caller's transaction.

    What is to be done with them afterwards, in 95_apply/, finds no other ones, and their rights as they were.
    Bodies are not checked while loading, so a function may come before those that it calls; a test checks them.
    """
    schema = connection.execute(query("vector_schema")).fetchone()
    if schema is None:
        raise SchemaError(
            "The extension vector is gone from this database: run `CREATE EXTENSION vector`, then migrate again."
        )
    connection.execute("set local check_function_bodies to off")
    vector_schema = sql.Identifier(schema[0]).as_string(connection)
    definitions.apply(_script(vector_schema, applied_last=False))
    connection.execute(
        "update pgembedd_internal.installation set sql_digest = %s, sql_applied_at = now()", (sql_digest(),)
    )
    execute_script(connection, _script(vector_schema, applied_last=True))
    connection.execute("set local check_function_bodies to default")

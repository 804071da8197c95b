"""Whose schemas are, asked of the catalogs before anything in them is run.

A role that may create a schema in the database can make one of the name of ours, with functions of its own in it, which
would run with the rights of each role that calls them.
"""

from collections.abc import Iterable

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import ForeignSchemaError, SchemaError

OURS = ("pgembedd", "pgembedd_internal", "pgembedd_code")
# Those of extensions that have one of their own, made by CREATE EXTENSION where it is missing.
_THEIRS = ("pgmq", "net", "cron")


def check_owners(connection: psycopg.Connection, *, may_be_missing: bool = False) -> None:
    """Raises SchemaError where our schema, or what is in it, belongs to a role that is not trusted with our rights.

    And where it is missing, as any role may make it then; for a migration, which makes it, it `may_be_missing`. Here
    and below, the connection's path is pinned.
    """
    for what, owner in foreign(connection, OURS) if may_be_missing else _look(connection, OURS):
        if owner is None:
            raise SchemaError(f"This database has no {what} schema: run `pgembedd migrate`.")
        raise ForeignSchemaError(
            f"The {what} belongs to the role {owner}, whose code would run with your rights: connect as the role that "
            f"installed pgembedd or as the owner of the database; if {owner} installed it, an administrator can run "
            f"`GRANT pgembedd TO {owner}`, and if not, drop it."
        )


def check_extension_owners(connection: psycopg.Connection) -> None:
    """Raises SchemaError where a schema of an extension that we use belongs to such a role."""
    schemas = [name for (name,) in connection.execute(query("extension_schemas"))]
    for what, owner in foreign(connection, (*schemas, *_THEIRS)):
        raise ForeignSchemaError(
            f"The {what} belongs to the role {owner}, whose code would run with your rights: an administrator must "
            "drop it, or give it to a superuser or to the owner of the database."
        )


def foreign(connection: psycopg.Connection, schemas: Iterable[str]) -> list[tuple[str, str]]:
    """Returns what in these schemas belongs to a role that is not trusted, schemas first, and that role."""
    return [(what, owner) for what, owner in _look(connection, schemas) if owner is not None]


def _look(connection: psycopg.Connection, schemas: Iterable[str]) -> list[tuple[str, str | None]]:
    return connection.execute(query("foreign_owner"), {"schemas": list(schemas)}).fetchall()

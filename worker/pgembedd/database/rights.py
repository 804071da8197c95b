"""Rights that a command needs, checked before it starts: an error in one sentence instead of one per attempt."""

import psycopg
from psycopg import sql

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError


def missing_worker_functions(connection: psycopg.Connection) -> int:
    """Returns how many of the functions that a worker calls this role may not call."""
    ((missing,),) = connection.execute(query("worker_functions_missing")).fetchall()
    return int(missing)


def no_rights(connection: psycopg.Connection) -> ConfigurationError:
    """Returns the error for a role that may call nothing of pgembedd's."""
    return _refusal(connection, "may not use pgembedd", worker="a worker", search="searches")


def check_worker_rights(connection: psycopg.Connection) -> None:
    """Raises ConfigurationError unless this role may work the queue."""
    if missing_worker_functions(connection):
        raise _refusal(connection, "may not work the queue", worker="")


def check_event_rights(connection: psycopg.Connection) -> None:
    """Raises ConfigurationError unless this role may read the events."""
    if connection.execute(query("may_read_events")).fetchall() != [(True,)]:
        raise _refusal(connection, "may not read the events", operator="")


def _refusal(connection: psycopg.Connection, lacking: str, **grants: str) -> ConfigurationError:
    """`grants` are those that give the right, each with what it is for."""
    role = connection.info.user
    remedies = [
        f"`{grant_statement(connection, kind, role)}`" + (f" for {use}" if use else "") for kind, use in grants.items()
    ]
    return ConfigurationError(
        f'The role "{role}" {lacking}: as the role that ran the migrations, run {", or ".join(remedies)}.'
    )


def grant_statement(connection: psycopg.Connection, kind: str, role: str) -> str:
    """Returns a call of grant_`kind`(): its argument is a regrole, so the name is quoted as a name and as text."""
    name = sql.Literal(sql.Identifier(role).as_string(connection))
    return f"select pgembedd.grant_{kind}({name.as_string(connection)})"

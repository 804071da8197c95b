"""The server and its extensions."""

from collections.abc import Iterator

import psycopg

from pgembedd.database.extensions import MINIMUM_SERVER, MINIMUM_VECTOR, vector_package
from pgembedd.database.pgmq_checks import numbers, pgmq_problem
from pgembedd.doctor.finding import Finding, rows


def check_server(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports version, database and role, and a server that takes no writes."""
    ((number, version, role, database, superuser, *_),) = rows(connection, "doctor_server")
    about = f'PostgreSQL {version}, database "{database}", role "{role}"' + (" (superuser)" if superuser else "")
    if number < MINIMUM_SERVER * 10_000:
        yield Finding("bad", "server", about, f"pgembedd needs PostgreSQL {MINIMUM_SERVER} or newer.")
    else:
        yield Finding("ok", "server", about)
    ((read_only,),) = connection.execute("select current_setting('transaction_read_only')::boolean").fetchall()
    if read_only:
        remedy = "Connect to the primary, or see to what set default_transaction_read_only; at some hosts a full disk."
        yield Finding("bad", "server", "takes no writes, so nothing can be stored", remedy)


def check_extensions(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports the extensions that are needed or used."""
    found = {row[0]: row[1:] for row in rows(connection, "extension_versions")}
    installed, available, _, _ = found["vector"]
    if installed is None:
        missing = "not on this server" if available is None else "not installed in this database"
        package = f"Install pgvector on the server, in Debian the package {vector_package(connection)}."
        remedy = package if available is None else "CREATE EXTENSION vector;"
        yield Finding("bad", "vector", missing, remedy)
    elif numbers(installed) < MINIMUM_VECTOR:
        yield Finding("bad", "vector", installed, "ALTER EXTENSION vector UPDATE; 0.7 or newer is needed.")
    else:
        yield Finding("ok", "vector", installed)
    version, _, _, plain = found["pgmq"]
    if problem := pgmq_problem(connection):
        yield Finding("bad", "pgmq", *problem)
    elif version or plain:
        yield Finding("ok", "pgmq", version or "installed as SQL")
    else:
        yield Finding("bad", "pgmq", "not installed", "pgembedd migrate")
    yield _optional("pg_cron", found["pg_cron"][0], "the workers run the maintenance on their own timer")
    yield _optional("pg_net", found["pg_net"][0], "only push mode would need it")


def _optional(name: str, version: str | None, without: str) -> Finding:
    return Finding("ok", name, version) if version else Finding("note", name, f"not installed: {without}")

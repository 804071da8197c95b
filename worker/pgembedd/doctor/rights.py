"""The rights of the role that connects, and of those that pgembedd's functions run as."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg import sql

from pgembedd.database.pgmq_checks import pgmq_statements
from pgembedd.database.rights import grant_statement, missing_worker_functions
from pgembedd.doctor.finding import Finding, rows


def check_before_migration(connection: psycopg.Connection) -> Iterator[Finding]:
    """Yields what an administrator has to do before `pgembedd migrate` can work for this role, or gives it all."""
    ((_, _, role, database, superuser, may_create, may_create_roles),) = rows(connection, "doctor_server")
    if superuser:
        return
    if not may_create:
        grant = _text(connection, "grant create on database {} to {};", database, role)
        yield Finding("bad", "rights", "this role may not create schemas here", f"As an administrator: {grant}")
    if statements := pgmq_statements(connection, _text(connection, "{}", role)):
        yield Finding("bad", "rights", "pgmq belongs to another role", f"As an administrator: {statements}")
    lacking = {
        name for name, version, _, trusted, _ in rows(connection, "extension_versions") if not (version or trusted)
    }
    if "vector" in lacking:
        remedy = "As an administrator: create extension vector;"
        yield Finding("bad", "rights", "this role may not install vector", remedy)
    if "dblink" in lacking:
        remedy = "As an administrator: create extension dblink;"
        yield Finding("note", "rights", "this role may not install dblink, which pgembedd.embed() needs", remedy)
    if not may_create_roles:
        grant = _text(connection, "alter role {} createrole;", role)
        text = "this role may not create roles: `pgembedd migrate` goes on without those of pgembedd"
        yield Finding(
            "note", "rights", text, f"As an administrator: {grant} Else the doctor says after it what to make."
        )


def check_rights(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports what this role may do, and what the owner of our functions lacks."""
    yield _use(connection)
    ((owner,),) = rows(connection, "doctor_owner")
    statements = pgmq_statements(connection, owner)
    if statements:
        lacking = f"{owner}, as whom our functions run, lacks rights on pgmq"
        yield Finding("bad", "rights", lacking, f"As an administrator: {statements}")
    for (queue,) in rows(connection, "doctor_queues"):
        before = f"As an administrator: {statements} Then " if statements else ""
        yield Finding("bad", "queue", f"{queue} does not exist", f"{before}pgembedd migrate")


def _use(connection: psycopg.Connection) -> Finding:
    """Returns what this role may do: a role that only searches or operates lacks nothing."""
    ((_, _, role, *_),) = rows(connection, "doctor_server")
    if not (missing := missing_worker_functions(connection)):
        return Finding("ok", "rights", "this role can work the queue")
    grant = f"{grant_statement(connection, 'worker', role)};"
    ((operates, searches),) = rows(connection, "doctor_uses")
    if operates or searches:
        text = f"this role may {'watch, retry and search' if operates else 'search'}, and not work the queue"
        return Finding("note", "rights", text, f"For a worker's role, as the owner: {grant}")
    return Finding("bad", "rights", f"{missing} of the worker's functions are not granted", f"As the owner: {grant}")


def check_role(connection: psycopg.Connection) -> Iterator[Finding]:
    """Reports where the installer's rights are used, as the role without attributes is not to be had; owner only."""
    if rows(connection, "doctor_may_embed") != [(True,)]:
        return
    ((runner, installer, missing),) = rows(connection, "doctor_role")
    if missing or runner == installer:
        text = f"our functions run with the rights of {runner}, and not of a role without any"
        ((*_, superuser, _, _),) = rows(connection, "doctor_server")
        # A superuser's `migrate` runs the statements itself, as after a restore; another installer is no statement.
        by_hand = missing and not (superuser and missing.endswith(";"))
        remedy = f"As an administrator: {missing} Then pgembedd migrate" if by_hand else "pgembedd migrate"
        yield Finding("note", "rights", text, remedy)


def _text(connection: psycopg.Connection, template: LiteralString, *names: str) -> str:
    return sql.SQL(template).format(*[sql.Identifier(name) for name in names]).as_string(connection)

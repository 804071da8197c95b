"""Checks of the pgmq of a database: reasons against it, as migrate and the doctor say it."""

import psycopg

from pgembedd.database.queries import query

MINIMUM_PGMQ = (1, 4, 4)  # the oldest that is tested


def pgmq_problem(connection: psycopg.Connection) -> tuple[str, str] | None:
    """Returns what is wrong with the pgmq that is installed, and the remedy; None where nothing is wrong."""
    ((installed, offered),) = connection.execute(query("pgmq_versions")).fetchall()
    if installed is None or numbers(installed) >= MINIMUM_PGMQ:
        return None
    text = f"{installed} is too old, pgembedd needs 1.4.4 or newer"
    newest = max(offered, key=numbers, default="")
    if numbers(newest) >= MINIMUM_PGMQ:
        return text, f"As an administrator: ALTER EXTENSION pgmq UPDATE TO '{newest}';"
    return text, "Install a newer package of pgmq on the server, then ALTER EXTENSION pgmq UPDATE;"


def pgmq_statements(connection: psycopg.Connection, role: str) -> str:
    """Returns what an administrator has to run so that `role` (a quoted identifier) may keep queues in pgmq, or "".

    Where pgmq belongs to another role, its owner has to grant, and before 1.6, which makes each queue part of the
    extension, to make the queues, too.
    """
    row = connection.execute(query("pgmq_rights"), {"role": role}).fetchone()
    if row is None:  # there is none yet
        return ""
    may_keep, version, is_owner, missing = row
    queues = missing if version is not None and numbers(version) < (1, 6) and not is_owner else []
    statements = [f"select pgmq.create('{queue}'); alter table pgmq.q_{queue} owner to {role};" for queue in queues]
    if not may_keep:
        statements += [
            f"grant usage, create on schema pgmq to {role};",
            f"grant select, insert, update, delete on all tables in schema pgmq to {role};",
        ]
    return " ".join(statements)


def numbers(version: str) -> tuple[int, ...]:
    """Returns `0.8.1` as (0, 8, 1), for comparison."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())

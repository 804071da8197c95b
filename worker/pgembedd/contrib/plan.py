"""What an import would do, said in SQL before it is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from pgembedd.database.connection import is_connection_error
from pgembedd.errors import ConfigurationError


@dataclass(frozen=True)
class Step:
    """One statement; `done` says in words what it did, with {} where its answer goes."""

    statement: sql.Composed
    done: str


@dataclass(frozen=True)
class Plan:
    """All that is to be done about one thing found (`about`), in one transaction; `notes` are to be known as well."""

    about: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Something found that is left alone, and why, in a sentence with its remedy."""

    about: str
    why: str


def create_pipeline(options: Mapping[str, Any]) -> sql.Composed:
    """The call with named arguments, without those that are None."""
    given = [
        sql.SQL("\n    {} => {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in options.items()
        if value is not None
    ]
    return sql.SQL("select pgembedd.create_pipeline({})").format(sql.SQL(",").join(given))


def as_script(connection: psycopg.Connection, plan: Plan) -> list[str]:
    """The lines of a script that does the same."""
    statements = [f"{step.statement.as_string(connection)};" for step in plan.steps]
    return [f"-- {plan.about}", "begin;", *statements, "commit;"]


def execute_plan(connection: psycopg.Connection, plan: Plan) -> list[str] | Refused:
    """Do all of it or nothing; what was done, in words. Refused with the database's own reason where it refuses."""
    done = []
    try:
        with connection.transaction():
            for step in plan.steps:
                cursor = connection.execute(step.statement)
                answer = cursor.fetchone() if cursor.description else None
                done.append(step.done.format(*(answer or ())))
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        parts = (error.diag.message_primary, error.diag.message_hint)
        return Refused(plan.about, " ".join(part for part in parts if part) or type(error).__name__)
    return done


def raise_for_refused(refused: list[Refused], total: int) -> None:
    """ConfigurationError where something was left alone: its reason, or how many of several."""
    if len(refused) == total == 1:
        raise ConfigurationError(f"{refused[0].about} was left alone: {refused[0].why}")
    if refused:
        raise ConfigurationError(f"{len(refused)} of {total} were left alone, each for the reason above.")

"""The plan of an import as SQL statements, and its execution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.queries import query
from pgembedd.errors import refusal_text

LOCK_TIMEOUT = "2s"  # readers and writers of the table stand in line behind us


@dataclass(frozen=True)
class Step:
    """One statement; `done` describes its effect, with {} for its result, or is None where that is not printed."""

    statement: sql.Composed
    done: str | None = None


@dataclass(frozen=True)
class Plan:
    """The steps for one object (`about`), in one transaction; `notes` are printed as well."""

    about: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """An object that is not imported; `why` is a sentence with the remedy."""

    about: str
    why: str


@dataclass(frozen=True)
class Column:
    """A column that vectors are in, or that is to be, of the table `source` (quoted).

    `function` is the content function by its whole name, `typmod` the dimensions or -1, `pipeline` the one that fills
    it, `makes` the dimensions of the model that made the vectors; each is None where it is not known.
    """

    source: str
    function: str | None
    type: str | None
    typmod: int | None
    pipeline: str | None
    distance: str
    free_name: str
    makes: int | None


def find_column(
    connection: psycopg.Connection, schema: str, table: str, column: str, *, function: str = "", made_by: str = ""
) -> Column:
    """Returns what the database knows of a column, of a content function, and of the model that made the vectors."""
    values = {"schema": schema, "table": table, "column": column, "function": function, "model": made_by}
    ((*found,),) = connection.execute(query("import_column"), values).fetchall()
    return Column(*found)


def call(function: str, *arguments: Any, done: str | None = None) -> Step:
    """Returns the step that calls a function."""
    literals = sql.SQL(", ").join(map(sql.Literal, arguments))
    return Step(sql.SQL("select {}({})").format(sql.SQL(function), literals), done)


def create_pipeline(options: Mapping[str, Any]) -> Step:
    """Returns the step that makes a pipeline, with the named options that are not None."""
    given = [
        sql.SQL("\n    {} => {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in options.items()
        if value is not None
    ]
    statement = sql.SQL("select pgembedd.create_pipeline({})").format(sql.SQL(",").join(given))
    queued = "" if options.get("backfill") is False else "; {} rows queued"
    return Step(statement, f'made the pipeline "{options["pipeline"]}"{queued}')


def as_script(connection: psycopg.Connection, plan: Plan) -> list[str]:
    """Returns the lines of an equivalent script."""
    statements = [f"{step.statement.as_string(connection)};" for step in plan.steps]
    return [f"-- {plan.about}", "begin;", *statements, "commit;"]


def execute_plan(connection: psycopg.Connection, plan: Plan) -> list[str] | Refused:
    """Executes the plan in one transaction; returns the effects in words, or the database's reason to refuse."""
    done = []
    try:
        with connection.transaction():
            connection.execute(query("limit_waits"), {"lock_timeout": LOCK_TIMEOUT})
            connection.execute(query("own_path"))  # which create_pipeline() keeps for the content function
            for step in plan.steps:
                cursor = connection.execute(step.statement)
                answer = cursor.fetchone() if cursor.description else None
                if step.done is not None:
                    done.append(step.done.format(*(answer or ())))
    except psycopg.errors.LockNotAvailable:
        why = "other transactions use its table (pg_stat_activity shows them): end them, or try again later."
        return Refused(plan.about, why)
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        return Refused(plan.about, refusal_text(error.diag) or type(error).__name__)
    return done

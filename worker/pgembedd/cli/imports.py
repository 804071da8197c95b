"""`pgembedd import`"""

from collections.abc import Callable

import click
import psycopg

from pgembedd.cli.options import database_option, open_connection
from pgembedd.contrib.pgai import Options, plan, read_catalogue
from pgembedd.contrib.plan import Plan, Refused, as_script, execute_plan
from pgembedd.contrib.supabase import find_plans, find_undo_plans, options_of
from pgembedd.errors import ConfigurationError
from pgembedd.model.specs import resolve

Command = Callable[..., None]


@click.group("import")
def command() -> None:
    """Import pipelines from another project, with their vectors."""


def _shared(command: Command) -> Command:
    for option in (
        click.option(
            "--model", metavar="NAME", help="Embed the rows again with this model, into a new column or table."
        ),
        click.option("--dry-run", is_flag=True, help="Print the SQL that it would run, and change nothing."),
        database_option,
    ):
        command = option(command)
    return command


@command.command("supabase")
@_shared
@click.option("--made-by", metavar="NAME", default="gte-small", show_default=True, help="What the vectors are of.")
@click.option("--undo", is_flag=True, help="Put the guide's triggers and its waiting jobs back.")
def supabase(database: str | None, dry_run: bool, model: str | None, made_by: str, undo: bool) -> None:
    """Pipelines in the place of the triggers of Supabase's guide to automatic embeddings."""
    if undo and model is not None:
        raise ConfigurationError("--undo takes no --model: it undoes what was imported without one.")
    options = options_of(made_by, model)
    with open_connection(database) as connection:
        plans = list(find_undo_plans(connection) if undo else find_plans(connection, options))
        if not plans and undo:
            raise ConfigurationError("There is nothing to undo: no trigger of the guide was replaced here.")
        if not plans:
            raise ConfigurationError("There is no trigger here that calls queue_embeddings(), as the guide's do.")
        _run_plans(connection, plans, dry_run)


@command.command("pgai")
@click.argument("vectorizers", nargs=-1)
@_shared
@click.option("--drop-vectorizer", is_flag=True, help="Remove pgai's trigger, queue and entry; its vectors stay.")
def pgai(
    vectorizers: tuple[str, ...], database: str | None, dry_run: bool, model: str | None, drop_vectorizer: bool
) -> None:
    """Pipelines for pgai's VECTORIZERS, by name or number; for all of them where none is named."""
    options = Options(None if model is None else resolve(model), drop_vectorizer)
    with open_connection(database) as connection:
        found = read_catalogue(connection)
        if not found:
            raise ConfigurationError("There is no vectorizer here: ai.vectorizer is empty, or is not in this database.")
        names = {name for each in found for name in (each.name, str(each.id))}
        if unknown := [name for name in vectorizers if name not in names]:
            known = ", ".join(each.name for each in found)
            raise ConfigurationError(f"There is no vectorizer {unknown[0]}; there are: {known}.")
        chosen = [each for each in found if not vectorizers or {each.name, str(each.id)} & set(vectorizers)]
        _run_plans(connection, [plan(connection, each, options) for each in chosen], dry_run)


def _run_plans(connection: psycopg.Connection, plans: list[Plan | Refused], dry_run: bool) -> None:
    """Executes the plans, or prints them. ConfigurationError where one was refused: its reason, or how many were."""
    refused = []
    for each in plans:
        outcome = each if isinstance(each, Refused) else _run_plan(connection, each, dry_run)
        if isinstance(outcome, Refused):
            refused.append(f"{outcome.about} was left alone: {outcome.why}")
    if len(refused) == len(plans) == 1:
        raise ConfigurationError(refused[0])
    for sentence in refused:
        click.echo(sentence, err=True)
    if refused:
        raise ConfigurationError(f"{len(refused)} of {len(plans)} were left alone, each for the reason above.")


def _run_plan(connection: psycopg.Connection, plan: Plan, dry_run: bool) -> Refused | None:
    """Executes the plan and says what was done, or prints its script; returns the database's refusal."""
    if dry_run:
        first, *statements = as_script(connection, plan)
        click.echo("\n".join([first, *(f"-- {note}" for note in plan.notes), *statements, ""]))
        return None
    done = execute_plan(connection, plan)
    if isinstance(done, Refused):
        return done
    click.echo("\n".join([f"{plan.about}:", *(f"  {line}" for line in (*done, *plan.notes))]))
    return None

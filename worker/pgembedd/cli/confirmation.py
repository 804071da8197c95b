"""Asks before a command deletes what cannot be had back."""

import sys

import click

from pgembedd.errors import ConfigurationError

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def confirm(what: str, *, yes: bool) -> None:
    """Asks on the terminal whether to do `what`, unless `yes`; a no ends the command with exit code 1.

    ConfigurationError without a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{what} There is no terminal to ask at: add --yes.")
    if not click.confirm(f"{what} Go on?", err=True):
        click.echo("Nothing was removed.", err=True)
        raise click.exceptions.Exit(1)

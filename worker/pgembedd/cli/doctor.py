"""`pgembedd doctor`"""

import click

from pgembedd.cli.options import database_option, open_database, settings_options
from pgembedd.database.connect import connect
from pgembedd.doctor import examine
from pgembedd.model.files.cache import cache_root
from pgembedd.settings import Settings

MARKS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "red")}


@click.command("doctor")
@database_option
@settings_options("device")
@click.option("--quiet", "-q", is_flag=True, help="Only what is bad.")
def command(database: str | None, settings: Settings, quiet: bool) -> None:
    """Check everything pgembedd stands on; each line is ok or says what to do. Exit code 1 when something is bad."""
    bad = 0
    with open_database(database) as conninfo, connect(conninfo, autocommit=True) as connection:
        for finding in examine(connection, cache_root(None), settings.device):
            bad += finding.level == "bad"
            if quiet and finding.level != "bad":
                continue
            mark, color = MARKS[finding.level]
            click.echo(f"{click.style(mark, fg=color)}  {finding.about}: {finding.text}")
            if finding.remedy:
                click.echo(f"      → {finding.remedy}")
    raise click.exceptions.Exit(1 if bad else 0)

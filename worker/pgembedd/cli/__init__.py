"""The command line: a thin layer over the SQL interface and the worker.

Exit codes: 0 done · 1 something failed · 2 a setting, an argument or a missing right · 3 the database cannot be
reached · 4 the schema is missing, older or newer · 5 the model is missing, damaged or another ·
6 verify found wrong vectors ·
7 eval found a worse search than its baseline · 130 interrupted.
"""

import ast
import io
import os
import signal
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files

import click

from pgembedd.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    PgembeddError,
    SchemaError,
    is_refused_call,
    refusal_text,
)

NAMES = (
    *("migrate", "up", "run", "serve", "health", "demo", "status", "events", "truncated", "search", "ask"),
    *(
        "try",
        "eval",
        "mcp",
        "parse",
        "backfill",
        "retry",
        "verify",
        "index",
        "import",
        "model",
        "doctor",
        "postgres",
        "uninstall",
    ),
)
COMMANDS = {name: name for name in NAMES} | {"import": "imports", "try": "try_table"}
"""The module of each command, in the order of the help."""

_WHOM_TO_ASK = "Ask the role that ran `pgembedd migrate` for it: {} lists them by role."


class LazyGroup(click.Group):
    """Loads a command's module, and with it all that it needs, when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"pgembedd.cli.{COMMANDS[cmd_name]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the commands with the help that is in their source: to import them all takes half a second."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _help_of(module).get_short_help_str(limit)) for name, module in COMMANDS.items()]
            )


def _help_of(module: str) -> click.Command:
    """Returns a command with the docstring of the function `command` of a module here, which is not imported."""
    tree = ast.parse(files("pgembedd.cli").joinpath(f"{module}.py").read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "command"]
    return click.Command(module, help=ast.get_docstring(function))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("pgembedd"), prog_name="pgembedd")
def cli() -> None:
    """The embedding daemon for Postgres: every row gets an embedding that stays up to date.

    The database is the one of DATABASE_URL, or of libpq's own variables (PGHOST, PGDATABASE, ...); without any,
    a private Postgres in ./.pgembedd. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 database not
    reached, 4 schema, 5 model, 6 wrong vectors found, 7 worse search than the baseline.
    """


def main() -> None:
    """Entry point: an error that a user can fix is one sentence, not a traceback."""
    escape_unencodable()
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second signal ends the process while Python waits for threads
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        _hint_at_dashes(error)
        sys.exit(error.exit_code)
    except PgembeddError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        discard_output()
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", 1)
    except Exception as error:
        said = database_error(error)
        if said is None:
            raise
        fail(*said)


def _hint_at_dashes(error: click.ClickException) -> None:
    """Says how a text that begins with a dash is given, where one was taken for an option."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        first = next((one for one in error.ctx.command.params if isinstance(one, click.Argument)), None)
        if first is not None and first.name in ("text", "question"):
            click.echo(f'A text that begins with - goes after --: {error.ctx.command_path} -- "-…"', err=True)


def escape_unencodable() -> None:
    """Writes a character that the terminal's encoding lacks as its number instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discards unwritten output, so that Python does not fail on it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(sentence: str, exit_code: int) -> None:
    """Prints one sentence and exits."""
    click.echo(f"pgembedd: {sentence}", err=True)
    sys.exit(exit_code)


def database_error(error: Exception) -> tuple[str, int] | None:
    """Returns the message of Postgres with its hint, and the exit code; None for an error of another kind.

    The code is 2 for a refused call, 3 for a lost connection, 4 for a function that is missing, else 1.
    """
    import psycopg

    from pgembedd.database.connection_errors import is_connection_error
    from pgembedd.database.schema_check import LACKING, lacks_function

    if not isinstance(error, psycopg.Error):
        return None
    if lacks_function(error):
        return LACKING, SchemaError.exit_code
    sentence = refusal_text(error.diag) or str(error).strip() or type(error).__name__
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and not error.diag.message_hint:
        from pgembedd.settings.documentation import page

        return f"{sentence}. {_WHOM_TO_ASK.format(page('how-to/rights.md'))}", ConfigurationError.exit_code
    if is_refused_call(error.diag):
        return sentence, ConfigurationError.exit_code
    return sentence, DatabaseUnavailableError.exit_code if is_connection_error(error) else 1

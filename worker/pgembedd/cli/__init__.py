"""The command line: a thin layer over the SQL interface and the worker.

Exit codes: 0 done · 1 something failed · 2 a setting, an argument or a missing right · 3 the database cannot be
reached · 4 the schema is missing, older or newer · 5 the model is missing, damaged or another ·
6 verify found wrong vectors ·
7 eval found a worse search than its baseline · 130 interrupted.
"""

import io
import os
import signal
import sys
from importlib import import_module
from importlib.metadata import version

import click

from pgembedd.errors import ConfigurationError, DatabaseUnavailableError, PgembeddError, SchemaError

# Name → module: a command is imported when it is called, so that `pgembedd status` loads no model library.
COMMANDS = {
    "migrate": "migrate",
    "up": "up",
    "run": "run",
    "serve": "serve",
    "health": "health",
    "demo": "demo",
    "status": "status",
    "events": "events",
    "truncated": "truncated",
    "search": "search",
    "ask": "ask",
    "eval": "eval",
    "mcp": "mcp",
    "backfill": "backfill",
    "retry": "retry",
    "verify": "verify",
    "index": "index",
    "import": "imports",
    "model": "model",
    "doctor": "doctor",
    "postgres": "postgres",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"pgembedd.cli.{COMMANDS[cmd_name]}").command
        return command


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
        code = cli.main(standalone_mode=False) or 0
        sys.stdout.flush()  # here, where an error becomes a sentence
        sys.exit(code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second signal ends the process while Python waits for threads
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        _hint_at_dashes(error)
        sys.exit(error.exit_code)
    except PgembeddError as error:
        fail(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        discard_output()
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", 1)
    except Exception as error:
        sentence = database_sentence(error)
        if sentence is None:
            raise
        fail(sentence, _exit_code(error))


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


def _exit_code(error: Exception) -> int:
    """Returns 2 for a refused argument or right, 3 for a lost connection, 4 for a function that is missing, else 1."""
    import psycopg

    from pgembedd.database.connection_errors import is_connection_error
    from pgembedd.database.schema_check import lacks_function

    if isinstance(error, psycopg.errors.InvalidParameterValue | psycopg.errors.InsufficientPrivilege):
        return ConfigurationError.exit_code
    if lacks_function(error):
        return SchemaError.exit_code
    return DatabaseUnavailableError.exit_code if is_connection_error(error) else 1


def database_sentence(error: Exception) -> str | None:
    """Returns the message of Postgres with its hint; None for an error of another kind."""
    import psycopg

    from pgembedd.database.schema_check import LACKING, lacks_function

    if not isinstance(error, psycopg.Error):
        return None
    if lacks_function(error):
        return LACKING
    message = error.diag.message_primary or str(error).strip() or type(error).__name__
    hint = error.diag.message_hint
    if hint is None and isinstance(error, psycopg.errors.InsufficientPrivilege):
        message, hint = (
            f"{message}.",
            "Ask the role that ran `pgembedd migrate` for it: docs/how-to/rights.md lists them by role.",
        )
    return f"{message} {hint}" if hint else message

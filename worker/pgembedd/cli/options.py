"""Shared by the commands: the database option, settings as options, opening the database."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import Field, fields
from datetime import datetime
from functools import cache, wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import psycopg

from pgembedd.errors import ConfigurationError
from pgembedd.search.options import SearchOptions, options_of
from pgembedd.settings import HttpSettings, Settings, text_from_environment, variables_of
from pgembedd.settings.conninfo import check_conninfo, conninfo_from_environment

Command = Callable[..., Any]

if TYPE_CHECKING:
    from pgembedd.database.connect import PinnedConnection
    from pgembedd.model.embedder import Embedder


def database_option(command: Command) -> Command:
    """Adds `--database`, which takes precedence over the environment."""
    return click.option(
        "--database",
        "-d",
        metavar="URL",
        callback=_check_database,
        help="Connection string; default: DATABASE_URL, libpq's variables, else the private Postgres in ./.pgembedd.",
    )(command)


def _check_database(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    return given if given is None else check_conninfo(given, "--database")


http_option = click.option(
    "--http",
    "with_http",
    is_flag=True,
    envvar="PGEMBEDD_HTTP",
    show_envvar=True,
    help="Answer HTTP as well, as `pgembedd serve` does.",
)


def timeout_option(help_text: str) -> Callable[[Command], Command]:
    """Adds `--timeout-s`, the seconds to wait for a next part of an answer; the command gets `timeout_s`."""
    limits = FiniteRange(1, 3600)
    return click.option("--timeout-s", type=limits, default=120, show_default=True, help=help_text)


def print_json(value: dict[str, Any]) -> None:
    """Prints an object on one line, times in ISO 8601. Durations are numbers of seconds in fields that end in _s."""
    click.echo(json.dumps(value, default=_json_value, ensure_ascii=False))


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value)


def settings_options(*only: str) -> Callable[[Command], Command]:
    """Adds fields of Settings, all or `only` these, as options with their variables; the command gets `settings`."""
    return _options(Settings, "settings", only)


def http_options(*only: str) -> Callable[[Command], Command]:
    """Adds fields of HttpSettings likewise, but secrets as variables alone; the command gets `http`."""
    return _options(HttpSettings, "http", only)


def _options(kind: "type[Settings | HttpSettings]", argument: str, only: Sequence[str]) -> Callable[[Command], Command]:
    chosen = [field for field in fields(kind) if not only or field.name in only]
    secret = [field for field in chosen if field.metadata["secret"]]
    # Those of language models, which HttpSettings inherits, come last.
    options = sorted((f for f in chosen if f not in secret), key=lambda f: not f.name.startswith("http_"))

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_settings(*args: Any, **values: Any) -> Any:
            given: dict[str, Any] = {field.name: values.pop(field.name) for field in options}
            given |= {field.name: text_from_environment(field) for field in secret}
            made = kind(**given)
            if isinstance(made, HttpSettings):
                made = made.with_secrets()
            return command(*args, **{argument: made}, **values)

        wrapped: Command = with_settings
        for field in reversed(options):
            wrapped = click.option(
                "--" + field.name.replace("_", "-"),
                type=_type(field),
                default=field.default,
                envvar=variables_of(field),
                show_default=field.default != "",
                show_envvar=True,
                help=field.metadata["help"],
            )(wrapped)
        return wrapped

    return decorate


class Json(click.ParamType[Any]):
    """A value as JSON."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Converts from JSON; a usage error for what is none."""
        try:
            return json.loads(value)
        except ValueError as error:
            self.fail(f"""{value!r} is no JSON ({error}); for example '{{"year": {{"$gte": 2020}}}}'.""", param, ctx)


FEW = 5
"""Hits for a terminal."""
_SHORT = {"k": ("-n",)}
_TYPES: dict[Any, Any] = {int: int, float: float, str: str, UUID: UUID, Sequence[str]: str}


def search_options(command: Command) -> Command:
    """Adds the options of a search, but for its vector."""
    return declared_options(SearchOptions, {"k": FEW})(command)


def declared_options(
    declared: type, defaults: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Command], Command]:
    """Adds options that are declared for all surfaces, but for a vector, with some other `defaults`."""

    def decorate(command: Command) -> Command:
        for name, (kind, option) in reversed(options_of(declared).items()):
            if name == "embedding":
                continue
            default = defaults.get(name, option.default)
            command = click.option(
                f"--{name.replace('_', '-')}",
                *_SHORT.get(name, ()),
                name,
                type=click.Choice(option.choices) if option.choices else _TYPES.get(kind, Json()),
                nargs=max(option.members, 1),
                default=default,
                show_default=default is not None,
                help=option.help,
            )(command)
        return command

    return decorate


class IntegerRange(click.IntRange):
    """A range that says of other text that it is no integer."""

    name = "integer"


class FiniteRange(click.FloatRange):
    """A range that rejects "nan", which passes every comparison."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Converts to a number; a usage error for "nan"."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def _type(field: "Field[Any]") -> click.ParamType[Any]:
    if choices := field.metadata["choices"]:
        return click.Choice(choices)
    if isinstance(field.default, int):
        return IntegerRange(*field.metadata["bounds"])
    return FiniteRange(*field.metadata["bounds"]) if isinstance(field.default, float) else click.STRING


@contextmanager
def open_database(given: str | None, *, create: bool = False) -> Iterator[str]:
    """Yields a connection string: given, from the environment, or of the private Postgres, which it starts and stops.

    With `create` a missing private Postgres is created; without it, ConfigurationError. A command logs what is at
    least a warning, to standard error, unless its settings say otherwise.
    """
    from pgembedd.log import configure_logging

    configure_logging(log_level="warning")
    conninfo = given if given is not None else conninfo_from_environment()
    if conninfo is not None:
        yield conninfo
        return
    from pgembedd.embedded_postgres import EmbeddedPostgres, default_data_dir

    data_dir = default_data_dir()
    if not create and not data_dir.exists():
        raise ConfigurationError(
            "No database is named: set DATABASE_URL (or PGHOST and its like), or run `pgembedd up`, "
            "which makes a private Postgres."
        )
    with EmbeddedPostgres(data_dir) as server:
        yield server.conninfo()


@contextmanager
def open_connection(given: str | None) -> Iterator["PinnedConnection"]:
    """Opens a connection in autocommit to a database with this version's schema."""
    from pgembedd.database.connect import connect
    from pgembedd.database.schema_check import check_schema

    with open_database(given) as conninfo, connect(conninfo, autocommit=True) as connection:
        check_schema(connection)
        yield connection


@contextmanager
def open_models(
    given: str | None, settings: Settings
) -> "Iterator[tuple[PinnedConnection, Callable[[str], Embedder]]]":
    """Opens a connection likewise; yields it, and what loads each model once. The models are closed at the end."""
    from pgembedd.database.provider_use import ProviderUse
    from pgembedd.loop.model_loader import loader

    with (
        open_database(given) as conninfo,
        open_connection(conninfo) as connection,
        closing(ProviderUse(conninfo)) as ledger,
        ExitStack() as loaded,
    ):
        load = loader(settings, ledger=ledger)
        yield connection, cache(lambda name: loaded.enter_context(closing(load(name))))


def describe(conninfo: str) -> str:
    """Returns name and host of the database, without a password."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    name = parts.get("dbname") or os.environ.get("PGDATABASE") or parts.get("user") or os.environ.get("PGUSER") or "?"
    host = parts.get("host") or os.environ.get("PGHOST") or "the local socket"
    return f'"{name}" at {host}'

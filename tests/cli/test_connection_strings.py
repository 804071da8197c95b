"""Malformed connection strings: refused before a connection is tried, in a sentence that names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
import pytest

from pgembedd import Database, SearchError
from pgembedd.cli import cli
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.errors import ConfigurationError, DatabaseUnavailableError
from pgembedd.settings.conninfo import check_conninfo, conninfo_from_environment, read_conninfo
from tests.support.command import pgembedd

CONFIGURATION = 2
FORM = "write postgresql://user@host:5432/database, or key=value pairs of libpq"
NO_PORT = "X names a port that is no number from 1 to 65535"


def commands(group: click.Group = cli, *before: str) -> Iterator[list[str]]:
    """The commands that take a database, with arguments for those that need some."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        elif any(option.name == "database" for option in command.params):
            needed = [one for one in command.params if isinstance(one, click.Argument) and one.required]
            options = [one for one in command.params if isinstance(one, click.Option) and one.required]
            given = [part for one in options for part in (one.opts[0], str(one.name))]
            yield [*before, name, *given, *(str(one.human_readable_name) for one in needed)]


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_refuses_one_that_is_none(command: list[str], tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "words", "relevant": [1]}')
    command = [str(questions) if argument == "QUESTIONS" else argument for argument in command]
    nowhere = str(tmp_path / "never made")
    given = pgembedd(*command, "--database", "mysql://me:hush@host/db", PGEMBEDD_POSTGRES_DIR=nowhere).refused(
        CONFIGURATION
    )
    assert given == f"pgembedd: --database cannot be read: {FORM}."
    by_variable = pgembedd(
        *command, database="postgresql://me:hush@host:abc/db", PGEMBEDD_POSTGRES_DIR=nowhere
    ).refused(CONFIGURATION)
    assert by_variable.startswith("pgembedd: DATABASE_URL names a port")
    assert (
        pgembedd(*command, "-d", "", PGEMBEDD_POSTGRES_DIR=nowhere).refused(CONFIGURATION)
        == f"pgembedd: --database is empty: {FORM}."
    )
    assert pgembedd(*command, database="", PGEMBEDD_POSTGRES_DIR=nowhere).refused(CONFIGURATION) == (
        f"pgembedd: DATABASE_URL is empty: {FORM}, or unset it."
    )
    assert not Path(nowhere).exists()


@pytest.mark.parametrize(
    ("conninfo", "sentence"),
    [
        ("", "X is empty"),
        (" \n", "X is empty"),
        ("postgres//me:hush@host/db", "X cannot be read: write"),
        ("'postgresql://me:hush@host/db'", "X cannot be read: write"),
        ("postgresql+psycopg://me:hush@host/db", "X cannot be read: write"),
        ("postgresql://me:hu sh@host/db", "X cannot be read: write"),
        ("postgresql://me:hush%@host/db", "X cannot be read: write"),
        ("host=host password='hush", "X cannot be read: write"),
        ("host=host pasword=hush", "X cannot be read, as libpq has no parameter pasword: write"),
        ("password=hu sh=x", "X cannot be read: write"),
        ("postgresql://me:hush@host/db?pgbouncer=true", "X cannot be read, as libpq has no parameter pgbouncer: write"),
        ("postgresql://me:hu@sh@host/db", "X cannot be read: in a user's name or a password write @ as %40"),
        ("postgresql://me:hu/sh@host/db", "X cannot be read: in a user's name or a password write @ as %40"),
        ("postgresql://me:hush@host:abc/db", NO_PORT),
        ("postgresql://me:hush@host:99999/db", NO_PORT),
        ("postgresql://me:hush@one:5432,two:0/db", NO_PORT),
        ("host=host port=-1 password=hush", NO_PORT),
        ("postgresql://host?hush", "X cannot be read: write"),
        ("postgresql://host/db?connect_timeout=soon", "X names a connect_timeout that is no number of seconds"),
    ],
)
def test_the_sentence_names_the_setting_and_never_the_password(conninfo: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_conninfo(conninfo, "X")
    assert str(refused.value).startswith(sentence)
    assert not any(piece in str(refused.value) for piece in ("hush", "hu", " sh", "mysql", "abc"))
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://",
        "postgres:///db?host=@abstract",
        "postgresql://me:hu%40sh@host/db?application_name=a@b",
        "postgresql://me@one:5432,two/db",
        "host=one,two port=5432, password=p@s/s",
        "port=' 5432 '",
        "service=x",
    ],
)
def test_what_libpq_takes_is_taken(conninfo: str) -> None:
    assert check_conninfo(conninfo, "X") == conninfo


def test_the_setting_is_the_variable_that_it_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "credential"
    path.write_text("mysql://me:hush@host/db\n")
    monkeypatch.setenv("PGPORT", "abc")
    with pytest.raises(ConfigurationError, match=r"^PGPORT names a port"):
        conninfo_from_environment()
    with pytest.raises(ConfigurationError, match=r"^PGPORT names a port"):
        read_conninfo("host=x")
    assert read_conninfo("host=x port=5433") == {"host": "x", "port": "5433"}
    monkeypatch.setenv("DATABASE_URL_FILE", str(path))
    with pytest.raises(ConfigurationError, match=f"^The file {path} named by DATABASE_URL_FILE cannot be read"):
        conninfo_from_environment()
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL cannot be read"):
        conninfo_from_environment()
    with pytest.raises(SearchError, match=r"^DATABASE_URL cannot be read"):
        Database()


def test_a_program_is_told_the_same() -> None:
    with Database("mysql://me:hush@host/db") as database, pytest.raises(SearchError, match="cannot be read") as refused:
        database.pipelines()
    assert "hush" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        migrate("postgresql://me:hu@sh@host/db")


def test_what_libpq_refuses_itself_keeps_its_reason() -> None:
    with pytest.raises(DatabaseUnavailableError, match='invalid sslmode value: "bogus"') as refused:
        connect("host=127.0.0.1 port=1 sslmode=bogus")
    assert isinstance(refused.value.__cause__, psycopg.OperationalError)

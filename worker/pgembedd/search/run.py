"""Runs the calls on a connection of the caller's, and makes one exception of what Postgres says."""

import json
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, Unpack

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import dict_row

from pgembedd.database.schema_check import lacks_function
from pgembedd.errors import SearchError, is_refused_call
from pgembedd.search.calls import Call, Result, search_call
from pgembedd.search.hits import Hits
from pgembedd.search.options import SearchOptions

MAX_DIGITS = 4000  # Python converts no longer text to a number


def search(
    connection: psycopg.Connection[Any], pipeline: str, query: str | None, **options: Unpack[SearchOptions]
) -> Hits:
    """Searches over a connection of the caller's, within its transaction if there is one. SearchError."""
    return Hits(*run_with_notices(connection, search_call(pipeline, query, options)))


class AsCaller(Protocol):
    """Runs work on a connection that has the caller's rights; in a transaction, where query vectors are made here."""

    def __call__(self, work: Callable[[psycopg.Connection], Result], /) -> Result: ...


def in_transactions(connection: psycopg.Connection) -> AsCaller:
    """Returns what runs each work in a transaction of the connection."""

    def run_as(work: Callable[[psycopg.Connection], Result]) -> Result:
        with connection.transaction():
            return work(connection)

    return run_as


def run_with_notices(connection: psycopg.Connection[Any], call: Call[Result]) -> tuple[Result, list[str]]:
    """Returns the call's result and what Postgres notes meanwhile. SearchError."""
    notices: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        notices.append(diagnostic.message_primary or "")

    connection.add_notice_handler(note)
    try:
        return run(connection, call), notices
    finally:
        connection.remove_notice_handler(note)


def run(connection: psycopg.Connection[Any], call: Call[Result]) -> Result:
    """Returns the call's result. SearchError for all that Postgres refuses or cannot do."""
    try:
        with connection.cursor(row_factory=dict_row) as cursor:
            for name in ("json", "jsonb"):
                cursor.adapters.register_loader(name, _JsonLoader)
            return call.read(cursor.execute(call.statement, call.values).fetchall())
    except psycopg.Error as error:
        raise_search_error(error)
    except UnicodeError as error:
        raise SearchError(
            f"The search has a character that the encoding of its connection, {connection.info.encoding}, lacks.",
            "Connect with client_encoding=utf8.",
            psycopg.errors.UntranslatableCharacter.sqlstate,
            refused=True,
        ) from error


def raise_search_error(error: psycopg.Error) -> NoReturn:
    """Raises the error as SearchError, in Postgres's words."""
    sentence = error.diag.message_primary or next(iter(str(error).strip().splitlines()), type(error).__name__)
    hint = error.diag.message_hint
    if lacks_function(error):  # Postgres hints at the types of arguments
        hint = "Is this version's schema there (`pgembedd migrate`), and may the role search (grant_search())?"
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and hint is None:
        hint = (
            "A role that searches needs pgembedd.grant_search(), one that asks pgembedd.grant_ask(), and both need "
            "SELECT on the source."
        )
    ended = sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
    # A character that the database's encoding lacks is one of the call's, which is converted first.
    is_refused = is_refused_call(error.diag) or isinstance(error, psycopg.errors.UntranslatableCharacter)
    raise SearchError(ended, hint, error.sqlstate, refused=is_refused) from error


def _integer(text: str) -> int | str:
    return int(text) if len(text) < MAX_DIGITS else text


class _JsonLoader(Loader):
    """Reads JSON in the encoding of the caller's connection."""

    def load(self, data: Buffer) -> Any:
        encoding = "utf-8" if self.connection is None else self.connection.info.encoding
        text = bytes(data).decode("utf-8" if encoding == "ascii" else encoding)
        return json.loads(text, parse_int=_integer)

"""The options of the operations, and their SQL. Values in, text out; no database.

An option that is not given is not written either: the database's own default holds. Names and types are those of the
functions in sql/.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from alembic.util import CommandError

from pgembedd.errors import ConfigurationError

_WANTED = {
    "text": "a string",
    "text[]": "a list of strings",
    "integer": "an integer",
    "boolean": "True or False",
    "double precision": "a number",
    "interval": "a timedelta, or a string that Postgres reads as an interval",
    "jsonb": "a dictionary that JSON can hold",
}


class OperationError(ConfigurationError, CommandError):
    """An invalid option or call. alembic prints a CommandError as one sentence, without a traceback."""


@cache
def options_of(function: str) -> dict[str, str]:
    """Returns the SQL types, by name, of the parameters with defaults of a function in sql/."""
    from pgembedd.database.own_version import sql_files

    start = f"create or replace function pgembedd.{function}("
    (text,) = [text for path in sql_files() if start in (text := path.read_text(encoding="utf-8"))]
    signature = text.split(start, 1)[1].split(") returns ", 1)[0]
    return dict(re.findall(r"(\w+) (\w+(?: precision|\[\])?) default ", signature))


def checked(operation: str, options: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Returns the options; OperationError for an unknown option or a value of another type."""
    for name, value in options.items():
        if name not in known:
            raise OperationError(f"{operation}() has no option {name!r}: {_instead(name, known)}")
        literal(operation, name, known[name], value)
    return dict(options)


def _instead(name: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}."


def literal(operation: str, name: str, type_: str, value: Any) -> str:
    """Returns the value in SQL; None is null. OperationError, which names the option, for a value of another type."""
    if value is None:
        return "null"
    if type_ == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if type_ == "boolean" and isinstance(value, bool):
        return str(value).lower()
    if type_ == "double precision" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"'{value}'::double precision"
    if type_ == "text" and _is_text(value):
        return _quoted(value)
    if type_ == "text[]" and isinstance(value, list | tuple) and all(map(_is_text, value)):
        return f"array[{', '.join(map(_quoted, value))}]::text[]"
    if type_ == "interval" and (isinstance(value, timedelta) or _is_text(value)):
        return f"{_quoted(_interval(value))}::interval"
    if type_ == "jsonb" and (written := _json(value)) is not None:
        return f"{_quoted(written)}::jsonb"
    raise OperationError(f"{operation}() takes {_WANTED[type_]} for {name!r}, not {value!r}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value  # Postgres has no NUL in text


def _json(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None


def _interval(value: timedelta | str) -> str:
    if isinstance(value, str):
        return value
    # Each part as an integer: timedelta keeps them so, and a sum in floating point would not be exact.
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


# alembic writes a tab as four spaces in its scripts, and a backslash means one thing or another by a server's
# settings: both are escaped, and line ends as well, so that a script may be edited and sent through anything.
_ESCAPES = {"'": "''", "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _quoted(text: str) -> str:
    prefix = "E" if any(character in text for character in "\\\t\n\r") else ""
    return f"{prefix}'{''.join(_ESCAPES.get(character, character) for character in text)}'"


def call(function: str, arguments: Mapping[str, str]) -> str:
    """Returns a statement that calls a function of ours with named arguments, whose values are SQL."""
    written = ",\n    ".join(f"{name} => {value}" for name, value in arguments.items())
    return f"select pgembedd.{function}(\n    {written})"

"""Loads every statement that the worker and the command line run, from `statements/`: `-- name: x` starts one.

`{interface}` is this program's, which sql/ has.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString

from psycopg import sql

from pgembedd.database.own_version import INTERFACE

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def _all() -> dict[str, LiteralString]:
    folder = files("pgembedd.database").joinpath("statements")
    text = "".join(each.read_text(encoding="utf-8") for each in folder.iterdir())
    parts = _NAME.split(text)
    # Of our own files: as literal as the rest.
    return {
        name: body.strip().replace("{interface}", f"n{INTERFACE}")
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def query(name: str) -> LiteralString:
    """Returns the statement of that name. KeyError for an unknown name."""
    return _all()[name]


def literal(value: Any) -> str:
    """Returns the value as SQL has it, for a statement that a reader runs."""
    return sql.Literal(value).as_string(None).strip()

"""A finding of the doctor, and the statements that it runs."""

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from pgembedd.database.queries import query

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: `note` is informative, `bad` keeps pgembedd from working; `remedy` is the fix."""

    level: Level
    about: str
    text: str
    remedy: str = ""


def rows(connection: psycopg.Connection, name: str) -> list[tuple[Any, ...]]:
    """Returns the rows of a named statement."""
    return connection.execute(query(name)).fetchall()

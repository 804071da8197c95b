"""What a program calls in a database: its named statements, described by Postgres, and the routines it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support.sql import rows

# Statements of commands, which refuse in a sentence what they do not find, and of the migration itself.
OF_COMMANDS = re.compile(r"doctor_|import_|verify_|index_|indexes_|drop_unfinished|tend_indexes|\w+_definitions?$")
# Statements whose columns are read by their names: later ones may follow.
READ_BY_NAME = {"status"}
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_CALLED_BY_NAME = re.compile(r"pgembedd(?:_internal)?\.(\w+)\(\{arguments\}\)")
_ROUTINES = """
    select p.proname::text, pg_get_function_result(p.oid),
           array(select n || ' ' || t::text from unnest(p.proargnames[:p.pronargs], p.proargtypes::regtype[]) a(n, t)),
           p.proargnames[:p.pronargs - p.pronargdefaults]
    from pg_proc p where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
        and p.proname = any (%s)
"""


@dataclass(frozen=True)
class Routine:
    """A routine that is called with named arguments."""

    result: str
    arguments: frozenset[str]
    """Names and types."""
    required: frozenset[str]
    """Names of those without a default."""

    def takes_calls_of(self, older: Routine) -> bool:
        """Tells that it can be called as `older` is, and returns the same."""
        same = self.result == older.result and self.arguments >= older.arguments
        return same and self.required == older.required


def routines(connection: psycopg.Connection, text: str) -> dict[str, Routine]:
    """The routines that statements call with named arguments, by name."""
    found = rows(connection, _ROUTINES, _CALLED_BY_NAME.findall(text))
    return {name: Routine(result, frozenset(given), frozenset(needed)) for name, result, given, needed in found}


def queries(package: Path) -> str:
    """The statements of a program; version 0.1 has them in one file."""
    folder = package / "database"
    parts = sorted(folder.joinpath("statements").glob("*.sql")) or [folder / "queries.sql"]
    return "".join(part.read_text(encoding="utf-8") for part in parts)


def statements(text: str, interface: int) -> dict[str, str]:
    """The statements about pgembedd, by name, but those of commands."""
    parts = _NAME.split(text)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        name: text.replace("{interface}", f"n{interface}")
        for name, text in found.items()
        if re.search(r"pgembedd(_internal)?\.", text) and "{arguments}" not in text and not OF_COMMANDS.match(name)
    }


def describe(connection: psycopg.Connection, statement: str) -> object:
    """The types of its parameters, and names and types of its columns; or the code of the error."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

    text = re.sub(r"%\((\w+)\)s", number, statement).replace("%%", "%").replace("{vector}", "public.vector")
    prepared = connection.pgconn.prepare(b"", text.encode())
    if prepared.error_field(psycopg.pq.DiagnosticField.SQLSTATE):
        return prepared.error_message.decode()
    described = connection.pgconn.describe_prepared(b"")
    types = [described.param_type(n) for n in range(described.nparams)]
    columns = [((described.fname(n) or b"").decode(), described.ftype(n)) for n in range(described.nfields)]
    return [_type(connection, oid) for oid in types], [(name, _type(connection, oid)) for name, oid in columns]


def serves(now: object, then: object, name: str) -> bool:
    """Tells that a program to which a statement was described as `then` can go on where it is described as `now`."""
    if name in READ_BY_NAME and isinstance(now, tuple) and isinstance(then, tuple):
        return bool(now[0] == then[0] and now[1][: len(then[1])] == then[1])
    return now == then


def _type(connection: psycopg.Connection, oid: int) -> str:
    return str(rows(connection, "select format_type(%s, null)", oid)[0][0])

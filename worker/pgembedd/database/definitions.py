"""Applies sql/ over what is installed: the current definition of every routine and view.

Postgres replaces a definition only where parameters and columns stay as they are. One of another version that differs
is dropped first, and what was granted on it is granted on its successor. An object of a user's that stands on it is in
the way of that.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError

_DEFINED = re.compile(r"^create or replace (?:function|procedure|view) pgembedd\.(\w+)", re.MULTILINE)
# Of other parameters or columns, a procedure in the place of a function, or beside one of other parameters.
_NOT_REPLACED = (
    psycopg.errors.AmbiguousFunction,
    psycopg.errors.InvalidFunctionDefinition,
    psycopg.errors.InvalidTableDefinition,
    psycopg.errors.WrongObjectType,
)


@dataclass(frozen=True)
class Installed:
    """A routine or a view of the schema; `kind` and `identity` are as DROP names it, `version` is its row's xmin."""

    oid: int
    name: str
    kind: str
    identity: str
    version: str


class Definitions:
    """The definitions of a schema, in the transaction of a migration."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._lost_grants: list[tuple[str, str, str, bool]] = []  # name, privilege, role, with grant option

    def apply(self, texts: Sequence[bytes]) -> None:
        """Creates or replaces what the texts define, and drops what an older version left under other parameters."""
        names = [name for text in texts for name in _DEFINED.findall(text.decode())]
        before = self._installed(names)
        cleared: set[bytes] = set()
        # After a drop from the beginning: another file may have one of the name under other parameters.
        while (conflict := next(filter(self._conflicts, texts), None)) is not None:
            if conflict in cleared:
                self._connection.execute(conflict)  # raises: the fault is its own
            cleared.add(conflict)
            for one in self._installed(_DEFINED.findall(conflict.decode())):
                self._drop(one)
        now = set(self._installed(names))
        for one in before:
            if one.kind == "routine" and one in now:  # a routine that was replaced has another version
                self._drop(one)
        self._grant_again()

    def _conflicts(self, text: bytes) -> bool:
        """Applies a file. Returns True where Postgres does not replace what is installed."""
        try:
            with self._connection.transaction():
                self._connection.execute(text)
        except _NOT_REPLACED:
            return True
        self._grant_again()
        return False

    def _installed(self, names: Sequence[str]) -> list[Installed]:
        return [Installed(*row) for row in self._rows("installed_definitions", names=list(names))]

    def _drop(self, one: Installed) -> None:
        """Drops it, and our views that stand on it, which a later file makes again."""
        for row in self._rows("views_on_definition", oid=one.oid):
            self._drop(Installed(*row))
        self._lost_grants += self._rows("grants_on_definition", oid=one.oid)
        try:
            with self._connection.transaction():
                self._connection.execute(f"drop {one.kind} if exists {one.identity}".encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            users = "; ".join((error.diag.message_detail or "").splitlines())
            raise ConfigurationError(
                f"The migration stopped: {one.identity} is another one in this version, but {users}: drop that, "
                "migrate, and create it again."
            ) from error

    def _grant_again(self) -> None:
        """Grants on the definitions of a dropped one's name what was granted on it, once there is one."""
        waiting = []
        for name, privilege, role, grantable in self._lost_grants:
            found = self._installed([name])
            for one in found:
                on = "routine" if one.kind == "routine" else "table"
                option = " with grant option" if grantable else ""
                self._connection.execute(f"grant {privilege} on {on} {one.identity} to {role}{option}".encode())
            waiting += [] if found else [(name, privilege, role, grantable)]
        self._lost_grants = waiting

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query(name), values).fetchall()

"""Applies sql/ over what is installed: afterwards there is exactly what a fresh installation has.

Postgres replaces a definition only where parameters and columns stay as they are, and leaves what is no more. Which
definitions of an older version are in the way, Postgres says itself: all are set aside under other names, sql/ is
applied as on an empty schema, the two are compared, and all of that is rolled back. Then only what was found so is set
aside. What users bound to it (views, policies, defaults, ...) is bound again, by its own text, to what takes its place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pgembedd.database.owners import OURS
from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError


@dataclass(frozen=True)
class Oids:
    """Some routines and views, by their oids."""

    routines: list[int]
    views: list[int]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> "Oids":
        """Collects rows that begin with kind and oid."""
        found: dict[str, list[int]] = {"routine": [], "view": []}
        for kind, oid, *_ in rows:
            found[kind].append(oid)
        return cls(found["routine"], found["view"])

    def without(self, others: "Oids") -> "Oids":
        """Returns those that are not among the others."""
        return Oids(
            [oid for oid in self.routines if oid not in set(others.routines)],
            [oid for oid in self.views if oid not in set(others.views)],
        )


class Definitions:
    """The routines and views of a database, in the transaction of a migration.

    It is made before the versions run: a version that drops a view loses no grant on it. The path is pinned meanwhile:
    under it Postgres writes all other names in full, and so finds them again.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._grants = self._rows("grants_on_definitions", Oids.of(self._rows("our_definitions")))

    def apply(self, script: bytes) -> None:
        """Makes the definitions that are installed those of the script; ConfigurationError for what is in the way."""
        installed = self._rows("our_definitions")
        before = Oids.of(installed)
        exposed = [(schema, name) for _, _, schema, name in installed if schema not in OURS]
        self._run("clear_comments", before)
        superseded, unfollowed = self._compare(before, script, exposed)
        self._run("drop_code_on_definitions", superseded)
        bound = {row[:3]: row for row in self._bound(superseded, unfollowed)}
        self._run("set_definitions_aside", superseded)
        self._load(script, exposed)
        now = Oids.of(self._rows("our_definitions"))
        self._run("own_definitions", now)
        self._grant(now.without(before))
        self._bind(bound, self._bound(superseded, unfollowed))
        self._drop(superseded)

    def _compare(self, before: Oids, script: bytes, exposed: list[tuple[str, str]]) -> tuple[Oids, list[int]]:
        """Returns what an empty schema would have instead, and the oids of those that have no successor."""
        with self._connection.transaction(force_rollback=True):
            self._run("set_definitions_aside", before)
            self._load(script, exposed)
            rows = self._rows("superseded_definitions", before)
        return Oids.of(rows), [oid for _, oid, is_followed in rows if not is_followed]

    def _load(self, script: bytes, exposed: list[tuple[str, str]]) -> None:
        """Applies the script under the path that it is written for, then makes the functions for PostgREST."""
        execute_script(self._connection, script)
        for schema, name in exposed:
            self._connection.execute("select pgembedd_internal._expose(%s, %s)", [schema, name])

    def _grant(self, new: Oids) -> None:
        columns = zip(*self._grants, strict=True) if self._grants else [()] * 6
        names = ("schemas", "names", "parts", "privileges", "roles", "grantables")
        self._run("grant_definitions", new, **{name: list(values) for name, values in zip(names, columns, strict=True)})

    def _bound(self, superseded: Oids, unfollowed: list[int]) -> list[tuple[Any, ...]]:
        return self._rows("bound_to_definitions", superseded, unfollowed=unfollowed)

    def _bind(self, before: dict[tuple[Any, ...], tuple[Any, ...]], bound: list[tuple[Any, ...]]) -> None:
        """Binds again what is still bound to what is set aside, by statements with the names of before."""
        in_the_way = []
        for row in bound:
            *_, name, on, statement = before.get(row[:3], (*row[:5], None))
            if statement is None:
                in_the_way.append(f"{name} stands on {on}")
            elif (reason := self._refused(statement, psycopg.ProgrammingError, psycopg.NotSupportedError)) is not None:
                in_the_way.append(f"{name} stands on {on} ({reason})")
        if in_the_way:
            raise ConfigurationError(
                f"The migration stopped: {'; '.join(in_the_way)}: this version has others, so drop what stands on "
                "them, migrate, and create it again."
            )

    def _drop(self, superseded: Oids) -> None:
        """Drops what is set aside. Some of it may stand on other such, so until nothing is left."""
        left = [statement for (statement,) in self._rows("drop_definitions", superseded)]
        while left:
            kind = psycopg.errors.DependentObjectsStillExist
            refused = [statement for statement in left if self._refused(statement, kind) is not None]
            if len(refused) == len(left):
                self._connection.execute(left[0].encode())  # raises: bound in another session since we looked
            left = refused

    def _refused(self, statement: str, *kinds: type[psycopg.Error]) -> str | None:
        """Executes a statement. Returns None, or why Postgres refuses it with an error of one of the kinds."""
        try:
            with self._connection.transaction():
                self._connection.execute(statement.encode())
        except kinds as error:
            return error.diag.message_primary or ""
        return None

    def _run(self, name: str, of: Oids, **values: Any) -> None:
        """Executes the statements that a query returns."""
        statements = "\n".join(statement for (statement,) in self._rows(name, of, **values))
        if statements:
            self._connection.execute(statements.encode())

    def _rows(self, name: str, of: Oids | None = None, **values: Any) -> list[tuple[Any, ...]]:
        parameters = {"routines": of.routines, "views": of.views} if of else {}
        return self._connection.execute(query(name), parameters | values or None).fetchall()


def execute_script(connection: psycopg.Connection, script: bytes) -> None:
    """Executes files of sql/ under the path that they are written for, and pins the path again."""
    connection.execute("set local search_path to pg_catalog, pgembedd_internal, pgembedd, pg_temp")
    connection.execute(script)
    connection.execute("set local search_path to pg_catalog, pg_temp")

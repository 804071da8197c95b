"""Roles of a test's own. They belong to the whole server, so each has its own name and is dropped again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, administrator

_numbers = itertools.count(1)
PASSWORD = "for tests"


class Roles:
    """Makes login roles and connects as them."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin
        self._made: list[str] = []

    def make(self, kind: str, options: str = "") -> str:
        """A new role whose name needs no quoting; `options` as in CREATE ROLE."""
        name = f"{kind}_{os.getpid()}_{next(_numbers)}"
        self._admin.execute(f"create role {name} login password '{PASSWORD}' {options}")
        self._made.append(name)
        return name

    def drop_all(self) -> None:
        """Drop them; they must own nothing any more."""
        for name in reversed(self._made):
            self._admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
            self._admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@contextmanager
def temporary_roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Roles that are dropped at the end; by then, databases that know them must be gone."""
    with administrator(server) as admin:
        roles = Roles(admin)
        try:
            yield roles
        finally:
            roles.drop_all()


def conninfo_as(database: Database, role: str) -> str:
    """The connection string of a database for another role."""
    return psycopg.conninfo.make_conninfo(database.conninfo, user=role, password=PASSWORD)


def connect_as(database: Database, role: str) -> psycopg.Connection:
    """An autocommit connection as another role."""
    return psycopg.connect(conninfo_as(database, role), autocommit=True)

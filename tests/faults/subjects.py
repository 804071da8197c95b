"""The tables that are written to, their pipelines, and what is embedded of a row."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg

from tests.faults.model import DIMENSIONS, NAME
from tests.support.sql import call

CHUNK_TOKENS, CHUNK_OVERLAP = 48, 8
OWNER, APPLICATION, WORKER = "faults_owner", "faults_app", "faults_worker"
PASSWORD = "for tests"

Key = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What a writer chose of a row."""

    title: str | None
    body: str | None


@dataclass(frozen=True)
class Subject:
    """A table with one pipeline of the same name. Rows have a number in the ledger, and the key made of it."""

    name: str
    key_columns: Mapping[str, str]
    key: Callable[[int], Key]
    content: Callable[[Row], str]
    options: Mapping[str, object]
    chunks: str = ""
    """The embedding table, where there is one instead of a column."""

    def columns(self, prefix: str = "") -> str:
        """The key's columns with their types, as in a column definition list."""
        return ", ".join(f"{prefix}{name} {kind}" for name, kind in self.key_columns.items())

    def names(self, prefix: str = "") -> str:
        """The key's columns, by comma."""
        return ", ".join(prefix + name for name in self.key_columns)

    def as_text(self) -> str:
        """The key's columns as an array of text."""
        return f"array[{', '.join(f'{name}::text' for name in self.key_columns)}]"


def _joined(row: Row) -> str:
    return "\n\n".join(part for part in (row.title, row.body) if part is not None)


NOTES = Subject(
    "notes",
    {"id": "bigint"},
    lambda number: (str(number),),
    _joined,
    {"content_columns": ["title", "body"]},
)
ARTICLES = Subject(
    "articles",
    {"tenant": "text", "slug": "text"},
    lambda number: (f'tenant "{number % 3}"', f"slug-{number}"),
    lambda row: row.body or "",
    {
        "content_columns": ["body"],
        "embedding_table": "article_chunks",
        "chunk_tokens": CHUNK_TOKENS,
        "chunk_overlap_tokens": CHUNK_OVERLAP,
    },
    chunks="article_chunks",
)
CARDS = Subject(
    "cards",
    {"id": "uuid"},
    lambda number: (str(uuid.UUID(int=number)),),
    lambda row: f"{row.title or 'none'}: {row.body or ''}",
    {
        "content_function": "card_text",
        "watch_columns": ["title", "body"],
        "on_update": "clear",
        "vector_type": "vector",
    },
)
SUBJECTS = (NOTES, ARTICLES, CARDS)

WRITERS_TABLE = "faults_writer"
"""One row a writer: the number of its last committed transaction, locked by each of its transactions."""


def make_roles(connection: psycopg.Connection) -> None:
    """The tables' owner, who cannot log in, and the roles of writers and workers."""
    connection.execute(f"create role {OWNER}".encode())
    for role in (APPLICATION, WORKER):
        connection.execute(f"create role {role} login password '{PASSWORD}'".encode())


def make_subjects(connection: psycopg.Connection, authors: int) -> None:
    """The tables with their pipelines, and the row of each writer; the upkeep is put off, so that it hides nothing."""
    connection.execute(f"grant create, usage on schema public to {OWNER}".encode())
    connection.execute(f"set role {OWNER}".encode())
    for subject in SUBJECTS:
        connection.execute(
            f"create table {subject.name} ({subject.columns()}, title text, body text, seen int not null default 0, "
            f"primary key ({subject.names()}))".encode()
        )
        connection.execute(
            f"grant select, insert, update, delete on {subject.name} to {APPLICATION}".encode(),
        )
    connection.execute(
        "create function card_text(c cards) returns text language sql immutable "
        "as $$ select coalesce(c.title, 'none') || ': ' || coalesce(c.body, '') $$"
    )
    connection.execute(f"create table {WRITERS_TABLE} (id int primary key, last bigint not null)".encode())
    connection.execute(f"grant select, update on {WRITERS_TABLE} to {APPLICATION}".encode())
    connection.execute(f"insert into {WRITERS_TABLE} select i, 0 from generate_series(1, {authors}) i".encode())
    connection.execute("reset role")
    for subject in SUBJECTS:
        options = {"pipeline": subject.name, "source": subject.name, "model": NAME, "dimensions": DIMENSIONS}
        call(connection, "create_pipeline", **{**options, **subject.options})
    connection.execute(f"select pgembedd.grant_worker('{WORKER}')".encode())
    connection.execute("update pgembedd_internal.installation set swept_at = 'infinity', retained_at = 'infinity'")

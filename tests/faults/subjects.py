"""The tables that are written to, their pipelines, and what is embedded of a row."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
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
    more: str = ""
    """Further columns."""
    pages: Subject | None = None
    """The table that files are parsed into, where the content is a file, and its pipeline."""

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

LONG_WORD = "x" * 1500
"""Ends a section, and is one token."""
PAPER_PAGES = Subject(
    "paper_pages",
    {"id": "bigint", "page": "int"},
    lambda number: (str(number),),
    lambda row: row.body or "",
    {**ARTICLES.options, "content_columns": ["text"], "embedding_table": "page_chunks"},
    chunks="page_chunks",
)


def _paper(row: Row) -> str:
    """A file of two pages, of which a change of the title leaves the second one as it is."""
    title, body = row.title or "none", row.body or ""
    return body and f"## {title}\n\n{body}\n\n{LONG_WORD}\n\n## Backwards\n\n{body[::-1]}"


PAPERS = Subject(
    "papers",
    {"id": "bigint"},
    lambda number: (str(number),),
    _paper,
    {"task": "parse", "content_columns": ["file"], "into_table": PAPER_PAGES.name},
    more="""file text generated always as (case when body <> '' then
        '## ' || coalesce(nullif(title, ''), 'none') || E'\\n\\n' || body || E'\\n\\n' || repeat('x', 1500)
        || E'\\n\\n## Backwards\\n\\n' || reverse(body) end) stored""",
    pages=PAPER_PAGES,
)
CHAIN = (PAPERS, NOTES)

WRITERS_TABLE = "faults_writer"
"""One row a writer: the number of its last committed transaction, locked by each of its transactions."""


def make_roles(connection: psycopg.Connection) -> None:
    """The tables' owner, who cannot log in, and the roles of writers and workers."""
    connection.execute(f"create role {OWNER}".encode())
    for role in (APPLICATION, WORKER):
        connection.execute(f"create role {role} login password '{PASSWORD}'".encode())


def make_subjects(connection: psycopg.Connection, authors: int, subjects: Sequence[Subject] = SUBJECTS) -> None:
    """The tables with their pipelines, and the row of each writer; the upkeep is put off, so that it hides nothing."""
    connection.execute(f"grant create, usage on schema public to {OWNER}".encode())
    connection.execute(f"set role {OWNER}".encode())
    for subject in subjects:
        more = f"{subject.more}, " if subject.more else ""
        connection.execute(
            f"create table {subject.name} ({subject.columns()}, title text, body text, seen int not null default 0, "
            f"{more}primary key ({subject.names()}))".encode()
        )
        connection.execute(
            f"grant select, insert, update, delete on {subject.name} to {APPLICATION}".encode(),
        )
    if CARDS in subjects:
        connection.execute(
            "create function card_text(c cards) returns text language sql immutable "
            "as $$ select coalesce(c.title, 'none') || ': ' || coalesce(c.body, '') $$"
        )
    connection.execute(f"create table {WRITERS_TABLE} (id int primary key, last bigint not null)".encode())
    connection.execute(f"grant select, update on {WRITERS_TABLE} to {APPLICATION}".encode())
    connection.execute(f"insert into {WRITERS_TABLE} select i, 0 from generate_series(1, {authors}) i".encode())
    connection.execute("reset role")
    for subject in subjects:
        _make_pipeline(connection, subject)
    connection.execute(f"select pgembedd.grant_worker('{WORKER}')".encode())
    connection.execute("update pgembedd_internal.installation set swept_at = 'infinity', retained_at = 'infinity'")


def _make_pipeline(connection: psycopg.Connection, subject: Subject) -> None:
    model = {} if subject.pages else {"model": NAME, "dimensions": DIMENSIONS}
    call(connection, "create_pipeline", pipeline=subject.name, source=subject.name, **model, **subject.options)
    if subject.pages:
        _make_pipeline(connection, subject.pages)

"""The examples in the documents run as they stand."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.sql.test_embed import Hand
from tests.support.databases import Database
from tests.support.roles import Roles
from tests.support.sql import connected
from tests.support.undone import connection

__all__ = ["connection"]

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)  # a block with another word needs a worker

PREPARATION = """
create table documents (id bigint generated always as identity primary key, title text not null, body text);
insert into documents (title, body) values ('Passwords', 'How to reset a forgotten password');
select pgembedd.create_pipeline('documents', 'public.documents', array['title', 'body']);
"""


@pytest.mark.parametrize(("page", "before"), [("reference/sql.md", ""), ("how-to/operations.md", PREPARATION)])
def test_examples_run_in_the_order_they_stand(roles: Roles, database: Database, page: str, before: str) -> None:
    examples = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    embedder = roles.make("embedder")  # roles are the whole server's, so the document's name is not ours to take

    assert len(examples) > 5
    with database.connect() as connection:
        for example in [before, *examples]:
            statement = re.sub(r"create role embedder login;", "", example).replace("'embedder'", f"'{embedder}'")
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                pytest.fail(f"{error}\n{example}")


ARTICLES = """
insert into articles (title, body, section, year, metadata, tags)
values ('Passwords', 'How to reset a forgotten password', 'faq', 2024, '{"lang": "en"}', '{new}');
set session_replication_role = replica;
update articles set embedding = array_fill(0.5, array[384])::vector;
set session_replication_role = origin;
select pgembedd.sweep()  -- which adds the words
"""


@contextmanager
def answering(database: Database) -> Iterator[None]:
    """A worker that gives every question the same vector."""
    done = threading.Event()

    def answer(hand: Hand) -> None:
        while not done.wait(0.01):
            for question in hand.take():
                hand.answer(question, f"[{','.join(['0.25'] * 384)}]")

    with connected(database) as connection:
        thread = threading.Thread(target=answer, args=[Hand(connection)])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def test_the_examples_of_searches_find_something(roles: Roles, database: Database) -> None:
    text = (DOCS / "how-to/search.md").read_text(encoding="utf-8")
    preparation, *examples = re.findall(r"^```sql[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    app = roles.make("app")

    assert len(examples) > 5
    with answering(database), database.connect() as connection:
        for statement in f"{preparation};{ARTICLES}".split(";"):
            connection.execute(statement)
        for example in examples:
            statement = (
                re.sub(r"create role app login;", "", example)
                .replace("'app'", f"'{app}'")
                .replace("to app;", f"to {app};")
            )
            found = connection.execute(statement.encode())
            assert "search(" not in example or found.description is None or found.fetchall() != [], example


def test_the_examples_of_the_page_of_guides_run(database: Database) -> None:
    text = (DOCS / "how-to/supabase-ai-guides.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```sql[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    assert len(examples) > 4
    with answering(database), database.connect() as connection:
        for example in examples:
            connection.execute(re.sub(r"call pgembedd.wait_for.*", "", example).encode())

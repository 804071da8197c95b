"""The examples in the documents run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.roles import Roles

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

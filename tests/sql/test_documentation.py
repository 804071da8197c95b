"""The examples in the reference of SQL run as they stand; tests/project/test_pages.py runs the other pages."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.roles import Roles

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sql.md"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)  # a block with another word needs a worker


def test_examples_run_in_the_order_they_stand(roles: Roles, database: Database) -> None:
    examples = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    embedder = roles.make("embedder")  # roles are the whole server's, so the document's name is not ours to take

    assert len(examples) > 5
    with database.connect() as connection:
        for example in examples:
            statement = re.sub(r"create role embedder login;", "", example).replace("'embedder'", f"'{embedder}'")
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                pytest.fail(f"{error}\n{example}")

"""The programs in the documents run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgembedd.model import Session
from tests.sql.test_documentation import ARTICLES, answering
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.npm import npm_folder
from tests.support.roles import Roles, conninfo_as
from tests.support.waiting import PATIENCE_S

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
TABLE = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"^```js\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def articles(roles: Roles, database: Database) -> Database:
    """The table of search.md, with a row."""
    found = TABLE.search((DOCS / "search.md").read_text(encoding="utf-8"))
    assert found is not None
    with database.connect() as connection:
        for statement in f"{found[1]};{ARTICLES}".split(";"):
            connection.execute(statement.encode())
    return database


def printed_by(program: str, **environment: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_programs_of_the_how_to_find_the_row(articles: Database) -> None:
    programs = PROGRAM.findall((DOCS / "search.md").read_text(encoding="utf-8"))

    with answering(articles):
        printed = [printed_by(program, DATABASE_URL=articles.conninfo) for program in programs]
    database, asyncio, sqlalchemy, django = printed
    assert "1 Passwords **Passwords**" in database
    assert 'no column "yeer"' in database
    assert asyncio == "[1]\n"
    assert "Passwords" in sqlalchemy
    assert "Passwords" in django


@pytest.mark.slow
def test_the_program_with_drizzle_finds_the_row(articles: Database) -> None:
    script = npm_folder("drizzle", "drizzle-orm@0.45.4", "pg@8.23.1") / "search.mjs"
    (program,) = SCRIPT.findall((DOCS / "search.md").read_text(encoding="utf-8"))
    script.write_text(program, encoding="utf-8")
    environment = {"DATABASE_URL": articles.conninfo, "PATH": os.environ["PATH"]}

    with answering(articles):
        done = subprocess.run(
            ["node", script], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    assert done.returncode == 0, done.stderr
    assert "title: 'Passwords'" in done.stdout


@pytest.mark.slow
def test_the_client_of_the_tools_finds_the_row(articles: Database, roles: Roles, model: Session) -> None:
    role = roles.make("assistant", "noinherit")
    with articles.connect() as connection:
        connection.execute(f"select pgembedd.grant_search('{role}'); grant select on articles to {role}".encode())
        connection.execute("update pgembedd.pipeline set model = %s, fingerprint = %s", (model.name, model.fingerprint))
    (program,) = PROGRAM.findall((DOCS / "mcp.md").read_text(encoding="utf-8"))

    with serving(only(model), articles.conninfo, http_token=TOKEN, search_url=conninfo_as(articles, role)) as client:
        printed = printed_by(program, TOKEN=TOKEN, MCP_URL=f"{client.base_url}/mcp".replace("//mcp", "/mcp"))
    assert '"title":"Passwords"' in printed

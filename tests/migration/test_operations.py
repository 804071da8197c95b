"""A user's alembic migrations with pipelines in them, on the project that docs/how-to/alembic.md shows."""

from __future__ import annotations

import importlib
import re
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from pgembedd.contrib.alembic import AlterEmbeddingPipelineOp, OperationError
from pgembedd.contrib.alembic.arguments import options_of
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.schema_check import check_schema
from tests.migration.alembic_project import Project, examples, fresh_models
from tests.support.databases import Database
from tests.support.refusals import sentence
from tests.support.roles import PASSWORD, Roles
from tests.support.sql import qualified, rows, value

UPGRADE = 'op.create_embedding_pipeline("documents", "documents", content_columns=["title"], {})'


@pytest.mark.parametrize(
    ("function", "own", "options"),
    [
        ("create_pipeline", ["pipeline", "source"], options_of("create_pipeline")),
        ("alter_pipeline", ["pipeline"], options_of("alter_pipeline")),
        ("drop_pipeline", ["pipeline"], options_of("drop_pipeline")),
    ],
)
def test_the_options_are_those_of_the_function(
    connection: psycopg.Connection, function: str, own: list[str], options: dict[str, str]
) -> None:
    parameters = """
        select name, format_type(type, null) from pg_proc,
               unnest(proargnames[:pronargs], proargtypes::oid[]) with ordinality as p(name, type, nth)
        where oid = %s::regproc order by nth
    """
    there = rows(connection, parameters, f"{qualified(function)}")
    assert there == [*((name, "text") for name in own), *options.items()]


@pytest.mark.slow
def test_up_down_and_up_again(project: Project, connection: psycopg.Connection) -> None:
    project.run("upgrade", "head")
    assert rows(connection, "select pipeline, source, state from pgembedd.status") == [
        ("documents", "public.documents", "running")
    ]
    connection.execute("insert into documents (title) values ('queued')")
    assert value(connection, "select queued from pgembedd.status") == 1
    project.run("downgrade", "base")
    assert rows(connection, "select pipeline from pgembedd.status") == []
    assert value(connection, "select to_regclass('documents')") is None
    project.run("upgrade", "head")
    assert value(connection, "select count(*) from pgembedd.status") == 1


def test_the_script_of_sql_does_the_same(project: Project, connection: psycopg.Connection) -> None:
    script = project.run("upgrade", "head", "--sql")
    assert "content_columns => array['title', 'body']::text[]" in script
    assert value(connection, "select to_regclass('documents')") is None
    connection.execute(script.encode())
    assert value(connection, "select pipeline from pgembedd.status") == "documents"
    connection.execute(project.run("downgrade", "head:base", "--sql").encode())
    assert rows(connection, "select pipeline from pgembedd.status") == []


def test_a_pipeline_is_altered_and_altered_back(project: Project, connection: psycopg.Connection) -> None:
    upgrade = 'op.alter_embedding_pipeline("documents", content_columns=["title"], max_attempts=3)'
    back = 'op.alter_embedding_pipeline("documents", content_columns=["title", "body"], reset=["max_attempts"])'
    project.revision("0002_alter", "0001", upgrade, back)
    project.run("upgrade", "head")
    made = "select content_columns, max_attempts from pgembedd_internal.pipeline"
    assert rows(connection, made) == [(["title"], 3)]
    project.run("downgrade", "0001")
    assert rows(connection, made) == [(["title", "body"], 5)]
    project.revision("0002_alter", "0001", 'op.alter_embedding_pipeline("documents", rename_to="two words")')
    with sentence(OperationError, "The pipeline name 'two words' is not usable."):
        project.run("upgrade", "head")


def test_an_alter_is_reversed_where_it_is_known_how() -> None:
    renamed = AlterEmbeddingPipelineOp("old", rename_to="new").reverse()
    assert renamed.to_diff_tuple() == ("alter_embedding_pipeline", "new", {"rename_to": "old"})
    assert renamed.source_code("op.") == "op.alter_embedding_pipeline('new', rename_to='old')"
    before = AlterEmbeddingPipelineOp("old", max_attempts=5)
    assert AlterEmbeddingPipelineOp("old", max_attempts=3, reverse=before).reverse() is before
    with sentence(OperationError, "How the pipeline 'old' was before is not known"):
        AlterEmbeddingPipelineOp("old", max_attempts=3).reverse()


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_every_type_arrives_as_it_was_given(project: Project, connection: psycopg.Connection, offline: bool) -> None:
    """Whatever drivers and templates make of it: percent, colon, backslash, quotes, tabs."""
    odd = """a:b 'c' "d" 100 % %(x)s :e \\:f \\\\g \t|\r\n|é{}"""
    wanted = {
        "content_columns": [odd, "title"],
        "embedding_column": "e " + odd,
        "watch_columns": ["title"],
        "dimensions": 3,
        "backfill": False,
        "index_when": "later",
        "index_within": timedelta(days=2, seconds=5, microseconds=7),
        "retry_factor": 1.5,
        "index_options": {"ef_construction": 128},
    }
    connection.execute(
        'create table "odd table" (id int primary key, title text, {})'.format(
            '"{}" text'.format(odd.replace('"', '""'))
        ).encode()
    )
    given = ", ".join(f"{name}={one!r}" for name, one in wanted.items())
    project.revision("0001_documents", None, f"op.create_embedding_pipeline('odd', '\"odd table\"', {given})")
    if offline:
        connection.execute(project.run("upgrade", "head", "--sql").encode())
    else:
        project.run("upgrade", "head")
    (made,) = rows(
        connection,
        "select name, content_columns, embedding_column, watch_columns, dimensions, index_due_at - created_at,"
        " retry_factor, ef_construction from pgembedd_internal.pipeline",
    )
    assert made[6:] == (1.5, 128)
    assert made[:5] == ("odd", wanted["content_columns"], wanted["embedding_column"], ["title"], 3)
    assert abs(made[5] - timedelta(days=2, seconds=5)) < timedelta(minutes=1), "the interval, but for the time between"


# -- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("content_colums=['x']", "has no option 'content_colums': did you mean 'content_columns'?"),
        ("watch_columns='title'", "takes a list of strings for 'watch_columns', not 'title'."),
        ("dimensions='3'", "takes an integer for 'dimensions', not '3'."),
        ("backfill=1", "takes True or False for 'backfill', not 1."),
        ("index_options=[8]", "takes a dictionary that JSON can hold for 'index_options', not [8]."),
        ("index_options={'m': {8}}", "takes a dictionary that JSON can hold for 'index_options', not {'m': {8}}."),
        ("index_options={'lists': 8}", 'each an integer, not {"lists": 8}.'),
        ("retry_factor='2'", "takes a number for 'retry_factor', not '2'."),
        ("distance='hamming'", "distance 'hamming' is not known. Take cosine, l2 or ip."),
    ],
)
def test_bad_options_are_one_sentence(
    project: Project, connection: psycopg.Connection, options: str, words: str
) -> None:
    connection.execute("create table documents (id int primary key, title text)")
    project.revision("0001_documents", None, UPGRADE.format(options))
    with sentence(OperationError, words):
        project.run("upgrade", "head")
    assert rows(connection, "select name from pgembedd_internal.pipeline") == []


def test_a_pipeline_that_is_there_already(project: Project, connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text)")
    project.revision("0001_documents", None, UPGRADE.format(""))
    project.run("upgrade", "head")
    project.revision("0002", "0001_documents", UPGRADE.format("if_not_exists=True"))
    project.run("upgrade", "head")
    project.revision("0003", "0002", UPGRADE.format("if_not_exists=True, max_attempts=7"))
    with sentence(
        OperationError, 'There is a pipeline "documents" already, with another definition: max_attempts: has'
    ):
        project.run("upgrade", "head")
    project.revision("0003", "0002", UPGRADE.format("max_attempts=7"))
    with sentence(OperationError, 'There is a pipeline "documents" already.'):
        project.run("upgrade", "head")


def test_alembic_prints_the_sentence(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from alembic.config import main

    project.revision("0001_documents", None, UPGRADE.format("modle='x'"))
    with fresh_models(), pytest.raises(SystemExit):
        main(["-c", str(project.directory / "alembic.ini"), "upgrade", "head"])
    printed = capsys.readouterr()
    assert (
        "FAILED: create_embedding_pipeline() has no option 'modle': did you mean 'model'?" in printed.out + printed.err
    )
    assert "Traceback" not in printed.out + printed.err


def test_a_database_without_pgembedd(project: Project, database: Database) -> None:
    downgrade(database.conninfo)
    with sentence(OperationError, "There is no pgembedd in this database: run `pgembedd migrate`"):
        project.run("upgrade", "head")


def test_a_pgembedd_older_than_an_option(project: Project, connection: psycopg.Connection) -> None:
    connection.execute("drop function pgembedd.drop_pipeline(text, boolean, boolean)")
    connection.execute("create function pgembedd.drop_pipeline(pipeline text) returns void language sql as ''")
    project.revision("0001_documents", None, "op.drop_embedding_pipeline('documents', drop_vectors=True)")
    with sentence(OperationError, "older than the option 'drop_vectors'"):
        project.run("upgrade", "head")


def test_a_role_without_the_right(
    roles: Roles, project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = roles.make("stranger")
    with database.connect() as connection:
        connection.execute(f"grant create on schema public to {stranger}")
    monkeypatch.setenv("DATABASE_URL", re.sub("//.*@", f"//{stranger}:{quote(PASSWORD)}@", database.conninfo))
    with sentence(OperationError, "permission denied for schema pgembedd"):
        project.run("upgrade", "head")


# -- Side by side ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_environments_never_collide(project: Project, database: Database, connection: psycopg.Connection) -> None:
    project.run("upgrade", "head")
    theirs, ours = ("select version_num from alembic_version", "select version_num from pgembedd.schema_revision")
    before = value(connection, ours)
    migrate(database.conninfo)
    assert value(connection, theirs) == "0001"
    project.run("downgrade", "base")
    assert rows(connection, theirs) == []
    assert value(connection, ours) == before
    check_schema(connection)
    project.run("upgrade", "head")
    downgrade(database.conninfo)
    assert value(connection, theirs) == "0001"
    assert value(connection, "select to_regnamespace('pgembedd')") is None
    project.revision("0002", "0001", "op.create_table('later', sa.Column('id', sa.Integer))")
    project.run("upgrade", "head")
    assert value(connection, theirs) == "0002"


# -- The example of the page -------------------------------------------------------------------------------


def test_the_query_of_the_page(
    project: Project, database: Database, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import NullPool

    project.run("upgrade", "head")
    for turn in range(4):
        vector = str([1.0, turn / 4] + [0.0] * 382)
        connection.execute("insert into documents (title, embedding) values (%s, %s)", (f"turn {turn}", vector))
    connection.execute("insert into documents (title) values ('not embedded yet')")
    monkeypatch.syspath_prepend(project.directory)
    url = database.conninfo.replace("postgresql://", "postgresql+psycopg://", 1)
    with fresh_models():
        models: Any = importlib.import_module("models")
        with Session(create_engine(url, poolclass=NullPool)) as session:
            nearest = models.related(session, session.get(models.Document, 1), limit=2)
            assert [document.title for document in nearest] == ["turn 1", "turn 2"]
    assert "models" not in sys.modules


def test_the_page_has_a_whole_project() -> None:
    assert set(examples()) == {"env.py", "models.py", "versions/0001_documents.py"}

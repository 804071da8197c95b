"""alembic's autogenerate on a database with pipelines, in the project of docs/how-to/alembic.md."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.contrib.alembic import CreateEmbeddingPipelineOp, DropEmbeddingPipelineOp, OperationError
from tests.migration.alembic_project import Project, marked_example
from tests.support.refusals import sentence
from tests.support.sql import create_pipeline, value


@pytest.mark.parametrize("schemas", [False, True], ids=["one schema", "all schemas"])
@pytest.mark.parametrize("named", [False, True], ids=["column unnamed", "column in the model"])
def test_there_is_nothing_to_generate(project: Project, named: bool, schemas: bool) -> None:
    project.run("upgrade", "head")
    if not named:
        project.edit("models.py", "    embedding: Mapped", "    # embedding: Mapped")
    if schemas:
        project.edit("env.py", "options = {", 'options = {"include_schemas": True,')
    assert project.generated()[0] == "pass"
    project.run("check")


@pytest.mark.filterwarnings("ignore:Did not recognize type 'extensions.halfvec'")
@pytest.mark.parametrize("named", [False, True], ids=["column unnamed", "column in the model"])
def test_pgvector_may_be_out_of_sight(project: Project, connection: psycopg.Connection, named: bool) -> None:
    project.run("upgrade", "head")
    connection.execute("create schema extensions; alter extension vector set schema extensions")
    if not named:
        project.edit("models.py", "    embedding: Mapped", "    # embedding: Mapped")
    assert project.generated()[0] == "pass"


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["include_name", "include_object"])
def test_each_hook_is_needed(project: Project, hook: str) -> None:
    project.run("upgrade", "head")
    project.edit("models.py", "    embedding: Mapped", "    # embedding: Mapped")
    project.edit("env.py", "options = {", 'options = {"include_schemas": True,')
    project.edit("env.py", f'    "{hook}"', f'    # "{hook}"')
    if hook == "include_name":
        project.edit("env.py", '    "include_object"', '    # "include_object"')
    upgrade = project.generated()[0]
    lost = ["op.drop_column('documents', 'embedding')", "'documents_embedding_hnsw'", "'documents_embedding_missing'"]
    assert [one for one in lost if one not in upgrade] == []
    assert ("schema='pgembedd'" in upgrade) == (hook == "include_name")


@pytest.mark.slow
def test_odd_names_and_both_vector_types(project: Project, connection: psycopg.Connection) -> None:
    project.run("upgrade", "head")
    connection.execute("create index mine on documents (title)")
    create_pipeline(
        connection,
        pipeline="more",
        content_columns=["title"],
        embedding_column='my "Vector" é',
        vector_type="vector",
        index_type="hnsw",
    )
    upgrade, _ = project.generated()
    assert "op.drop_index(op.f('mine')" in upgrade, "an index of the user's own"
    assert upgrade.count("op.") == 2, upgrade


CHUNKS = marked_example()
UNMARKED = CHUNKS.replace('    __table_args__ = {"info": {"pgembedd": True}}\n', "")
assert UNMARKED != CHUNKS


@pytest.mark.parametrize(
    "model",
    ["", CHUNKS, UNMARKED],
    ids=["unnamed", "marked in the model", "named in the model"],
)
@pytest.mark.parametrize("schemas", [False, True], ids=["one schema", "all schemas"])
def test_an_embedding_table_is_left_alone(
    project: Project, connection: psycopg.Connection, model: str, schemas: bool
) -> None:
    project.edit("models.py", "    embedding: Mapped", "    # embedding: Mapped")
    project.edit(
        "versions/0001_documents.py", 'body"],', 'body"], embedding_table="public.documents_chunks", chunk_tokens=99'
    )
    project.add_model(model)
    if schemas:
        project.edit("env.py", "options = {", 'options = {"include_schemas": True,')
    project.run("upgrade", "head")
    assert value(connection, "select embedding_table::text from pgembedd_internal.pipeline") == "documents_chunks"
    assert project.generated()[0] == "pass"


@pytest.mark.slow
def test_a_reverse_takes_an_embedding_table_with_it(project: Project, connection: psycopg.Connection) -> None:
    made = CreateEmbeddingPipelineOp("documents", "documents", content_columns=["title"], embedding_table="chunks")
    assert made.reverse().options == {"drop_vectors": True}
    assert CreateEmbeddingPipelineOp("documents", "documents").reverse().options == {}
    for there in ({"existing_vectors": "keep"}, {"if_not_exists": True}):
        found = CreateEmbeddingPipelineOp("documents", "documents", embedding_table="chunks", **there)
        assert found.reverse().options == {}
    project.edit("versions/0001_documents.py", 'body"],', 'body"], embedding_table="chunks"')
    project.edit("versions/0001_documents.py", '_pipeline("documents")', '_pipeline("documents", drop_vectors=True)')
    for _ in range(2):
        project.run("upgrade", "head")
        assert value(connection, "select to_regclass('chunks')") == "chunks"
        project.run("downgrade", "base")
    assert value(connection, "select to_regclass('chunks')") is None


@pytest.mark.slow
def test_a_marked_table_is_not_made_before_its_pipeline(project: Project, connection: psycopg.Connection) -> None:
    project.run("upgrade", "head")
    project.add_model(CHUNKS)
    assert project.generated()[0] == "pass"
    project.edit("models.py", "    __table_args__", "    # __table_args__")
    assert "op.create_table('documents_chunks'" in project.generated()[0]


def test_what_the_model_names_is_compared(project: Project) -> None:
    project.run("upgrade", "head")
    project.edit("models.py", "HALFVEC(384)", "HALFVEC(512)")
    upgrade, script = project.generated()
    assert "op.alter_column('documents', 'embedding'" in upgrade
    assert "existing_type=pgvector.sqlalchemy.HALFVEC(384)" in upgrade
    assert "import pgvector.sqlalchemy" in script


@pytest.mark.slow
def test_a_column_new_in_the_model_is_made_by_a_script_that_runs(
    project: Project, connection: psycopg.Connection
) -> None:
    project.run("upgrade", "head")
    project.edit(
        "models.py", "    title: Mapped[str]\n", "    title: Mapped[str]\n    second = mapped_column(HALFVEC(3))\n"
    )
    project.run("revision", "--autogenerate", "-m", "second")
    project.run("upgrade", "head")
    create_pipeline(connection, pipeline="second", content_columns=["title"], embedding_column="second")
    assert project.generated()[0] == "pass"


@pytest.mark.slow
def test_operations_that_a_hook_puts_in(project: Project, connection: psycopg.Connection) -> None:
    """The rendered operations run up and down, and a drop made by a reverse is reversed again."""
    project.run("upgrade", "head")
    project.edit(
        "env.py",
        "options = {",
        """def add(context_, revision, directives):
    import datetime

    made = pipelines.CreateEmbeddingPipelineOp(
        "more", "documents", content_columns=["it's"], embedding_column="more", index_within=datetime.timedelta(2)
    )
    assert made.reverse().reverse() is made
    directives[0].upgrade_ops.ops.append(made)
    directives[0].upgrade_ops.reverse_into(directives[0].downgrade_ops)


options = {
    "process_revision_directives": add,""",
    )
    connection.execute("""alter table documents add column "it's" text""")
    project.edit(
        "models.py", "    title: Mapped[str]\n", '    title: Mapped[str]\n    its = mapped_column("it\'s", Text)\n'
    )
    project.edit("models.py", "import select", "import Text, select")
    project.run("revision", "--autogenerate", "-m", "more")
    project.run("upgrade", "head")
    assert value(connection, "select content_columns from pgembedd_internal.pipeline where name = 'more'") == ["it's"]
    project.run("downgrade", "-1")
    assert value(connection, "select count(*) from pgembedd_internal.pipeline") == 1


def test_a_drop_by_name_cannot_be_reversed() -> None:
    with sentence(OperationError, "How the pipeline 'documents' was made is not known"):
        DropEmbeddingPipelineOp("documents").reverse()

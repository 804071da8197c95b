"""`pgembedd import`, as its users type it."""

from __future__ import annotations

import pytest

from pgembedd.model import Session
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet
from tests.support.embedders import MODEL
from tests.support.guide import follow_guide, guide_table
from tests.support.pgai import create_vectorizer, install_pgai
from tests.support.sql import rows, value
from tests.support.worker import WorkerProcess

BODIES = {1: "The cat sleeps on the sofa", 2: "The engine needs new oil"}


@pytest.fixture
def blog(database: Database, model: Session) -> Database:
    """A vectorizer that has done row 1 with the real model, but for a mark that tells its vector from ours."""
    with database.connect() as connection:
        install_pgai(connection)
        connection.execute("create table blog (id int primary key, body text)")
        connection.cursor().executemany("insert into blog values (%s, %s)", BODIES.items())
        create_vectorizer(connection, "blog", "body", name="'posts'")
        connection.execute(
            "insert into blog_embedding_store (id, chunk_seq, chunk, embedding) values (1, 0, %s, %s)",
            (BODIES[1], str([0.125, *model.run(BODIES[1]).tolist()[1:]])),
        )
        connection.execute("delete from ai._vectorizer_q_1 where id = 1")
    return database


def test_pgai_is_imported_and_a_worker_goes_on(blog: Database) -> None:
    dry = pgembedd("import", "pgai", "--dry-run", database=blog.conninfo)
    assert dry.code == 0, dry.err
    assert "select pgembedd.create_pipeline(" in dry.out
    done = pgembedd("import", "pgai", "posts", database=blog.conninfo)
    assert done.code == 0, done.err
    assert "1 rows taken over with their vectors" in done.out
    with blog.connect() as connection, WorkerProcess(blog.conninfo) as worker:
        connection.execute("insert into blog values (3, 'Flour, water, yeast')")
        worker.await_event("stored")
        await_quiet(connection)
        found = rows(
            connection,
            "select id, chunk, model like 'all-MiniLM-L6-v2@%', (embedding::vector::real[])[1] = 0.125 "
            "from blog_embedding_store_all_minilm_l6_v2 order by id",
        )
        assert found == [
            (1, BODIES[1], True, True),
            (2, BODIES[2], True, False),
            (3, "Flour, water, yeast", True, False),
        ]
        assert value(connection, "select count(*) from pgembedd.failures") == 0


def test_supabase_is_imported(database: Database) -> None:
    with database.connect() as connection:
        follow_guide(connection)
        guide_table(connection)
    dry = pgembedd("import", "supabase", "--dry-run", "--drop-triggers", database=database.conninfo)
    assert 'drop trigger "documents_on_insert" on "public"."documents";' in dry.out
    refused = pgembedd("import", "supabase", database=database.conninfo).refused(2)
    assert "--drop-triggers" in refused
    done = pgembedd("import", "supabase", "--drop-triggers", "--made-by", MODEL, database=database.conninfo)
    assert done.code == 0, done.err
    assert 'made the pipeline "documents.embedding"; 0 rows queued' in done.out


def test_what_there_is_not(database: Database) -> None:
    assert "no vectorizer here" in pgembedd("import", "pgai", database=database.conninfo).refused(2)
    assert "queue_embeddings()" in pgembedd("import", "supabase", database=database.conninfo).refused(2)
    nonsense = pgembedd("import", "pgai", "--model", "nonsense", database=database.conninfo).refused(2)
    assert "no model named 'nonsense'" in nonsense


def test_one_of_two_is_left_alone(blog: Database) -> None:
    with blog.connect() as connection:
        create_vectorizer(
            connection,
            "blog",
            "body",
            embedding="ai.embedding_openai('text-embedding-3-small', 1536)",
            destination="ai.destination_table('other')",
        )
    assert "There is no vectorizer nobody" in pgembedd("import", "pgai", "nobody", database=blog.conninfo).refused(2)
    done = pgembedd("import", "pgai", database=blog.conninfo)
    assert done.code == 2
    assert 'made the pipeline "posts"' in done.out
    alone, summary = done.err.splitlines()
    assert "which pgembedd does not have: --model gte-small" in alone
    assert summary == "pgembedd: 1 of 2 were left alone, each for the reason above."

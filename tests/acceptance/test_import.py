"""`pgembedd import`, as its users type it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import httpx
import psycopg
import pytest

from pgembedd.contrib.model_names import OPENAIS
from pgembedd.model import Session
from pgembedd.model.probes import PROBES
from tests.project.deploy import ROOT
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet
from tests.support.embedders import MODEL, only
from tests.support.guide import follow_guide, guide_table, process_as_the_guide, trigger_definitions
from tests.support.http import PLAIN, serving
from tests.support.pg_net_standin import carry, install
from tests.support.pgai import create_vectorizer, install_pgai
from tests.support.servers.provider import StandInProvider, provider
from tests.support.servers.provider import vector as openais_vector
from tests.support.sql import rows, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

__all__ = ["provider"]

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


@pytest.mark.slow
def test_pgai_is_imported_and_a_worker_goes_on(blog: Database) -> None:
    dry = pgembedd("import", "pgai", "--dry-run", database=blog.conninfo)
    assert dry.code == 0, dry.err
    assert "select pgembedd.create_pipeline(" in dry.out
    done = pgembedd("import", "pgai", "posts", database=blog.conninfo)
    assert done.code == 0, done.err
    assert "rows taken over with their vectors: 1" in done.out
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
        assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


def guide_texts(connection: psycopg.Connection, ids: Iterable[int]) -> None:
    """Rows of `documents` with texts of their own."""
    connection.cursor().executemany(INSERT_TEXT, [(each, f"text {each}") for each in ids])


INSERT_TEXT = "insert into documents (id, title, content) values (%s, 'one', %s)"


@pytest.mark.slow
def test_the_guide_is_imported_verified_and_put_back(database: Database, model: Session) -> None:
    """Through the commands: the guide's SQL, 300 rows, a trial of pgembedd, and the guide goes on."""
    with database.connect() as connection:
        install(connection)
        follow_guide(connection)
        guide_table(connection, clear=True)
        guide_texts(connection, range(1, 301))
        connection.execute("update documents set content = 'new ' || id where id % 7 = 0")
        connection.execute("delete from documents where id % 10 = 0")
        before = trigger_definitions(connection)

        def run(*arguments: str) -> str:
            done = pgembedd(*arguments, database=database.conninfo)
            assert done.code == 0, done.err
            return done.out

        dry = run("import", "supabase", "--dry-run", "--made-by", MODEL)
        assert 'drop trigger "documents_on_insert" on "public"."documents";' in dry
        assert trigger_definitions(connection) == before
        out = run("import", "supabase", "--made-by", MODEL)
        assert f"dropped: {before['documents_on_insert']};" in out
        assert "waiting jobs taken along: 342" in out
        with WorkerProcess(database.conninfo):
            eventually(lambda: value(connection, "select count(*) from documents where embedding is null") == 0)
            await_quiet(connection)
        assert "270 right" in run("verify", "documents.embedding", "--all")
        connection.execute("update documents set content = 'later' where id in (1, 2)")
        out = run("import", "supabase", "--undo")
        assert "waiting jobs put into embedding_jobs: 2" in out
        assert trigger_definitions(connection) == before
        assert value(connection, "select count(*) from pgembedd_internal.pipeline") == 0
        guide_texts(connection, [301])
        with serving(only(model), database.conninfo) as client, httpx.Client(trust_env=False, verify=PLAIN) as carrier:
            process_as_the_guide(connection, str(client.base_url).rstrip("/"))
            connection.execute("select util.process_embeddings()")
            assert carry(connection, carrier) == 1
        assert value(connection, "select count(*) from documents where embedding is null") == 0
        assert value(connection, "select count(*) from pgmq.q_embedding_jobs") == 0
    nothing = pgembedd("import", "supabase", "--undo", database=database.conninfo).refused(2)
    assert "There is nothing to undo" in nothing
    both = pgembedd("import", "supabase", "--undo", "--model", MODEL, database=database.conninfo).refused(2)
    assert "--undo takes no --model" in both


@pytest.mark.slow
def test_the_published_guide_keeps_its_vectors_of_openai_and_leaves_openai_later(
    database: Database, model: Session, provider: StandInProvider, tmp_path: Path
) -> None:
    """The stand-in, which is not OpenAI, is sent what changes and nothing else; after the switch nothing at all."""
    (tmp_path / "key").write_text("sk-right")
    settings = f'[openai]\nurl = "{provider.url}"\nkey_file = "{tmp_path / "key"}"\n'
    (tmp_path / "providers.toml").write_text(settings)
    embedding = "select embedding::text from documents where id = %s"

    def sent() -> list[str]:
        return [text for text in provider.texts() if text not in PROBES]

    with database.connect() as connection:
        follow_guide(connection)
        key = "int primary key generated by default as identity"
        guide_table(connection, key=key, vector="halfvec(1536)", clear=True)
        connection.execute("create index on documents using hnsw (embedding halfvec_cosine_ops)")
        guide_texts(connection, [1, 2, 3, 4])
        for each in (1, 2):
            vector = str(openais_vector(f"by the guide {each}"))
            connection.execute("update documents set embedding = %s where id = %s", [vector, each])
        connection.execute("delete from pgmq.q_embedding_jobs where message ->> 'id' <> '3'")
        kept = [value(connection, embedding, each) for each in (1, 2)]
        refused = pgembedd("import", "supabase", database=database.conninfo).refused(2)
        assert f"--made-by {OPENAIS} if its vectors are of that model" in refused
        done = pgembedd("import", "supabase", "--made-by", OPENAIS, database=database.conninfo)
        assert "other rows queued, which have no vector: 1" in done.out, done.err
        with WorkerProcess(database.conninfo, PGEMBEDD_PROVIDERS_FILE=str(tmp_path / "providers.toml")):
            await_quiet(connection)
            assert sorted(sent()) == ["# one\n\ntext 3", "# one\n\ntext 4"]
            assert [value(connection, embedding, each) for each in (1, 2)] == kept
            connection.execute("update documents set content = 'new' where id = 1")
            await_quiet(connection)
            assert sent()[2:] == ["# one\n\nnew"]
            same = "select embedding <=> %s::halfvec(1536) < 0.001 from documents where id = 1"
            assert value(connection, same, str(openais_vector("# one\n\nnew")))
            built = "select index from pgembedd.status where pipeline = 'documents.embedding.next'"
            for statement in leaving_openai():
                if "switch(" in statement:
                    eventually(lambda: value(connection, built) == "valid")
                connection.execute(statement.replace("gte-small", MODEL).encode())
            before = len(provider.received)
            connection.execute("update documents set content = 'newer' where id = 2")
            await_quiet(connection)
            assert value(connection, same.replace("1536", "384"), str(model.run("# one\n\nnew").tolist()))
            found = "select key::int from pgembedd.search('documents.embedding', 'newer', k => 1)"
            assert value(connection, found) == 2
            assert len(sent()) == 3
            assert len(provider.received) == before


def leaving_openai() -> list[str]:
    """The statements of moving.md."""
    page = (ROOT / "docs/how-to/moving.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^### Leave OpenAI.*?^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(block).splitlines()


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

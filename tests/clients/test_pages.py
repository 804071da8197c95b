"""The pages whose programs use packages of other projects work in the order of reading, with these packages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg.conninfo import make_conninfo

from tests.project.pages import blocks
from tests.project.test_pages import (
    FILES,
    WITH_CLIENTS,
    Desk,
    beginning,
    desk,
    no_roles_left,
    prepare,
    provider,
    read,
    reading,
)
from tests.support.databases import Database, fresh_database
from tests.support.servers.postgrest import StandInPostgrest

__all__ = ["desk", "no_roles_left", "provider"]
pytestmark = [pytest.mark.clients, pytest.mark.usefixtures("no_roles_left")]


@pytest.fixture
def documents(desk: Desk) -> Iterator[Database]:
    """The database that the first page leaves behind."""
    with fresh_database(desk.server, desk.example.name) as database:
        yield database


@pytest.mark.parametrize("page", WITH_CLIENTS)
def test_a_page_works_with_packages_of_other_projects(desk: Desk, documents: Database, page: str) -> None:
    prepare(page, documents)
    with StandInPostgrest(documents.conninfo).running() as supabase:
        here = replace(desk, here={**desk.here, "https://project.supabase.co": supabase.url})
        with reading(here, documents, clients=True) as reader:
            reader.start("run")
            read(reader, page)


CALLS = {
    "langchain": """
from langchain_pgembedd import PgembeddEmbeddings, PgembeddRetriever
def titles(pool, query, **options):
    found = PgembeddRetriever(pool=pool, pipeline="documents", content="body", **options).invoke(query)
    return [document.metadata["title"] for document in found]
def vectors(pool):
    model = PgembeddEmbeddings(pool, "documents")
    return [model.embed_query("wifi"), *model.embed_documents(["wifi", "password"])]
""",
    "llama_index": """
from llama_index_pgembedd import PgembeddEmbedding, PgembeddRetriever
def titles(pool, query, **options):
    found = PgembeddRetriever(pool, "documents", "body", **options).retrieve(query)
    return [node.metadata["title"] for node in found]
def vectors(pool):
    model = PgembeddEmbedding(pool=pool, pipeline="documents")
    return [model.get_query_embedding("wifi"), *model.get_text_embedding_batch(["wifi", "password"])]
""",
}
ASKED = """
import json, sys
from psycopg_pool import ConnectionPool
ann, bob = {"sub": "ann"}, {"sub": "bob"}
with ConnectionPool(sys.argv[1]) as pool:
    found = {
        "ann": titles(pool, "I can't log in", claims=ann),
        "bob": titles(pool, "I can't log in", claims=bob),
        "unknown": titles(pool, "I can't log in"),
        "first": titles(pool, "I can't log in", claims=ann, k=1),
        "filtered": titles(pool, "I can't log in", claims=ann, filter={"year": {"$lt": 2024}}),
        "words": titles(pool, "invoice", claims=ann, mode="text"),
        "words of others": titles(pool, "invoice", claims=bob, mode="text"),
    }
    print(json.dumps([found, vectors(pool)]))
"""


def test_retrievers_find_what_their_user_may_read(desk: Desk, documents: Database) -> None:
    page = "docs/how-to/langchain.md"
    with reading(desk, documents, clients=True) as reader:
        reader.start("run")
        for block in blocks(page):
            if block.language == "sql":
                reader.run(block)
            if file := beginning(page, block.text, FILES):
                reader.save(FILES[file], block.text)
        with documents.connect() as connection:
            connection.execute("select pgembedd.sweep()")
        conninfo = make_conninfo(documents.conninfo, user="app", password="secret")
        for framework, calls in CALLS.items():
            reader.save("asked.py", calls + ASKED)
            found, vectors = json.loads(reader.output_of("python", "asked.py", conninfo))
            check(framework, found, vectors)


def check(framework: str, found: dict[str, list[str]], vectors: list[list[float]]) -> None:
    """Compares what was found with the policy: the rows of the section `faq` are Ann's, the others Bob's."""
    assert found == {
        "ann": ["Passwords", "Invoices"],
        "bob": ["Wifi"],
        "unknown": [],
        "first": ["Passwords"],
        "filtered": ["Invoices"],
        "words": ["Invoices"],
        "words of others": [],
    }, framework
    assert [len(vector) for vector in vectors] == [384] * 3
    assert vectors[0] == vectors[1] != vectors[2]

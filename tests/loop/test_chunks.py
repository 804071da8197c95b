"""Long texts through a real worker with the real model: every chunk has its vector, and only new ones are embedded."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import subprocess
from collections.abc import Sequence

import numpy as np
import psycopg
import pytest

from pgembedd.errors import ModelMismatchError
from pgembedd.model import Session
from pgembedd.search.calls import pipelines_call
from pgembedd.search.fingerprints import check_unchanged
from pgembedd.search.run import run, search
from tests.support.databases import Database
from tests.support.documents import await_quiet
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.prepared import prepared
from tests.support.sql import call, learn_vector, rows, value
from tests.support.worker import worker_thread


@prepared
def chunked(connection: psycopg.Connection) -> None:
    """`documents` with chunks of at most 64 tokens, each with the title before it."""
    connection.execute("create table documents (id int primary key, title text, body text)")
    call(
        connection,
        "create_pipeline",
        pipeline="documents",
        source="documents",
        content_columns=["body"],
        model=MODEL,
        embedding_table="chunks",
        chunk_tokens=64,
        formatting="$title: $chunk",
    )


@pytest.fixture
def documents(chunked: psycopg.Connection) -> psycopg.Connection:
    """The same; the session knows vectors."""
    learn_vector(chunked)
    return chunked


def insert_docs(connection: psycopg.Connection, count: int = 4) -> None:
    """As many real documents of 3,000 characters."""
    for key, module in enumerate([argparse, dataclasses, inspect, subprocess][:count]):
        body = re.sub(r"\n{3,}", "\n\n", inspect.getsource(module))[:3000]
        connection.execute("insert into documents values (%s, %s, %s)", (key, module.__name__, body))


def wrong(connection: psycopg.Connection, model: Session) -> list[tuple[int, int]]:
    """(id, chunk_index) of the chunks whose text, place, hash or vector is not that of the row as it is now."""
    found = rows(
        connection,
        "select id, chunk_index, chunk = substr(body, start_offset + 1, end_offset - start_offset)"
        " and content_hash = sha256(convert_to(title || ': ' || chunk, 'UTF8')),"
        " title || ': ' || chunk, embedding, tokens, tokens_kept from chunks left join documents using (id)",
    )
    want = model.embed([row[3] for row in found])
    near = np.einsum("ij,ij->i", np.array([row[4].to_list() for row in found]), want.vectors) > 0.9995
    counted = [(row[5], row[6]) == (tokens, tokens) for row, tokens in zip(found, want.tokens, strict=True)]
    return [
        row[:2]
        for row, good, same in zip(found, near, counted, strict=True)
        if not (row[2] and good and same and row[5] <= model.max_tokens)
    ]


def test_of_a_changed_text_only_the_new_chunk_is_embedded(
    database: Database, documents: psycopg.Connection, model: Session
) -> None:
    """The short form of the next one."""
    asked: list[list[str]] = []
    first, second, third = ("\n".join([f"A line about {word}."] * 8) for word in ("ships", "shoes", "cabbages"))
    with worker_thread(database, only(Wrapped(model, on_start=lambda texts: asked.append(list(texts))))):
        documents.execute("insert into documents values (1, 'Title', %s)", [f"{first}\n\n{second}"])
        await_quiet(documents)
        documents.execute("update documents set body = %s", [f"{first}\n\n{third}"])
        await_quiet(documents)
    assert asked == [[f"Title: {first}", f"Title: {second}"], [f"Title: {third}"]]
    assert wrong(documents, model) == []


@pytest.mark.slow
def test_every_chunk_has_its_vector_and_only_new_ones_are_embedded(
    database: Database, documents: psycopg.Connection, model: Session
) -> None:
    asked: list[str] = []

    def note(texts: Sequence[str]) -> None:
        asked.extend(texts)

    with worker_thread(database, only(Wrapped(model, on_start=note))):
        insert_docs(documents)
        await_quiet(documents)
        assert wrong(documents, model) == []
        assert value(documents, "select min(n) from (select count(*) as n from chunks group by id) c") > 5
        before = len(asked)
        documents.execute("update documents set body = body || E'\\n\\nA paragraph at the end.' where id = 0")
        await_quiet(documents)
        assert wrong(documents, model) == []
        assert 1 <= len(asked) - before <= 2
        documents.execute("update documents set body = '' where id = 1")
        documents.execute("delete from documents where id = 2")
        await_quiet(documents)
        assert wrong(documents, model) == []
        assert value(documents, "select array_agg(distinct id order by id) from chunks") == [0, 3]


@pytest.mark.slow
def test_a_search_finds_the_chunk(database: Database, documents: psycopg.Connection, model: Session) -> None:
    with worker_thread(database, only(Wrapped(model))):
        insert_docs(documents)
        documents.execute(
            "update documents set body = left(body, 1500) || E'\\n\\nZebras graze on the savanna beside antelopes and"
            " giraffes, far from any computer.\\n\\n' || right(body, 1500) where id = 1"
        )
        await_quiet(documents)
    words = "African animals in the grassland"
    vector = model.run(words, kind="query").tolist()
    hit, *_ = search(documents, "documents", words, k=3, embedding=vector)
    assert hit.key == 1
    assert "Zebras" in str(hit.snippet)
    assert hit.chunk_index == value(documents, "select chunk_index from chunks where chunk like '%Zebras%'")


@pytest.mark.slow
def test_a_search_that_a_change_of_model_overtook_says_so(
    database: Database, documents: psycopg.Connection, model: Session
) -> None:
    with worker_thread(database, only(Wrapped(model))):
        documents.execute("insert into documents values (1, 'title', 'body')")
        call(documents, "change_model", pipeline="documents", chunk_tokens=32)
        await_quiet(documents)
    (before,) = run(documents, pipelines_call("documents"))
    call(documents, "switch_model", pipeline="documents")
    check_unchanged(documents, before)  # other chunks, the same model
    documents.execute("update pgembedd_internal.pipeline set fingerprint = 'another@1' where name = 'documents'")
    with pytest.raises(ModelMismatchError, match="was changed at this moment: search again"):
        check_unchanged(documents, before)


def test_a_title_that_leaves_no_room_is_a_dead_letter(
    database: Database, documents: psycopg.Connection, model: Session
) -> None:
    with worker_thread(database, only(Wrapped(model))):
        documents.execute("insert into documents values (1, repeat('word ', 1000), 'body'), (2, 'title', 'body')")
        await_quiet(documents)
    found = rows(documents, "select key, reason, attempts from pgembedd.dead_letters")
    assert found == [(1, "content", 1)]
    assert "What the formatting puts around every chunk" in value(documents, "select error from pgembedd.dead_letters")
    assert rows(documents, "select id from chunks") == [(2,)]

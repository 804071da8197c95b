"""A worker embeds equal texts of a table once: across rows, backfills, chunkings and models, and for embed()."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, stale
from tests.support.embedders import MODEL, Counted, only
from tests.support.sql import value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

OTHER = "gte-small"


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks", "chunk_tokens": 20}], ids=["column", "table"])
def test_equal_texts_of_rows_are_embedded_once(
    database: Database, connection: psycopg.Connection, model: Session, options: dict[str, Any]
) -> None:
    counted = Counted(model)
    make_documents(connection, **options)
    with worker_thread(database, only(counted.model)):
        insert(connection, [1])
        await_quiet(connection)
        connection.execute("insert into documents values (2, 'text 1'), (3, 'text 3'), (4, 'text 1')")
        await_quiet(connection)
        connection.execute("select pgembedd.backfill('documents', force => true)")
        await_quiet(connection)
    assert counted.asked == ["text 1", "text 3"]
    assert value(connection, "select recalled from pgembedd.status") == 6
    if options:
        assert value(connection, "select count(distinct embedding::text) from chunks where chunk = 'text 1'") == 1
        assert value(connection, "select count(*) from chunks") == 4
    else:
        await_embedded(connection, [1, 2, 3, 4])
        assert stale(connection, model) == []


def change(connection: psycopg.Connection, option: str, to: Any) -> None:
    """Changes an option of `documents` by change_model(), waits for the new vectors, and switches to them."""
    connection.execute(f"select pgembedd.change_model('documents', {option} => %s)".encode(), (to,))
    await_quiet(connection)
    connection.execute("select pgembedd.switch_model('documents', force => true)")
    connection.execute("select pgembedd.drop_pipeline('documents.previous', drop_vectors => true)")


def test_a_change_of_model_and_back_embeds_for_the_new_one_alone(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    counted, other = Counted(model), Counted(model)
    other.model.name, other.model.fingerprint = OTHER, f"{OTHER}@imitated"
    models: dict[str, Embedder] = {MODEL: counted.model, OTHER: other.model}
    make_documents(connection, index_type="none")
    insert(connection, [1, 2, 3])
    with worker_thread(database, models.__getitem__):
        await_quiet(connection)
        for to in (OTHER, MODEL, OTHER):
            change(connection, "model", to)
    assert len(counted.asked) == len(other.asked) == 3
    assert stale(connection, model) == []


def test_chunks_that_another_chunking_leaves_as_they_are_are_not_embedded_again(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    counted = Counted(model)
    make_documents(connection, embedding_table="chunks", chunk_tokens=32, index_type="none")
    insert(connection, [1, 2, 3])
    with worker_thread(database, only(counted.model)):
        await_quiet(connection)
        change(connection, "chunk_tokens", 64)
        change(connection, "formatting", "About: $chunk")
        change(connection, "formatting", "$chunk")
    assert sorted(counted.asked) == [f"{before}text {n}" for before in ("About: ", "") for n in (1, 2, 3)]
    assert value(connection, "select count(*) from chunks where embedding is not null") == 3


def test_other_tables_have_their_own(database: Database, connection: psycopg.Connection, model: Session) -> None:
    counted = Counted(model)
    for name in ("documents", "others"):
        make_documents(connection, name)
    with worker_thread(database, only(counted.model)):
        for name in ("documents", "others"):
            insert(connection, [1], table=name)
            await_quiet(connection)
    assert counted.asked == ["text 1", "text 1"]


def test_embed_recalls_what_was_asked_with_the_same_kind(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    counted = Counted(model)
    make_documents(connection)
    insert(connection, [1])
    with worker_thread(database, only(counted.model)):
        await_quiet(connection)
        eventually(lambda: value(connection, "select pgembedd_internal._listeners()"))
        vectors = {value(connection, "select pgembedd.embed('text 1')::text") for _ in range(2)}
        value(connection, "select pgembedd.embed('text 1', kind => 'document')::text")
    assert len(vectors) == 1
    assert counted.asked == 3 * ["text 1"], "a row, a query, and a text of a caller"

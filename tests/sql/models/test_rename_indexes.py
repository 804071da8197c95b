"""Indexes are named after what they index, also after a change of model and back."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.sql.models.test_change import begin, pin, work_both
from tests.support.prepared import prepared_for
from tests.support.sql import call, create_pipeline, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

KINDS = ["column", "table", "partitioned"]


@prepared_for(*KINDS)
def documents(connection: psycopg.Connection, kind: str) -> None:
    partitioned = "partition by range (id)" if kind == "partitioned" else ""
    connection.execute(f"create table documents (id int primary key, content text) {partitioned}")
    if partitioned:
        connection.execute("create table documents_1 partition of documents for values from (0) to (100)")
    options = {"embedding_table": "chunks"} if kind == "table" else {}
    create_pipeline(connection, content_columns=["content"], index_type="hnsw", **options)
    pin(connection, "documents", "old")
    connection.execute("insert into documents values (1, 'text')")
    work(connection)


def indexes(connection: psycopg.Connection) -> dict[str, str]:
    """Returns the name of each index on vectors by what it indexes; that of a partition without the table's number."""
    return dict(
        rows(
            connection,
            """
            select i.indrelid::regclass || '.' || a.attname,
                   regexp_replace(i.indexrelid::regclass::text, i.indrelid::text || '$', 'N')
            from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
            where m.amname = 'hnsw'
            """,
        )
    )


LIVE = {
    "column": {"documents.embedding": "documents_embedding_hnsw"},
    "table": {"chunks.embedding": "chunks_embedding_hnsw"},
    "partitioned": {
        "documents.embedding": "documents_embedding_hnsw",
        "documents_1.embedding": "documents_1_embedding_hnsw_N",
    },
}


def beside(kind: str, suffix: str) -> dict[str, str]:
    """Returns the names of the indexes of the vectors that are not live."""
    if kind == "table":
        return {f"chunks_{suffix}.embedding": f"chunks_{suffix}_embedding_hnsw"}
    return {
        name.replace("embedding", f"embedding_{suffix}"): index.replace("embedding", f"embedding_{suffix}")
        for name, index in LIVE[kind].items()
    }


def test_the_live_index_has_the_live_name(documents: psycopg.Connection, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["documents"]
    begin(documents)
    work_both(documents)
    call(documents, "switch_model", pipeline="documents")
    assert indexes(documents) == LIVE[kind] | beside(kind, "previous")
    call(documents, "revert_model", pipeline="documents")
    assert indexes(documents) == LIVE[kind] | beside(kind, "next")
    call(documents, "switch_model", pipeline="documents")
    call(documents, "drop_pipeline", pipeline="documents.previous", drop_vectors=True)
    begin(documents, model="newer-model")  # a second change finds its names free
    work_both(documents)
    call(documents, "switch_model", pipeline="documents")
    assert indexes(documents) == LIVE[kind] | beside(kind, "previous")
    assert value(documents, "select bool_and(index = 'valid') from pgembedd.status")


def test_an_index_that_is_still_to_be_built_gets_the_live_name(documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    index = value(documents, "select created_indexes[1] from pgembedd_internal.pipeline where name = 'documents.next'")
    documents.execute(f"drop index {index}")
    call(documents, "switch_model", pipeline="documents", force=True)
    statements = " ".join(row[0] for row in rows(documents, "select * from pgembedd.index_statements('documents')"))
    assert re.search(r"create index concurrently \w+_embedding_hnsw", statements)


def test_the_index_of_waiting_rows_goes_with_its_column(documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    call(documents, "switch_model", pipeline="documents")
    call(documents, "drop_pipeline", pipeline="documents.previous")
    assert rows(documents, "select name from pgembedd_internal.pipeline") == [("documents",)]
    kept = "select count(*) from pg_indexes where indexname like '%previous_missing%'"
    assert value(documents, kept) == 0

"""Another model without downtime: a second pipeline, a switch, a way back."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared_for
from tests.support.roles import Roles
from tests.support.sql import (
    LANES,
    call,
    claim,
    column,
    connected,
    create_pipeline,
    made_up,
    read,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

KINDS = ["column", "table"]


@prepared_for(*KINDS)
def documents(connection: psycopg.Connection, kind: str) -> None:
    """`documents` with ten embedded rows, in a column or in a table."""
    connection.execute("create table documents (id int primary key, title text, content text)")
    options = {"embedding_table": "chunks"} if kind == "table" else {}
    create_pipeline(connection, content_columns=["content"], index_type="hnsw", **options)
    pin(connection, "documents", "old")
    insert(connection, range(1, 11))
    work(connection)


def insert(connection: psycopg.Connection, ids: range) -> None:
    connection.execute("insert into documents select i, 't', 'text ' || i from unnest(%s::int[]) i", (list(ids),))


def pin(connection: psycopg.Connection, name: str, fingerprint: str) -> None:
    connection.execute("update pgembedd_internal.pipeline set fingerprint = %s where name = %s", (fingerprint, name))


def turned(text: str) -> list[float]:
    """The new model's vector of a text: the old one's turned round."""
    return made_up(text)[::-1]


def work_both(connection: psycopg.Connection, new: str = "documents.next") -> None:
    """Work all jobs, each with the model of its pipeline; `new` is how that of the new model is called now."""
    for lane in LANES:
        jobs = claim(connection, lane, size=1000)
        for name in {job.pipeline for job in jobs}:
            mine = [job for job in jobs if job.pipeline == name]
            store(connection, mine, embed=turned if name == new else made_up)


def found(connection: psycopg.Connection) -> dict[int, list[float]]:
    """Returns the vectors as an application reads them."""
    table = value(
        connection,
        "select coalesce(embedding_table, source)::text from pgembedd_internal.pipeline where name = 'documents'",
    )
    assert table in ("documents", "chunks")
    return {
        key: [float(x) for x in vector.to_list()]
        for key, vector in rows(connection, f"select id, embedding from {table} where embedding is not null")
    }


def old(ids: range) -> dict[int, list[float]]:
    return {key: made_up(f"text {key}") for key in ids}


def new(ids: range) -> dict[int, list[float]]:
    return {key: turned(f"text {key}") for key in ids}


def begin(connection: psycopg.Connection, **options: Any) -> int:
    queued: int = call(connection, "change_model", pipeline="documents", **{"model": "new-model"} | options)
    pin(connection, "documents.next", "new")
    return queued


# Columns of `pipeline` that say how one was made, besides those called as parameters of create_pipeline().
MADE = {
    "name",
    "asked_watch_columns",
    "m",
    "ef_construction",
    "source_name",
    "key_columns",
    "embedding_table_name",
    "search_path",
    "text_config_column",
}
ODD = {"boolean": "true", "text": "odd", "text[]": "{odd}", "jsonb": '"odd"', "interval": "7 s"}
ODD["timestamp with time zone"] = "2001-01-01"


def test_nothing_that_became_of_the_pipeline_goes_to_the_next_one(documents: psycopg.Connection) -> None:
    made = {*value(documents, "select proargnames from pg_proc where proname = 'create_pipeline'"), *MADE}
    columns = (
        "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0"
    )
    types = {name: type_ for name, type_ in rows(documents, columns, "pgembedd_internal.pipeline") if name not in made}
    odd = [
        f"{name} = '{ODD[type_]}'" for name, type_ in types.items() if type_ in ODD and name not in ("state", "shadow")
    ]
    documents.execute(f"update pgembedd_internal.pipeline set {', '.join(odd)}, state = 'paused'")
    begin(documents)
    old, new = column(documents, "select to_jsonb(p) from pgembedd_internal.pipeline p order by id")
    assert len(odd) > 15
    assert [name for name in types if old[name] == new[name] is not None] == []
    changed = {name for name in made if old.get(name) != new.get(name)}
    assert changed <= {"name", "model", "embedding_column", "embedding_table", "embedding_table_name"}


@pytest.mark.slow
def test_the_way_there_and_back(documents: psycopg.Connection) -> None:
    assert begin(documents) == 10
    assert found(documents) == old(range(1, 11))
    work_both(documents)
    assert found(documents) == old(range(1, 11))
    insert(documents, range(11, 12))
    work_both(documents)
    call(documents, "switch_model", pipeline="documents")
    assert found(documents) == new(range(1, 12))
    assert rows(documents, "select name, model, fingerprint from pgembedd_internal.pipeline order by name") == [
        ("documents", "new-model", "new"),
        ("documents.previous", "gte-small", "old"),
    ]
    insert(documents, range(12, 13))
    work_both(documents, new="documents")
    assert found(documents) == new(range(1, 13))
    call(documents, "revert_model", pipeline="documents")
    assert found(documents) == old(range(1, 13))
    call(documents, "switch_model", pipeline="documents")
    call(documents, "drop_pipeline", pipeline="documents.previous", drop_vectors=True)
    insert(documents, range(13, 14))
    work_both(documents, new="documents")
    assert found(documents) == new(range(1, 14))
    columns = column(
        documents,
        "select relname || '.' || attname from pg_attribute join pg_class c on c.oid = attrelid"
        " where relnamespace = 'public'::regnamespace and relkind = 'r' and atttypid = 'halfvec'::regtype",
    )
    assert columns in (["documents.embedding"], ["chunks.embedding"])


@pytest.mark.own_database
def test_a_switch_before_the_second_pipeline_is_complete_is_refused(documents: psycopg.Connection) -> None:
    begin(documents)
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match=r'10 rows of "documents" have no vector in "documents\.next"'
    ):
        call(documents, "switch_model", pipeline="documents")
    assert found(documents) == old(range(1, 11))
    call(documents, "switch_model", pipeline="documents", force=True)
    assert found(documents) == {}


def test_a_switch_to_what_does_not_run_or_has_no_index_is_refused(documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    before = found(documents)
    documents.execute("select pgembedd.pause('documents.next')")
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match=r'"documents\.next" is not fit to take over: '
    ):
        call(documents, "switch_model", pipeline="documents")
    documents.execute("select pgembedd.resume('documents.next')")
    (index,) = column(
        documents,
        "select i.indexrelid::regclass::text from pgembedd_internal.pipeline p join pg_index i"
        " on i.indrelid = coalesce(p.embedding_table, p.source) and i.indkey[0] = (select a.attnum from pg_attribute a"
        "   where a.attrelid = i.indrelid and a.attname = coalesce(p.embedding_column, 'embedding'))"
        " where p.name = 'documents.next'",
    )
    documents.execute(f"drop index {index}".encode())
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match=r'The index of "documents\.next" is not there yet'
    ):
        call(documents, "switch_model", pipeline="documents")
    assert found(documents) == before


def test_rows_that_wait_on_both_sides_do_not_hinder_a_switch(documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    insert(documents, range(20, 25))
    call(documents, "switch_model", pipeline="documents")
    work_both(documents, new="documents")
    assert found(documents) == new(range(1, 11)) | new(range(20, 25))


def test_a_vector_on_its_way_lands_in_its_own_place(documents: psycopg.Connection) -> None:
    """Claimed and read under the old names, stored under the new ones."""
    begin(documents)
    work_both(documents)
    insert(documents, range(30, 31))
    jobs = claim(documents)
    contents = {job.msg_id: read(documents, [job]) for job in jobs}
    call(documents, "switch_model", pipeline="documents")
    for job in jobs:
        embed = turned if job.pipeline == "documents.next" else made_up
        assert store(documents, [job], contents[job.msg_id], embed=embed) == ["written"]
    assert found(documents)[30] == turned("text 30")


@pytest.mark.slow
def test_a_store_waits_for_a_switch_that_is_under_way(database: Database, documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    insert(documents, range(30, 31))
    jobs = [job for job in claim(documents) if job.pipeline == "documents"]
    contents = read(documents, jobs)
    with database.connect() as other:
        other.autocommit = False
        call(other, "switch_model", pipeline="documents")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            store(documents, jobs, contents)
        other.commit()
    assert store(documents, jobs, contents) == ["written"]
    assert 30 not in found(documents)


def test_other_dimensions_and_another_type(documents: psycopg.Connection) -> None:
    begin(documents, dimensions=4, vector_type="vector")
    for lane in LANES:
        if jobs := claim(documents, lane):
            store(documents, jobs, embed=lambda _text: [1.0, 2.0, 3.0, 4.0])
    call(documents, "switch_model", pipeline="documents")
    assert set(map(tuple, found_vectors(documents))) == {(1.0, 2.0, 3.0, 4.0)}


def found_vectors(connection: psycopg.Connection) -> list[list[float]]:
    table = value(
        connection,
        "select coalesce(embedding_table, source)::text from pgembedd_internal.pipeline where name = 'documents'",
    )
    return [[float(x) for x in vector.to_list()] for (vector,) in rows(connection, f"select embedding from {table}")]


def test_both_sides_are_compared(documents: psycopg.Connection) -> None:
    begin(documents)
    sides = rows(documents, "select pipeline, rows_embedded, rows_missing from pgembedd.compare_models('documents')")
    assert sides == [("documents", 10, 0), ("documents.next", 0, 10)]
    work_both(documents)
    sides = rows(
        documents,
        "select rows_embedded, rows_missing, index, recall > 0.9, agreement between 0 and 1"
        " from pgembedd.compare_models('documents', sample => 5, k => 3)",
    )
    assert sides == [(10, 0, "valid", True, True)] * 2


@pytest.mark.own_database
def test_what_is_not_there_is_refused(documents: psycopg.Connection) -> None:
    for function, message in [
        ("switch_model", 'There is nothing to switch "documents" to'),
        ("revert_model", 'There is nothing to take "documents" back to'),
        ("compare_models", '"documents" stands alone'),
    ]:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=message):
            call(documents, function, pipeline="documents")
    begin(documents)
    for function, name, message in [
        ("change_model", "documents", '"documents" has a second pipeline, "documents.next".'),
        ("change_model", "documents.next", '"documents.next" is the second pipeline of a change of model'),
        ("drop_pipeline", "documents", '"documents" has a second pipeline, "documents.next"'),
        ("revert_model", "documents", 'There is nothing to take "documents" back to'),
    ]:
        with pytest.raises(psycopg.Error, match=message):
            call(documents, function, pipeline=name)


def test_a_change_given_up_leaves_nothing(documents: psycopg.Connection) -> None:
    begin(documents)
    call(documents, "drop_pipeline", pipeline="documents.next", drop_vectors=True)
    assert begin(documents) == 10


@pytest.mark.parametrize("suffix", ["next", "previous"])
def test_a_column_in_the_way_is_named(database: Database, suffix: str) -> None:
    with connected(database) as connection:
        connection.execute(f"create table documents (id int primary key, content text, embedding_{suffix} halfvec(3))")
        create_pipeline(connection, content_columns=["content"])
        with pytest.raises(psycopg.errors.DuplicateColumn, match=f"has a column embedding_{suffix} already"):
            begin(connection)


@pytest.mark.parametrize("taken", ["table chunks_previous", "table chunks_next", "view chunks_previous_view"])
def test_a_table_in_the_way_is_named(database: Database, taken: str) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, content text)")
        create_pipeline(connection, content_columns=["content"], embedding_table="chunks")
        connection.execute(f"create {taken} as select 1 as one")
        kind, name = taken.split()
        with pytest.raises(
            psycopg.errors.DuplicateTable,
            match=f"There is a relation public.{name} already(?s:.*)ALTER {kind.upper()} public.{name} RENAME TO",
        ):
            begin(connection)


def test_vectors_that_a_dropped_side_left_are_named(documents: psycopg.Connection) -> None:
    begin(documents)
    work_both(documents)
    call(documents, "switch_model", pipeline="documents")
    call(documents, "drop_pipeline", pipeline="documents.previous")
    with pytest.raises(
        (psycopg.errors.DuplicateColumn, psycopg.errors.DuplicateTable),
        match=r"_previous(_view)? already, which is where vectors would go",
    ):
        begin(documents)


def test_a_name_without_room_for_the_other_side_is_refused(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, content text)")
        create_pipeline(connection, pipeline="n" * 55, content_columns=["content"])
        with pytest.raises(psycopg.errors.NameTooLong, match="at most 54 characters"):
            call(connection, "change_model", pipeline="n" * 55, model="new-model")


def test_rights_on_the_column_stay_with_its_name(roles: Roles, database: Database) -> None:
    app, gone = roles.make("app"), roles.make("gone")
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, content text)")
        create_pipeline(connection, content_columns=["content"])
        begin(connection)
        connection.execute(f"grant select (id, embedding) on documents to {app}, {gone}")
        connection.execute(f"grant update (embedding) on documents to {app} with grant option")
        call(connection, "switch_model", pipeline="documents")
        connection.execute(f"revoke select (embedding) on documents from {gone}")
        for function in ("revert_model", "switch_model"):
            granted = (
                "select privilege_type, is_grantable, grantee::regrole::text from pg_attribute, aclexplode(attacl)"
                " where attrelid = 'documents'::regclass and attname = 'embedding' order by 1"
            )
            assert rows(connection, granted) == [("SELECT", False, app), ("UPDATE", True, app)]
            call(connection, function, pipeline="documents")


def test_the_backfill_of_another_model_may_be_put_off(documents: psycopg.Connection) -> None:
    assert begin(documents, backfill=False) == 0
    assert call(documents, "backfill", pipeline="documents.next") == 10


def test_too_many_dimensions_for_an_index_are_refused(documents: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="5000 dimensions cannot be indexed as halfvec"):
        begin(documents, dimensions=5000)


def test_another_chunking_is_a_change_as_well(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text)")
        create_pipeline(connection, content_columns=["content"], embedding_table="chunks", chunk_tokens=64)
        begin(connection, model="gte-small", chunk_tokens=128, formatting="$title $chunk")
        found = rows(connection, "select name, chunk_tokens, formatting from pgembedd_internal.pipeline order by name")
        assert found == [("documents", 64, None), ("documents.next", 128, "$title $chunk")]


def test_the_names_of_both_sides_are_kept(documents: psycopg.Connection) -> None:
    begin(documents)
    documents.execute("create table other (id int primary key, content text)")
    told = r'The name "documents\.previous" is kept for the change of a model'
    with pytest.raises(psycopg.errors.DuplicateObject, match=told), documents.transaction():
        create_pipeline(documents, pipeline="documents.previous", source="other", content_columns=["content"])
    create_pipeline(documents, pipeline="other", source="other", content_columns=["content"])
    with pytest.raises(psycopg.errors.DuplicateObject, match=told), documents.transaction():
        call(documents, "alter_pipeline", pipeline="other", rename_to="documents.previous")
    call(documents, "switch_model", pipeline="documents", force=True)
    call(documents, "revert_model", pipeline="documents", force=True)
    call(documents, "alter_pipeline", pipeline="documents", rename_to="texts")
    assert column(documents, "select pipeline from pgembedd.pipelines order by 1") == ["other", "texts", "texts.next"]

"""The words' table: it is in step with the vectors, whatever happens to the rows, the table and the pipeline."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.sql.models.test_change import begin, pin, work_both
from tests.sql.search.test_words import by_words, hybrid, make_texts, sample
from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.search import search
from tests.support.sql import call, claim, column, connected, create_pipeline, rows, store, value, work
from tests.support.transaction import connection

__all__ = ["connection"]


def words(connection: psycopg.Connection, table: str = "documents_words") -> list[Any]:
    return rows(connection, f"select * from {table} order by 1, 2")


@pytest.mark.parametrize("table", [None, "chunks"])
def test_words_come_and_go_with_the_vectors(connection: psycopg.Connection, table: str | None) -> None:
    make_texts(connection, embedding_table=table)
    connection.execute("update documents set title = '', content = 'a bird' where id = 1")
    work(connection)
    assert by_words(connection, "bird") == [1]
    assert by_words(connection, "forgotten") == []
    connection.execute("update documents set title = '', content = '' where id = 1")
    work(connection)
    assert by_words(connection, "bird") == []
    assert 1 not in [row[0] for row in words(connection)]
    connection.execute("delete from documents where id = 2")
    assert by_words(connection, "invoice") == []
    call(connection, "retention")
    assert {row[0] for row in words(connection)} == {3, 4}
    connection.execute("truncate documents")
    call(connection, "retention")
    assert words(connection) == []


def test_a_vector_that_is_cleared_takes_its_words_along(connection: psycopg.Connection) -> None:
    make_texts(connection, on_update="clear")
    connection.execute("update documents set content = 'a bird' where id = 2")
    assert by_words(connection, "invoice") == []


def test_a_writer_writes_no_words(connection: psycopg.Connection) -> None:
    make_texts(connection)
    before = words(connection)
    connection.execute("update documents set content = 'a bird' where id = 2")
    connection.execute("delete from documents where id = 3")
    assert words(connection) == before


def test_words_that_were_stored_are_not_written_again(connection: psycopg.Connection) -> None:
    make_texts(connection)
    before = rows(connection, "select id, ctid::text from documents_words order by id")
    value(connection, "select pgembedd.requeue('documents', '{1,2,3,4}')")
    assert set(work(connection).values()) == {"unchanged"}
    assert rows(connection, "select id, ctid::text from documents_words order by id") == before


@pytest.mark.slow
@pytest.mark.parametrize("table", [None, "chunks"])
def test_no_vector_is_lost_to_a_text_that_cannot_be_indexed(connection: psycopg.Connection, table: str | None) -> None:
    """Half a million different words of two bytes a letter are more than a tsvector holds."""
    connection.execute("create table documents (id int primary key, title text, content text)")
    create_pipeline(connection, text_config="simple", embedding_table=table)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute(
        "insert into documents values (1, 'needle', (select string_agg('и' || md5(i::text), ' ')"
        " from generate_series(1, 60000) i)), (2, 'small', 'text'), (3, 'needle', repeat('x', 3000000))"
    )
    assert set(work(connection).values()) == {"written"}
    assert by_words(connection, "small") == [2]
    assert set(by_words(connection, "needle")) == {1, 3}
    assert by_words(connection, "и" + "c4ca4238a0b923820dcc509a6f75849b") == [1]


def test_a_content_function_gives_the_words(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text)")
    connection.execute(
        "create function shown(documents) returns text language sql stable as $$ select 'zebra ' || $1.title $$"
    )
    create_pipeline(connection, content_function="shown")
    connection.execute("insert into documents values (1, 'horses', 'hidden')")
    work(connection)
    assert by_words(connection, "zebra horse") == [1]
    assert by_words(connection, "hidden") == []


def test_a_formatting_counts_as_the_title_of_each_chunk(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text)")
    create_pipeline(connection, content_columns=["content"], embedding_table="chunks", formatting="$title: $chunk")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("insert into documents values (1, 'horses', E'one\\n\\ntwo'), (2, 'zebras', 'horses')")
    work(connection)
    assert [(hit.key, hit.chunk_index) for hit in search(connection, query="horse", mode="text", per="chunk")] == [
        (1, 0),
        (1, 1),
        (2, 0),
    ]


@pytest.mark.parametrize("table", [None, "chunks"])
def test_a_table_that_was_dropped_is_made_and_filled_again(connection: psycopg.Connection, table: str | None) -> None:
    make_texts(connection, embedding_table=table)
    before = words(connection)
    connection.execute("drop table documents_words cascade")
    with refused('The words\' table of "documents" was dropped; the next sweep makes it again.'):
        by_words(connection, "invoice")
    assert len(hybrid(connection, "invoice")) == 4
    connection.execute("update documents set title = 'Bills' where id = 2")
    assert work(connection) == {2: "written"}
    call(connection, "sweep")
    call(connection, "sweep")
    assert by_words(connection, "invoice bills") == [2]
    assert len(words(connection)) == len(before)


@pytest.mark.parametrize("change", ["drop column pgembedd_words cascade", "rename pgembedd_words to mine"])
def test_a_table_that_lost_its_words_is_made_and_filled_again(connection: psycopg.Connection, change: str) -> None:
    make_texts(connection)
    connection.execute("create view owners as select id from documents_words")
    connection.execute(f"alter table documents_words {change}")
    call(connection, "sweep")
    call(connection, "sweep")
    assert by_words(connection, "invoice") == [2]
    assert value(connection, "select state from pgembedd_internal.pipeline") == "running"


def test_vectors_that_are_adopted_get_their_words_by_sweeps(connection: psycopg.Connection) -> None:
    make_texts(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    assert value(connection, "select to_regclass('documents_words')") is None
    create_pipeline(connection, text_config="english", existing_vectors="keep", model="mine")
    call(connection, "sweep", at_most=3)
    assert len(words(connection)) == 3
    call(connection, "sweep", at_most=3)
    assert by_words(connection, "invoice") == [2]
    assert value(connection, "select filled from pgembedd_internal.word_statistics")


def test_the_upkeep_counts_words(connection: psycopg.Connection) -> None:
    make_texts(connection, dict.fromkeys(range(1, 10), ("", "common words")))
    connection.execute("insert into documents values (10, '', 'rare one', 'english')")
    work(connection)
    connection.execute("update pgembedd_internal.word_statistics set due_at = '-infinity', changes = -1")
    call(connection, "tick")
    assert rows(connection, "select word, share from pgembedd_internal.word_frequency order by 1") == [
        ("common", pytest.approx(0.9)),
        ("word", pytest.approx(0.9)),
    ]
    assert rows(connection, "select documents, average_length from pgembedd_internal.word_statistics") == [(10, 2)]


def test_how_common_a_word_is_is_told_to_readers_only(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    make_texts(connection, dict.fromkeys(range(1, 10), ("", "common words")))
    work(connection)
    connection.execute("update pgembedd_internal.word_statistics set due_at = '-infinity', changes = -1")
    call(connection, "tick")
    reader, stranger = roles.make("reader"), roles.make("stranger")
    connection.execute(f"select pgembedd.grant_search(r) from unnest(array['{reader}', '{stranger}']::regrole[]) r")
    connection.execute(f"grant select on documents to {reader}")
    call(connection, "sweep")
    pipeline_id = value(connection, "select id from pgembedd_internal.pipeline")
    shares = f"select * from pgembedd_internal._search_shares({pipeline_id}, array['common', 'uncommon'])"
    told, untold = (9, 2, pytest.approx([1, 2.5 / 9])), (None, None, None)
    assert rows(connection, shares) == [told]
    connection.execute(f"set role {stranger}")
    assert rows(connection, shares) == [untold]
    connection.execute("reset role")
    for role, known in [(reader, told), (stranger, untold)]:
        with connect_as(database, role) as theirs:
            assert rows(theirs, shares) == [known]


@pytest.mark.slow
@pytest.mark.parametrize("table", [None, "chunks"])
def test_a_change_of_the_model_has_words_on_both_sides(connection: psycopg.Connection, table: str | None) -> None:
    make_texts(connection, embedding_table=table)
    pin(connection, "documents", "old")
    begin(connection)
    work_both(connection)
    assert words(connection, "documents_words2") == words(connection)
    call(connection, "switch_model", pipeline="documents")
    connection.execute("update documents set content = 'a bird' where id = 1")
    work_both(connection, new="documents")
    assert by_words(connection, "bird") == by_words(connection, "bird", pipeline="documents.previous") == [1]
    call(connection, "revert_model", pipeline="documents")
    assert by_words(connection, "bird") == [1]
    call(connection, "drop_pipeline", pipeline="documents.next", drop_vectors=True)
    assert value(connection, "select to_regclass('documents_words2')") is None
    assert by_words(connection, "bird") == [1]


@pytest.mark.parametrize("table", [None, "chunks"])
def test_composite_keys_and_partitions(connection: psycopg.Connection, table: str | None) -> None:
    connection.execute("""
        create table documents ("a b" text, n date, title text, content text, primary key ("a b", n))
        partition by range (n);
        create table old partition of documents for values from ('2000-01-01') to ('2020-01-01');
        create table new partition of documents for values from ('2020-01-01') to ('2040-01-01');
    """)
    create_pipeline(connection, embedding_table=table, index_type="hnsw")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute(
        "insert into documents values ('x', '2010-01-01', 'horse', ''), ('x', '2030-01-01', '', 'horse')"
    )
    work(connection)
    sample(connection)
    assert by_words(connection, "horses") == [{"a b": "x", "n": "2010-01-01"}, {"a b": "x", "n": "2030-01-01"}]
    assert by_words(connection, "horses", filter={"n": {"$gt": "2020-01-01"}}) == [{"a b": "x", "n": "2030-01-01"}]
    assert len(hybrid(connection, "horses -zebra")) == 2


def test_a_key_of_another_type_and_another_name_are_followed(connection: psycopg.Connection) -> None:
    make_texts(connection)
    connection.execute("alter table documents alter column id type bigint")
    connection.execute("alter table documents rename to papers")
    call(connection, "sweep")
    connection.execute("insert into papers values (5000000000, '', 'a bird', '')")
    work(connection)
    assert by_words(connection, "bird") == [5000000000]
    assert by_words(connection, "invoice") == [2]


def test_stores_of_one_row_at_once(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    make_texts(connection)
    connection.execute("update documents set content = 'a bird' where id = 1")
    jobs = claim(connection)
    with connection.transaction():
        assert store(connection, jobs) == ["written"]
        assert by_words(other, "bird") == []
    assert by_words(other, "bird") == [1]


@pytest.fixture
def reader(roles: Roles, connection: psycopg.Connection) -> str:
    """A role that may search, and reads no table yet; 2,000 texts, of which five say `needle`."""
    name = roles.make("reader")
    texts = {i: ("", f"filler text number{i} {'needle' if i % 400 == 0 else ''}") for i in range(1, 2001)}
    make_texts(connection, texts, index_type="hnsw")
    connection.execute("vacuum analyze documents, documents_words")
    connection.execute("select pgembedd.grant_search(%s)", [name])
    return name


def explained(connection: psycopg.Connection, query: str) -> Any:
    return value(
        connection, "select pgembedd.explain_search('documents', %s, mode => 'text', with_hits => true)", query
    )["text"]


@pytest.mark.slow
def test_a_reader_uses_the_index_where_no_policy_hides_rows(
    reader: str, database: Database, connection: psycopg.Connection
) -> None:
    connection.execute(f"grant select on documents to {reader}")
    call(connection, "sweep")
    with connected(database) as asking:
        asking.execute(f"set role {reader}")
        assert sorted(by_words(asking, "needle")) == [400, 800, 1200, 1600, 2000]
        plan = explained(asking, "needle")
        assert (plan["path"], plan["index"], plan["rows_visited"]) == ("index", "documents_words_pgembedd_words_idx", 5)
        assert [hit["rank"] for hit in plan["hits"]] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_policies_hide_rows_and_their_words_at_once(
    reader: str, database: Database, connection: psycopg.Connection
) -> None:
    connection.execute(f"grant select on documents to {reader}")
    call(connection, "sweep")
    connection.execute("create policy few on documents using (id <= 800)")
    connection.execute("alter table documents enable row level security")
    with connected(database) as asking:
        asking.execute(f"set role {reader}")
        assert column(asking, "select id from documents_words") == []
        with refused('The words of "documents" have not got the row level security of public.documents yet.'):
            by_words(asking, "needle")
        call(connection, "sweep")
        assert max(column(asking, "select id from documents_words")) == 800
        assert sorted(by_words(asking, "needle")) == [400, 800]
        assert explained(asking, "needle")["path"] == "scan"
        connection.execute("alter table documents disable row level security")
        assert len(by_words(asking, "needle")) == 5
        call(connection, "sweep")
        assert explained(asking, "needle")["path"] == "index"
        connection.execute(f"revoke select on documents from {reader}")
        assert column(asking, "select id from documents_words") == []


@pytest.mark.slow
def test_a_table_that_takes_the_name_of_the_source_opens_no_words(
    reader: str, database: Database, connection: psycopg.Connection
) -> None:
    connection.execute(f"grant select on documents to {reader}; grant create on schema public to {reader}")
    call(connection, "sweep")
    with connect_as(database, reader) as theirs:
        seen = "select count(*) from documents_words_view"
        assert value(theirs, seen) == 2000
        connection.execute("create policy few on documents using (id <= 800)")
        connection.execute("alter table documents enable row level security; alter table documents rename to moved")
        theirs.execute("create table documents (id int)")
        assert value(theirs, seen) == 0
        theirs.execute("drop table documents")
        call(connection, "sweep")
        assert value(theirs, seen) == 0


@pytest.mark.slow
def test_rights_on_columns_are_enough_for_a_search_by_meaning(
    reader: str, database: Database, connection: psycopg.Connection
) -> None:
    connection.execute(f"grant select (id, title, embedding) on documents to {reader}")
    with connect_as(database, reader) as asking:
        assert [hit.text_rank for hit in hybrid(asking, "needle", k=3)] == [None] * 3
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="without which it cannot search by words"):
            by_words(asking, "needle")


def test_the_table_belongs_to_the_owner_of_the_source(roles: Roles, connection: psycopg.Connection) -> None:
    owner = roles.make("owner")
    make_texts(connection)
    connection.execute(f"grant create on schema public to {owner}; alter table documents owner to {owner}")
    call(connection, "sweep")
    assert value(connection, "select tableowner from pg_tables where tablename = 'documents_words'") == owner
    connection.execute("update documents set content = 'a bird' where id = 1")
    work(connection)
    assert by_words(connection, "bird") == [1]


@pytest.mark.parametrize("table", ["", "partition by range (id)"])
def test_a_column_that_names_no_configuration_is_refused(connection: psycopg.Connection, table: str) -> None:
    connection.execute(f"create table documents (id int primary key, title text, tongue text) {table}")
    if table:
        connection.execute("create table part partition of documents for values from (0) to (10)")
    create_pipeline(connection, content_columns=["title"], text_config="tongue")  # nothing is in it yet
    connection.execute("insert into documents values (1, 'a text', null), (2, 'a text', 'en')")
    second = {"pipeline": "second", "content_columns": ["title"], "embedding_column": "second", "text_config": "tongue"}
    rest = "names a text search configuration."
    with refused(f"No value of public.documents.tongue {rest}", "or a column that names one for each row"):
        create_pipeline(connection, **second)
    with refused(f"No value of public.documents.title {rest}"):
        call(connection, "alter_pipeline", pipeline="documents", text_config="title")
    call(connection, "alter_pipeline", pipeline="documents", max_attempts=3)
    connection.execute("update documents set tongue = 'pg_catalog.german' where id = 1")
    create_pipeline(connection, **second)

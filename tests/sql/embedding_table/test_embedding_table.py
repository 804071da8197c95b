"""A pipeline with an embedding table: its rows are the chunks of the source, whatever happens to the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.sql import (
    BACKFILL,
    FRESH,
    call,
    claim,
    claim_one,
    column,
    connected,
    create_pipeline,
    empty,
    look_twice,
    made_up,
    queued,
    read,
    reason,
    rows,
    state,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def chunked(connection: psycopg.Connection) -> None:
    """`documents` with a pipeline whose paragraphs are chunks, pinned to a model."""
    connection.execute("create table documents (id int primary key, title text, content text, other int)")
    create_chunked(connection)


def create_chunked(connection: psycopg.Connection, **options: Any) -> None:
    """A pipeline of `content` into `chunks`, pinned to a model."""
    defaults = {"content_columns": ["content"], "embedding_table": "chunks"}
    create_pipeline(connection, **defaults | options)
    pin(connection)


def pin(connection: psycopg.Connection, model: str = "model-1") -> None:
    connection.execute("update pgembedd_internal.pipeline set fingerprint = %s", (model,))


def chunks(connection: psycopg.Connection) -> list[tuple[int, int, str]]:
    """(id, chunk_index, chunk), each with the vector that its text has."""
    found = rows(connection, "select id, chunk_index, chunk, embedding from chunks order by id, chunk_index")
    for _, _, chunk, embedding in found:
        assert [float(x) for x in embedding.to_list()] == made_up(chunk), chunk
    return [row[:3] for row in found]


def insert(connection: psycopg.Connection, key: int, *paragraphs: str) -> None:
    connection.execute("insert into documents (id, content) values (%s, %s)", (key, "\n\n".join(paragraphs)))


def embedded(texts: list[str]) -> Any:
    """An embedder that writes down what it is asked for."""

    def embed(text: str) -> list[float]:
        texts.append(text)
        return made_up(text)

    return embed


def test_a_row_has_one_row_for_each_chunk(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one", "two words")
    assert work(chunked) == {1: "written"}
    assert chunks(chunked) == [(1, 0, "one"), (1, 1, "two words")]
    found = rows(
        chunked, "select start_offset, end_offset, tokens, tokens_kept, model from chunks order by chunk_index"
    )
    assert found == [(0, 3, 1, 1, "model-1"), (5, 14, 2, 2, "model-1")]
    assert value(chunked, "select bool_and(content_hash = sha256(convert_to(chunk, 'UTF8'))) from chunks")
    assert value(
        chunked,
        "select bool_and(substr(content, start_offset + 1, end_offset - start_offset) = chunk)"
        " from documents join chunks using (id)",
    )


def test_only_chunks_whose_text_changed_are_embedded_again(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one", "two", "three")
    work(chunked)
    before = column(chunked, "select ctid::text || xmin::text from chunks where chunk <> 'two' order by 1")
    chunked.execute("update documents set content = replace(content, 'two', 'zwo') where id = 1")
    asked: list[str] = []
    assert store(chunked, claim(chunked), embed=embedded(asked)) == ["written"]
    assert asked == ["zwo"]
    assert chunks(chunked) == [(1, 0, "one"), (1, 1, "zwo"), (1, 2, "three")]
    assert column(chunked, "select ctid::text || xmin::text from chunks where chunk <> 'zwo' order by 1") == before


def test_a_chunk_that_moves_keeps_its_vector(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one", "two", "three")
    work(chunked)
    chunked.execute("update documents set content = E'new\n\none\n\nthree' where id = 1")
    asked: list[str] = []
    store(chunked, claim(chunked), embed=embedded(asked))
    assert asked == ["new"]
    assert chunks(chunked) == [(1, 0, "new"), (1, 1, "one"), (1, 2, "three")]
    chunked.execute("update documents set content = 'three' where id = 1")
    store(chunked, claim(chunked), embed=embedded(asked))
    assert asked == ["new"]
    assert chunks(chunked) == [(1, 0, "three")]


@pytest.mark.parametrize(
    "meanwhile", ["delete from chunks where chunk = 'one'", "update chunks set model = 'another' where chunk = 'one'"]
)
def test_a_chunk_to_be_taken_over_that_is_gone_or_of_another_model_is_read_again(
    chunked: psycopg.Connection, meanwhile: str
) -> None:
    insert(chunked, 1, "one", "two")
    work(chunked)
    chunked.execute("update documents set content = E'one\n\nnew' where id = 1")
    job = claim_one(chunked)
    contents = read(chunked, [job])
    chunked.execute(meanwhile)
    assert store(chunked, [job], contents) == ["changed"]
    assert work(chunked) == {1: "written"}
    assert chunks(chunked) == [(1, 0, "one"), (1, 1, "new")]
    assert value(chunked, "select count(distinct model) from chunks") == 1


def test_another_model_embeds_everything_again(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    pin(chunked, "model-2")
    call(chunked, "backfill", pipeline="documents", force=True)
    asked: list[str] = []
    store(chunked, claim(chunked, BACKFILL), embed=embedded(asked))
    assert asked == ["one"]
    assert column(chunked, "select model from chunks") == ["model-2"]


def test_force_embeds_again_what_has_not_changed(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    chunked.execute("update chunks set embedding = '[9,9,9]'")
    call(chunked, "backfill", pipeline="documents", force=True)
    work(chunked)
    assert chunks(chunked) == [(1, 0, "one")]


def test_deleted_rows_take_their_chunks_along_at_once(chunked: psycopg.Connection) -> None:
    for key in (1, 2, 3):
        insert(chunked, key, "one", "two")
    work(chunked)
    with chunked.transaction(force_rollback=True):
        chunked.execute("delete from documents")
        assert chunks(chunked) == []
    chunked.execute("delete from documents where id < 3")
    assert chunks(chunked) == [(3, 0, "one"), (3, 1, "two")]
    assert queued(chunked) == []


def test_truncate_empties_the_embedding_table(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    with chunked.transaction(force_rollback=True):
        chunked.execute("truncate documents")
        assert chunks(chunked) == []
    assert chunks(chunked) == [(1, 0, "one")]
    chunked.execute("truncate documents")
    assert chunks(chunked) == []


def test_a_changed_key_moves_the_chunks(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    insert(chunked, 2, "two")
    work(chunked)
    chunked.execute("update documents set id = id + 10")
    assert chunks(chunked) == []
    assert work(chunked) == {11: "written", 12: "written"}
    assert chunks(chunked) == [(11, 0, "one"), (12, 0, "two")]


def test_keys_that_shift_onto_each_other(chunked: psycopg.Connection) -> None:
    """Row 2 gets the key that row 1 gives up: key 1 has another content now, and key 2 none."""
    insert(chunked, 1, "one")
    insert(chunked, 2, "two")
    work(chunked)
    chunked.execute("delete from documents where id = 1")
    chunked.execute("update documents set id = 1 where id = 2")
    work(chunked)
    assert chunks(chunked) == [(1, 0, "two")]


def test_updates_of_other_columns_do_nothing(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    chunked.execute("update documents set other = 5, title = 'new'")
    assert queued(chunked) == []


def test_blank_content_has_no_chunks_and_is_done(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    insert(chunked, 2, "  ")
    assert work(chunked) == {1: "written", 2: "unchanged"}
    chunked.execute("update documents set content = null where id = 1")
    assert work(chunked) == {1: "cleared"}
    assert chunks(chunked) == []
    assert call(chunked, "backfill", pipeline="documents") == 0
    assert value(chunked, "select blank from pgembedd.status") == 2


@pytest.mark.parametrize(
    ("change", "outcome", "left"),
    [("delete from documents", "gone", []), ("update documents set content = 'two'", "changed", [(1, 0, "two")])],
)
def test_a_row_that_changes_or_goes_while_it_is_embedded(
    chunked: psycopg.Connection, change: str, outcome: str, left: list[tuple[int, int, str]]
) -> None:
    insert(chunked, 1, "one")
    job = claim_one(chunked)
    contents = read(chunked, [job])
    chunked.execute(change.encode())
    assert store(chunked, [job], contents) == [outcome]
    work(chunked)
    assert chunks(chunked) == left


def test_a_locked_row_is_left_for_later(database: Database, chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    with database.connect() as other, other.transaction():
        other.execute("select from documents for update")
        assert store(chunked, claim(chunked)) == ["locked"]
    assert chunks(chunked) == []


def test_clear_takes_the_chunks_of_changed_rows_away_at_once(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text, other int)")
        create_chunked(connection, on_update="clear")
        insert(connection, 1, "one")
        insert(connection, 2, "two")
        work(connection)
        connection.execute("update documents set other = 1")
        assert len(chunks(connection)) == 2
        connection.execute("update documents set content = 'new' where id = 1")
        assert chunks(connection) == [(2, 0, "two")]
        work(connection)
        assert chunks(connection) == [(1, 0, "new"), (2, 0, "two")]


def test_the_backfill_and_the_sweep_find_rows_without_chunks(chunked: psycopg.Connection) -> None:
    for key in (1, 2):
        insert(chunked, key, "one")
    empty(chunked)
    assert call(chunked, "sweep") == 2
    assert call(chunked, "sweep") == 0
    work(chunked)
    chunked.execute("delete from chunks where id = 2")
    assert call(chunked, "backfill", pipeline="documents") == 1
    assert queued(chunked, BACKFILL) == [2]


def test_what_is_put_around_a_chunk_is_embedded_and_not_stored(database: Database) -> None:
    with connected(database) as connection:
        connection.execute('create table documents (id int primary key, title text, content text, "A b" int)')
        create_chunked(connection, formatting="$title (${A b}$$): $chunk.")
        connection.execute("insert into documents values (1, 'T', E'one\n\ntwo', 7), (2, null, 'three', null)")
        asked: list[str] = []
        store(connection, claim(connection), embed=embedded(asked))
        assert sorted(asked) == [" ($): three.", "T (7$): one.", "T (7$): two."]
        assert column(connection, "select chunk from chunks order by id, chunk_index") == ["one", "two", "three"]
        connection.execute("update documents set title = 'U' where id = 1")
        asked.clear()
        store(connection, claim(connection), embed=embedded(asked))
        assert asked == ["U (7$): one.", "U (7$): two."]


@pytest.mark.parametrize(
    ("column", "before"),
    [
        ("", "\x1e\x1e: "),
        (", headings text[] default '{A,B}'", "\x1eA\x1fB\x1e: "),
        (", headings text default 'A'", "A: "),
    ],
)
def test_the_headings_above_a_chunk_are_those_of_pages_and_of_its_text(
    database: Database, column: str, before: str
) -> None:
    with connected(database) as connection:
        connection.execute(f"create table documents (id int primary key, content text{column})")
        create_chunked(connection, formatting="$headings: $chunk")
        connection.execute("insert into documents values (1, 'one')")
        asked: list[str] = []
        store(connection, claim(connection), embed=embedded(asked))
        assert asked == [f"{before}one"]


def test_the_view_joins_rows_and_chunks(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one", "two")
    insert(chunked, 2, "")
    work(chunked)
    found = rows(chunked, "select id, content, chunk_index, chunk from chunks_view order by id, chunk_index")
    assert found == [(1, "one\n\ntwo", 0, "one"), (1, "one\n\ntwo", 1, "two")]


def test_names_that_both_sides_have_are_told_apart_in_the_view(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, content text, model text, embedding text)")
        create_chunked(connection)
        connection.execute("insert into documents values (1, 'one', 'T', 'mine')")
        work(connection)
        found = rows(connection, "select model, embedding_model, embedding from chunks_view")
        assert found == [("T", "model-1", "mine")]


@pytest.mark.parametrize(
    ("key", "insert_key", "expected"),
    [
        ("id uuid default '00000000-0000-0000-0000-000000000001' primary key", "default", "uuid"),
        ("id numeric(20, 5) primary key", "1.5", "numeric(20,5)"),
        ('id text collate "C" primary key', "'a'", "text"),
        ("id bigint generated always as identity primary key", "default", "bigint"),
    ],
)
def test_key_columns_have_the_types_of_the_source(database: Database, key: str, insert_key: str, expected: str) -> None:
    with connected(database) as connection:
        connection.execute(f"create table documents ({key}, content text)")
        create_chunked(connection)
        connection.execute(f"insert into documents values ({insert_key}, 'one')")
        work(connection)
        assert column(connection, "select chunk from chunks") == ["one"]
        found = value(
            connection,
            "select format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = 'chunks'::regclass and attname = 'id'",
        )
        assert found == expected
        connection.execute("delete from documents")
        assert column(connection, "select chunk from chunks") == []


def test_composite_keys_quoted_names_and_another_schema(database: Database) -> None:
    with connected(database) as connection:
        connection.execute('create schema "Über"; create type "Über"."My Mood" as enum (\'ok\', \'so so\')')
        connection.execute('create domain "Über".part as int check (value > 0)')
        connection.execute(
            'create table "Über"."My Docs" (mood "Über"."My Mood", "a b" "Über".part, n int, body text,'
            ' primary key (mood, "a b", n))'
        )
        create_pipeline(
            connection,
            source='"Über"."My Docs"',
            content_columns=["body"],
            embedding_table='"My 5%s Chunks"',
        )
        pin(connection)
        connection.execute("insert into \"Über\".\"My Docs\" values ('ok', 1, 2, 'one'), ('so so', 2, 3, 'two')")
        work(connection)
        assert column(connection, 'select chunk from "Über"."My 5%s Chunks" order by n') == ["one", "two"]
        connection.execute('update "Über"."My Docs" set mood = \'so so\' where n = 2')
        assert column(connection, 'select chunk from "Über"."My 5%s Chunks" order by n') == ["two"]
        connection.execute('delete from "Über"."My Docs" where n = 3')
        work(connection)
        assert rows(connection, 'select mood::text, chunk from "Über"."My 5%s Chunks"') == [("so so", "one")]


def test_partitions_keep_their_chunks_in_step(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int, content text, primary key (id)) partition by range (id)")
        connection.execute("create table low partition of documents for values from (0) to (10)")
        create_chunked(connection)
        connection.execute("create table high partition of documents for values from (10) to (20)")
        call(connection, "sweep")
        connection.execute("insert into low values (1, 'one'), (2, 'two')")
        connection.execute("insert into high values (11, 'eleven')")
        work(connection)
        assert [key for key, _, _ in chunks(connection)] == [1, 2, 11]
        connection.execute("delete from low where id = 1")
        connection.execute("update documents set id = 12 where id = 2")
        assert [key for key, _, _ in chunks(connection)] == [11]
        work(connection)
        connection.execute("truncate low")
        assert [key for key, _, _ in chunks(connection)] == [11, 12]
        connection.execute("truncate high")
        assert chunks(connection) == []


@pytest.mark.slow
def test_thirty_single_deletes_and_then_many(chunked: psycopg.Connection) -> None:
    """A plan made for one row must not be kept for thousands."""
    chunked.execute("insert into documents (id, content) select i, 'text ' || i from generate_series(1, 5030) i")
    work(chunked, [FRESH, BACKFILL])
    for key in range(1, 31):
        chunked.execute("delete from documents where id = %s", (key,))
    chunked.execute("set statement_timeout = '60s'")
    chunked.execute("delete from documents")
    assert chunks(chunked) == []


def test_writers_go_on_when_the_embedding_table_is_not_there(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    chunked.execute("drop table chunks cascade")
    insert(chunked, 2, "two")
    chunked.execute("update documents set id = 3 where id = 2")
    chunked.execute("delete from documents where id = 3")
    chunked.execute("truncate documents")
    look_twice(chunked)
    assert state(chunked) == "stopped"
    assert "The embedding table chunks" in reason(chunked).replace("public.", "")


def test_dropping_the_pipeline_keeps_the_chunks_unless_told_otherwise(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    work(chunked)
    with chunked.transaction(force_rollback=True):
        call(chunked, "drop_pipeline", pipeline="documents")
        assert chunks(chunked) == [(1, 0, "one")]
        chunked.execute("delete from documents")
        assert chunks(chunked) == [(1, 0, "one")]
    call(chunked, "drop_pipeline", pipeline="documents", drop_vectors=True)
    assert value(chunked, "select to_regclass('chunks')") is None
    assert value(chunked, "select to_regclass('chunks_view')") is None


def test_the_embedding_table_has_the_index_and_the_source_has_none(database: Database) -> None:
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, content text)")
        create_chunked(connection, index_type="hnsw")
        found = rows(connection, "select tablename, indexdef from pg_indexes where indexdef like '%hnsw%'")
        assert [row[0] for row in found] == ["chunks"]
        assert value(connection, "select index from pgembedd.status") == "valid"
        assert column(connection, "select indexname from pg_indexes where tablename = 'documents'") == [
            "documents_pkey"
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_column": "embedding"}, "embedding_column or embedding_table, one of the two"),
        ({"embedding_table": "a.b.c"}, "The embedding_table 'a.b.c' is no name of a table."),
        ({"embedding_table": "nowhere.chunks"}, "There is no schema nowhere"),
        ({"embedding_table": "documents"}, "documents is there already, and is no embedding table of documents"),
        ({"chunk_tokens": 4}, "chunk_tokens 4 is out of range."),
        ({"chunk_tokens": 32, "chunk_overlap_tokens": 40}, "Chunks of 32 tokens cannot overlap by 40."),
        ({"chunk_overlap_tokens": 8}, "chunk_overlap_tokens 8 does not go without chunk_tokens."),
        ({"chunk_tokens": 64, "chunk_overlap_tokens": -1}, "chunk_overlap_tokens -1"),
        ({"splitter": "lines"}, "splitter 'lines' is not known."),
        ({"formatting": "no chunk"}, "The formatting 'no chunk' does not hold $chunk once."),
        ({"formatting": "$chunk $chunk"}, "does not hold $chunk once."),
        ({"formatting": "$nothing: $chunk"}, 'documents has no column "nothing", named in formatting.'),
    ],
)
def test_options_that_do_not_go_together(chunkless: psycopg.Connection, options: dict[str, Any], message: str) -> None:
    before = rows(chunkless, "select relname from pg_class order by 1")
    with pytest.raises(psycopg.Error) as refused:
        create_chunked(chunkless, **options)
    assert message in str(refused.value).replace("public.", "")
    assert rows(chunkless, "select relname from pg_class order by 1") == before


@pytest.mark.parametrize(
    "option", [{"chunk_tokens": 64}, {"chunk_overlap_tokens": 8}, {"formatting": "$chunk"}, {"splitter": "markdown"}]
)
def test_a_column_has_no_chunks(chunkless: psycopg.Connection, option: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"{next(iter(option))} needs an embedding_table"):
        create_pipeline(chunkless, **option)


def test_a_key_called_like_a_column_of_ours_is_refused(chunkless: psycopg.Connection) -> None:
    chunkless.execute("create table notes (chunk int primary key, content text)")
    with pytest.raises(psycopg.errors.DuplicateColumn, match=r'The key column "chunk" of (public\.)?notes'):
        create_chunked(chunkless, source="notes")


@pytest.fixture
def chunkless(database: Database) -> Iterator[psycopg.Connection]:
    """`documents` without a pipeline."""
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text)")
        yield connection


@pytest.mark.parametrize(
    ("before", "after", "upkeep"),
    [
        ("documents disable trigger all", "documents enable trigger all", "retention"),
        ("chunks rename to snippets", "snippets rename to chunks", "sweep"),
        ("documents rename id to number", "documents rename number to id", "sweep"),
    ],
)
def test_the_upkeep_removes_chunks_of_rows_that_went_unseen(
    chunked: psycopg.Connection, before: str, after: str, upkeep: str
) -> None:
    """Without triggers, and while a name was away."""
    insert(chunked, 1, "one")
    insert(chunked, 2, "two")
    work(chunked)
    chunked.execute(f"alter table {before}".encode())
    chunked.execute("delete from documents where content = 'one'")
    chunked.execute(f"alter table {after}".encode())
    assert len(chunks(chunked)) == 2
    call(chunked, upkeep)
    assert chunks(chunked) == [(2, 0, "two")]


def test_a_sweep_that_takes_long_is_not_due_at_once(chunked: psycopg.Connection) -> None:
    insert(chunked, 1, "one")
    empty(chunked)
    chunked.execute("update pgembedd_internal.pipeline set sweep_due_at = now() + interval '1 hour'")
    chunked.execute("update pgembedd_internal.installation set swept_at = '-infinity'")
    assert call(chunked, "tick") == 0
    assert call(chunked, "sweep") == 1


@pytest.mark.own_database
@pytest.mark.parametrize("formatting", ["$title: $chunk", "$chunk $title", "$other $chunk: $title"])
def test_no_part_of_a_row_passes_for_another(chunked: psycopg.Connection, formatting: str) -> None:
    call(chunked, "drop_pipeline", pipeline="documents", drop_vectors=True)
    create_chunked(chunked, formatting=formatting)
    hashes = set()
    cases = [("x\x01y", "z"), ("x", "y\x01z"), ("x", "y"), ("xy", ""), ("1", "1 x"), ("1 1", "x"), ("1 1x", None)]
    for content, title in cases:
        chunked.execute("delete from documents")
        chunked.execute("insert into documents values (1, %s, %s, 1)", (title, content))
        (found,) = rows(chunked, "select hash from pgembedd_internal.read_chunks(2, array['1'::jsonb])")
        hashes.add(found[0])
    assert len(hashes) == len(cases)

"""create_pipeline(existing_vectors => ...): vectors that are there before the pipeline."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.sql import (
    BACKFILL,
    call,
    column,
    connected,
    empty,
    made_up,
    make_documents,
    queued,
    rows,
    value,
    vectors,
    work,
)
from tests.support.sql import create_pipeline as create
from tests.support.transaction import connection

__all__ = ["connection"]

HINT = (
    "these vectors stay. Or say existing_vectors => 'keep' to keep them and embed what is missing, if they are of the "
    "model mine; existing_vectors => 'clear' deletes them all at once, and has every row embedded again."
)


def create_pipeline(connection: psycopg.Connection, **options: Any) -> Any:
    """A pipeline of a model that may have any number of dimensions."""
    return create(connection, **{"model": "mine", **options})


@prepared
def filled(connection: psycopg.Connection) -> None:
    """Three documents, of which the first two have foreign vectors."""
    make_documents(connection, 3)
    connection.execute("alter table documents add embedding halfvec(3)")
    connection.execute("update documents set embedding = '[1,2,3]' where id < 3")


def test_vectors_of_an_unknown_model_ask_for_a_choice(filled: psycopg.Connection) -> None:
    with refused("public.documents.embedding holds vectors already.", HINT):
        create_pipeline(filled)
    filled.execute("update documents set embedding = null")
    assert create_pipeline(filled) == 3


def test_they_are_kept(filled: psycopg.Connection) -> None:
    assert create_pipeline(filled, existing_vectors="keep") == 1
    assert work(filled) == {3: "written"}
    assert vectors(filled)[:2] == [[1, 2, 3]] * 2


def test_they_are_cleared_and_every_row_is_embedded_again(filled: psycopg.Connection) -> None:
    create_pipeline(filled, pipeline="other", embedding_column="other_embedding", backfill=False)
    filled.execute(
        "create function stamp() returns trigger language plpgsql as 'begin new.other := 7; return new; end'"
    )
    filled.execute("create trigger stamp before update on documents for each row execute function stamp()")
    assert create_pipeline(filled, existing_vectors="clear", index_type="hnsw", index_when="now") == 3
    assert vectors(filled) == [None] * 3
    assert queued(filled) == [], "no pipeline takes it for a change"
    assert column(filled, "select other from documents order by id") == [7, 7, None], "the table's own triggers fire"
    assert rows(filled, "select proname from pg_proc where proname like 'pipeline\\_0%%'") == []
    assert set(work(filled, [BACKFILL]).values()) == {"written"}


@pytest.mark.parametrize("existing", [None, "refuse", "keep", "clear"])
def test_where_there_are_none_every_choice_will_do(connection: psycopg.Connection, existing: str | None) -> None:
    make_documents(connection, 2)
    assert create_pipeline(connection, existing_vectors=existing) == 2
    assert create_pipeline(connection, pipeline="chunked", existing_vectors=existing, embedding_table="chunks") == 2


def test_a_column_of_another_kind_is_not_taken(filled: psycopg.Connection) -> None:
    with refused("public.documents.embedding is public.halfvec(3), but this pipeline writes public.halfvec(4)."):
        create_pipeline(filled, existing_vectors="keep", dimensions=4)


@prepared
def foreign(connection: psycopg.Connection) -> None:
    """Vectors of 5 dimensions, in a column and in a table, and one of another type."""
    make_documents(connection, 2)
    connection.execute("""
        alter table documents add foreign_ones vector(5) default '[1,2,3,4,5]', add bare vector default '[1,2]',
            add typed vector(3) default '[1,2,3]', add counted int default 7
    """)
    create_pipeline(connection, embedding_table="chunks", backfill=False, dimensions=5)
    connection.execute("""
        select pgembedd.drop_pipeline('documents');
        insert into chunks (id, chunk_index, chunk, start_offset, end_offset, embedding, content_hash, model, tokens,
                            tokens_kept)
        values (1, 0, 'a', 0, 1, '[1,2,3,4,5]', '', 'x', 1, 1)
    """)


FOREIGN: dict[str, dict[str, Any]] = {
    "the column's own": {"embedding_column": "foreign_ones"},
    "as many as the column has": {"embedding_column": "foreign_ones", "dimensions": 5, "vector_type": "vector"},
    "a table of as many": {"embedding_table": "chunks", "dimensions": 5},
    "a table of others": {"embedding_table": "chunks"},
    "of any number": {"embedding_column": "bare"},
    "of another type": {"embedding_column": "typed"},
    "no vectors at all": {"embedding_column": "counted"},
}
REMEDIES = {
    "embedding_column": "Name another embedding_column: it is",
    "embedding_table": "Name another embedding_table",
}


@pytest.mark.parametrize("model", ["gte-small", "ollama:all-minilm"])
@pytest.mark.parametrize("existing", [None, "refuse", "keep", "clear"])
@pytest.mark.parametrize("place", FOREIGN)
def test_vectors_that_no_model_would_replace_stay(
    foreign: psycopg.Connection, place: str, existing: str | None, model: str
) -> None:
    """Both are of 384 dimensions. Whatever is said, and followed to the letter, leaves the vectors where they are."""
    options: dict[str, Any] = {"model": model, "dimensions": None, "existing_vectors": existing, **FOREIGN[place]}
    if model.startswith("ollama:") and options["dimensions"] is not None:
        options["dimensions"] = None  # fewer could be had of a provider: it may shorten them
    before = rows(foreign, "select d, c from documents d left join chunks c using (id) order by id")
    with pytest.raises((psycopg.errors.DatatypeMismatch, psycopg.errors.DuplicateTable)) as refusal:
        create(foreign, **options)
    hint = refusal.value.diag.message_hint or ""
    assert "existing_vectors" not in hint
    assert hint.startswith(REMEDIES["embedding_table" if "embedding_table" in options else "embedding_column"])
    assert rows(foreign, "select d, c from documents d left join chunks c using (id) order by id") == before


def test_both_numbers_are_named_and_another_column_keeps_the_data(foreign: psycopg.Connection) -> None:
    """As with vectors of OpenAI's, of 1,536 dimensions."""
    given: dict[str, Any] = {
        "model": "gte-small",
        "dimensions": 5,
        "vector_type": "vector",
        "existing_vectors": "clear",
    }
    with refused(
        "public.documents.foreign_ones holds vectors of 5 dimensions, and those of the model gte-small have 384.",
        "Name another embedding_column: it is created, and these vectors stay. Or name a model of 5 dimensions.",
    ):
        create(foreign, embedding_column="foreign_ones", **given)
    written = "but this pipeline writes public.halfvec"
    with refused(f"public.documents.foreign_ones is public.vector(5), {written}(384).", "5 dimensions takes a model"):
        create(foreign, embedding_column="foreign_ones", dimensions=None)
    with refused(f"public.documents.typed is public.vector(3), {written}(3).", "Or say vector_type => 'vector'"):
        create_pipeline(foreign, embedding_column="typed", dimensions=3)
    assert create(foreign, embedding_column="another", dimensions=None) == 2
    assert column(foreign, "select distinct foreign_ones::text from documents") == ["[1,2,3,4,5]"]


def test_a_model_that_may_be_shortened_is_taken_at_its_word(foreign: psycopg.Connection) -> None:
    options = {"embedding_column": "foreign_ones", "dimensions": 5, "vector_type": "vector", "existing_vectors": "keep"}
    assert create(foreign, model="openai:text-embedding-3-small", **options) == 0


def test_a_pipeline_that_was_dropped_is_created_again(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, index_type="hnsw")
    work(connection)
    before = vectors(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    with refused("public.documents.embedding holds vectors already.", HINT):
        create_pipeline(connection, index_type="hnsw")
    assert create_pipeline(connection, index_type="hnsw", existing_vectors="keep") == 0
    assert vectors(connection) == before
    indexes = "select indexrelid::regclass::text from pg_index where indrelid = 'documents'::regclass order by 1"
    assert column(connection, indexes) == ["documents_embedding_hnsw", "documents_embedding_missing", "documents_pkey"]


def test_emptying_runs_as_the_owner_of_the_table(roles: Roles, database: Database) -> None:
    """The triggers of the table must get no more rights than its owner has."""
    owner = roles.make("owner")
    with connected(database) as connection:
        make_documents(connection, 1)
        connection.execute("alter table documents add embedding halfvec(3) default '[1,2,3]', add who text")
        connection.execute(
            "create function stamp() returns trigger language plpgsql"
            " as 'begin new.who := current_user; return new; end'"
        )
        connection.execute("create trigger stamp before update on documents for each row execute function stamp()")
        connection.execute(f"alter table documents owner to {owner}")
        create_pipeline(connection, existing_vectors="clear")
        assert value(connection, "select who from documents") == owner


def chunked(connection: psycopg.Connection, **options: Any) -> Any:
    """A pipeline into `chunks`, pinned to a model."""
    queued = create_pipeline(connection, embedding_table="chunks", content_columns=["content"], **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'model-1'")
    return queued


@prepared
def left(connection: psycopg.Connection) -> None:
    """The chunks of a pipeline that was dropped; since then row 1 was deleted, row 2 changed, row 3 came."""
    make_documents(connection, 2)
    chunked(connection)
    work(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    connection.execute("delete from documents where id = 1")
    connection.execute("update documents set content = 'changed' where id = 2")
    connection.execute("insert into documents (id, content) values (3, 'new'), (4, 'content 2')")


def chunks(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(connection, "select id, chunk from chunks order by id, chunk_index")


def test_an_embedding_table_asks_for_a_choice(left: psycopg.Connection) -> None:
    with refused("public.chunks holds vectors already.", HINT):
        chunked(left)
    left.execute("truncate chunks")
    assert chunked(left) == 3


def test_an_embedding_table_is_taken_over_and_brought_into_step(left: psycopg.Connection) -> None:
    left.execute("update documents set content = 'content 2' where id = 2")  # and back again
    before = rows(left, "select embedded_at from chunks where id = 2")
    assert chunked(left, existing_vectors="keep") == 3
    assert chunks(left) == [(2, "content 2")], "the chunks of rows that are gone go at once"
    assert work(left) == {2: "unchanged", 3: "written", 4: "written"}
    assert rows(left, "select embedded_at from chunks where id = 2") == before
    left.execute("delete from documents where id = 2")
    assert chunks(left) == [(3, "new"), (4, "content 2")]


def test_chunks_of_another_model_are_embedded_again(left: psycopg.Connection) -> None:
    left.execute("update chunks set model = 'model-0'; update documents set content = 'content 2' where id = 2")
    chunked(left, existing_vectors="keep")
    assert work(left)[2] == "written"
    assert column(left, "select distinct model from chunks") == ["model-1"]


def test_an_embedding_table_is_emptied_and_taken_over(left: psycopg.Connection) -> None:
    assert chunked(left, existing_vectors="clear") == 3
    assert chunks(left) == []
    work(left)
    assert chunks(left) == [(2, "changed"), (3, "new"), (4, "content 2")]
    assert rows(left, "select embedding::text from chunks where id = 3") == [(str(made_up("new")).replace(" ", ""),)]


def test_the_comment_on_a_table_that_is_taken_over_names_the_new_pipeline(left: psycopg.Connection) -> None:
    chunked(left, pipeline="texts", existing_vectors="keep")
    assert value(left, "select obj_description('chunks'::regclass)").endswith('by the pipeline "texts".')


STRANGE = {
    "alter table chunks drop chunk_index cascade": "it has no column chunk_index",
    "alter table chunks alter embedding type halfvec(4) using '[1,2,3,4]'": (
        "its column embedding is halfvec(4), not halfvec(3)"
    ),
    "drop policy pgembedd_source on chunks; alter table chunks alter id type bigint": (
        "its column id is bigint, not integer"
    ),
    "alter table chunks drop constraint chunks_pkey": "its primary key is not (id, chunk_index)",
}


@pytest.mark.parametrize("ddl", STRANGE)
def test_a_table_of_another_layout_is_not_taken(left: psycopg.Connection, ddl: str) -> None:
    left.execute("drop view chunks_view; alter table chunks alter embedding drop not null")
    left.execute(ddl)
    problem = STRANGE[ddl].replace("halfvec", "public.halfvec")
    with refused(
        f"public.chunks is there already, and is no embedding table of public.documents: {problem}.",
        "Name another embedding_table: it is created.",
    ):
        chunked(left, existing_vectors="keep")


def test_the_table_of_another_pipeline_is_not_taken(left: psycopg.Connection) -> None:
    chunked(left, existing_vectors="keep")
    empty(left)
    with refused('public.chunks is filled by the pipeline "documents" already.', "Name another embedding_table."):
        chunked(left, pipeline="another", existing_vectors="keep")


def test_an_embedding_table_of_another_owner_is_refused(roles: Roles, left: psycopg.Connection) -> None:
    other = roles.make("other")
    left.execute(f"alter table chunks owner to {other}")
    with refused(
        f"public.chunks belongs to {other}, and public.documents to postgres.",
        "ALTER TABLE public.chunks OWNER TO postgres, or name another embedding_table.",
    ):
        create_pipeline(left, embedding_table="chunks", existing_vectors="keep")

"""A pipeline that parses files: its table has the pages of each file, whatever happens to the source."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.pages import contracts, pages, parse_all, parse_jobs, read_files, store_pages
from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, call, column, create_pipeline, empty, queued, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def filed(connection: psycopg.Connection) -> None:
    """`contracts` with one file of three pages, parsed, and a pipeline of their texts into `page_chunks`."""
    contracts(connection)
    create_pipeline(
        connection,
        pipeline="pages",
        source="contract_pages",
        content_columns=["text"],
        embedding_table="page_chunks",
    )
    connection.execute("insert into contracts values (1, 'lease', 'one\ftwo\fthree'::text::bytea)")
    parse_all(connection)


def test_a_file_becomes_pages_and_these_are_queued(filed: psycopg.Connection) -> None:
    assert pages(filed) == [(1, 1, "one"), (1, 2, "two"), (1, 3, "three")]
    found = rows(
        filed,
        "select distinct headings, metadata, content_hash = sha256(file), parser from contract_pages"
        " join contracts using (id) where page = 2",
    )
    assert found == [(["Part 2"], {"kind": "text"}, True, "parser-1")]
    assert queued(filed) == [{"id": 1, "page": page} for page in (1, 2, 3)]


def test_of_a_changed_file_only_the_pages_that_differ_are_queued(filed: psycopg.Connection) -> None:
    empty(filed)
    filed.execute("update contracts set file = 'one\fzwei'")
    assert parse_all(filed) == ["written"]
    assert pages(filed) == [(1, 1, "one"), (1, 2, "zwei")]
    assert queued(filed) == [{"id": 1, "page": 2}]
    assert column(filed, "select distinct content_hash from contract_pages") == [
        value(filed, "select sha256(file) from contracts")
    ]


def test_the_database_hashes_a_file_for_a_read_only_where_there_are_pages(filed: psycopg.Connection) -> None:
    filed.execute("insert into contracts values (2, 'new', 'new')")
    (job,) = parse_jobs(filed)
    read = "select n, hash = '' from pgembedd_internal.read_files(%s, '{1,2}', 'parser-2', 1000)"
    assert rows(filed, read, job.pipeline_id) == [(1, False), (2, True)]
    assert store_pages(filed, [job]) == ["written"]
    assert value(filed, "select content_hash = sha256('new') from contract_pages where id = 2")


def test_a_file_that_is_the_same_is_not_sent_even_after_force(filed: psycopg.Connection) -> None:
    before = rows(filed, "select ctid, xmin, * from contract_pages order by page")
    filed.execute("update contracts set name = 'rent'")
    assert queued(filed) == [{"id": 1, "page": page} for page in (1, 2, 3)]  # of the pages alone
    assert call(filed, "backfill", pipeline="contract_text", force=True) == 1
    jobs = parse_jobs(filed, BACKFILL)
    (file,) = read_files(filed, jobs)
    assert (file.state, file.file) == ("unchanged", None)
    assert store_pages(filed, jobs, [file]) == ["unchanged"]
    assert rows(filed, "select ctid, xmin, * from contract_pages order by page") == before


def test_another_parser_reads_a_file_again_and_a_requeued_row_is_read_in_any_case(filed: psycopg.Connection) -> None:
    call(filed, "backfill", pipeline="contract_text", force=True)
    assert parse_all(filed, "parser-2") == ["written"]
    assert column(filed, "select distinct parser from contract_pages") == ["parser-2"]
    filed.execute("update contract_pages set text = 'by hand' where page = 1")
    filed.execute("select pgembedd.requeue('contract_text', '{1}')")
    assert parse_all(filed, "parser-2") == ["written"]
    assert pages(filed)[0] == (1, 1, "one")


def test_a_page_edited_by_hand_stays_until_its_file_changes(filed: psycopg.Connection) -> None:
    filed.execute("update contract_pages set text = 'by hand' where page = 1")
    call(filed, "backfill", pipeline="contract_text", force=True)
    assert parse_all(filed) == ["unchanged"]
    assert pages(filed)[0] == (1, 1, "by hand")
    filed.execute("update contracts set file = file || ' and a half'")
    parse_all(filed)
    assert pages(filed)[0] == (1, 1, "one")


@pytest.mark.parametrize("gone", ["delete from contracts", "truncate contracts", "update contracts set id = 7"])
def test_pages_and_their_chunks_go_with_the_row(filed: psycopg.Connection, gone: str) -> None:
    filed.execute(
        "insert into page_chunks (id, page, chunk_index, chunk, start_offset, end_offset, embedding, content_hash,"
        " model, tokens, tokens_kept) values (1, 1, 0, 'one', 0, 3, '[1,2,3]', '', '', 1, 1)"
    )
    filed.execute(gone)
    assert pages(filed) == []
    assert rows(filed, "select * from page_chunks") == []


def test_a_blank_file_has_no_pages(filed: psycopg.Connection) -> None:
    filed.execute("update contracts set file = ''")
    assert parse_all(filed) == ["cleared"]
    filed.execute("insert into contracts (id) values (2)")
    assert parse_all(filed) == ["unchanged"]
    assert pages(filed) == []
    assert value(filed, "select blank from pgembedd.status where pipeline = 'contract_text'") == 2
    assert call(filed, "backfill", pipeline="contract_text") == 0


def test_what_changed_since_the_read_is_not_written(filed: psycopg.Connection) -> None:
    filed.execute("update contracts set file = 'four'")
    jobs = parse_jobs(filed)
    files = read_files(filed, jobs)
    filed.execute("update contracts set file = 'five'")
    assert store_pages(filed, jobs, files)[0] == "changed"
    assert pages(filed)[0] == (1, 1, "one")
    filed.execute("delete from contracts")
    assert store_pages(filed, jobs[:1], files[:1]) in (["gone"], ["lost"])


def test_large_files_and_those_behind_many_bytes_are_not_read(filed: psycopg.Connection) -> None:
    filed.execute(
        "insert into contracts select i, '', convert_to(repeat('x', i * 100), 'UTF8') from generate_series(2, 6) i"
    )
    jobs = parse_jobs(filed)
    files = read_files(filed, jobs, most_bytes=500)
    assert [(file.state, file.size) for file in files] == [
        ("ok", 200),
        ("ok", 300),
        ("later", 400),
        ("later", 500),
        ("large", 600),
    ]
    assert [len(file.file or b"") for file in files] == [200, 300, 0, 0, 0]


def test_an_update_that_leaves_the_file_alone_queues_nothing(filed: psycopg.Connection) -> None:
    filed.execute("alter table contracts alter file set storage external")
    filed.execute("insert into contracts values (2, 'large', convert_to(repeat('x', 900000), 'UTF8'))")
    empty(filed)
    filed.execute("update contracts set name = 'other'")
    assert queued(filed) == []
    filed.execute("update contracts set file = file where id = 2")  # the same place
    filed.execute("update contracts set file = convert_to(repeat('x', 900000), 'UTF8') where id = 2")  # the same bytes
    assert queued(filed) == []
    filed.execute("update contracts set file = convert_to(repeat('y', 900000), 'UTF8') where id = 2")
    assert queued(filed) == [2]


def test_a_file_may_be_text(connection: psycopg.Connection) -> None:
    connection.execute("create table notes (id int primary key, body text)")
    options = {"pipeline": "n", "source": "notes", "content_columns": ["body"], "task": "parse"}
    call(connection, "create_pipeline", **options, into_table="contract_pages")
    connection.execute("insert into notes values (1, 'grün')")
    assert parse_all(connection) == ["written"]
    assert pages(connection) == [(1, 1, "grün")]

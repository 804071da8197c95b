"""Files through a real worker: pages by the real parser, their vectors by the real model, each failure its row's."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from threading import Event

import psycopg
import pytest

from pgembedd.documents import parsers
from pgembedd.documents.document import Document
from pgembedd.documents.parsers import Parsers, fingerprint
from pgembedd.documents.process import ParserProcess, ProcessEndedError
from pgembedd.errors import ConfigurationError
from pgembedd.model import Session
from pgembedd.scheduler import Lane
from tests.support.databases import Database
from tests.support.documents import put_off_upkeep
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.pages import contracts, pages
from tests.support.prepared import prepared
from tests.support.sql import call, column, rows, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

LEASE = b"# Lease\n\nThe tenant pays on the first of each month.\n\n## Pets\n\nA cat is allowed.\n"


@prepared
def chain(connection: psycopg.Connection) -> None:
    """`contracts`, whose files are parsed, and a pipeline of their pages' texts into `page_chunks`."""
    contracts(connection)
    call(
        connection,
        "create_pipeline",
        pipeline="pages",
        source="contract_pages",
        content_columns=["text"],
        embedding_table="page_chunks",
        splitter="markdown",
        chunk_tokens=16,
        formatting="$headings: $chunk",
        model=MODEL,
    )
    put_off_upkeep(connection)


def insert(connection: psycopg.Connection, key: int, file: bytes) -> None:
    connection.execute("insert into contracts (id, file) values (%s, %s)", (key, file))


def test_from_file_to_vector(database: Database, chain: psycopg.Connection, model: Session) -> None:
    """wait_for_row() of a page waits for the file, too."""
    insert(chain, 1, LEASE)
    with worker_thread(database, only(Wrapped(model))):
        chain.execute("call pgembedd.wait_for_row('pages', '{\"id\": 1, \"page\": 1}')")
        chain.execute("call pgembedd.wait_for_pipeline('pages')")
        assert "tenant pays" in pages(chain)[0][2]
        found = rows(
            chain, "select distinct content_hash = sha256(file), parser from contract_pages join contracts using (id)"
        )
        assert found == [(True, fingerprint())]
        embedded = "select string_agg(chunk, '|' order by chunk_index), array_agg(content_hash order by chunk_index)"
        chunk, hashes = rows(chain, f"{embedded} from page_chunks")[0]
        texts = chunk.split("|")
        under = ["Lease", "Lease › Pets"]  # noqa: RUF001
        assert len(texts) == 2
        formatted = [f"{above}: {text}" for above, text in zip(under, texts, strict=True)]
        assert hashes == [sha256(each.encode()).digest() for each in formatted]
        chain.execute("update contracts set file = null")
        chain.execute("call pgembedd.wait_for_pipeline('pages')")
        assert rows(chain, "select * from contract_pages") == []
        assert rows(chain, "select * from page_chunks") == []


def test_an_unreadable_file_is_a_dead_letter_and_its_neighbours_go_on(
    database: Database, chain: psycopg.Connection, model: Session
) -> None:
    chain.execute(
        "insert into contracts (id, file) values (1, '%%PDF-1.7 broken'), (2, 'A text.'), (3, %s)", (b"x" * 1_000_001,)
    )
    with worker_thread(database, only(Wrapped(model)), file_max_mb=1):
        eventually(lambda: len(rows(chain, "select * from pgembedd.dead_letters")) == 2 and len(pages(chain)) == 1)
        assert pages(chain) == [(2, 1, "A text.")]
        found = rows(chain, "select key, reason, attempts, error from pgembedd.dead_letters order by key")
        assert [row[:3] for row in found] == [(1, "file", 1), (3, "file", 1)]
        assert found[1][3] == "The file has 1.0 MB, more than PGEMBEDD_FILE_MAX_MB (1)."
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="failed for good"):
            chain.execute("call pgembedd.wait_for_row('pages', '{\"id\": 1, \"page\": 1}')")
        chain.execute("update contracts set file = 'Now a text.' where id = 1")
        eventually(lambda: len(pages(chain)) == 2)
        assert column(chain, "select key from pgembedd.dead_letters") == [3]


def test_a_file_that_two_jobs_of_a_claim_have_is_parsed_once(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, parsed = ParserProcess.parse, Counter[bytes]()

    def counting(process: ParserProcess, file: bytes) -> Document:
        parsed[file] += 1
        return parse(process, file)

    monkeypatch.setattr(ParserProcess, "parse", counting)
    insert(chain, 1, b"A text.")
    chain.execute("update contracts set file = 'Another text.'")
    with worker_thread(database, only(Wrapped(model))):
        chain.execute("call pgembedd.wait_for_pipeline('contract_text')")
    assert (pages(chain), parsed) == ([(1, 1, "Another text.")], {b"Another text.": 1})


def test_a_file_whose_processes_are_ended_is_tried_again(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, ended = ParserProcess.parse, Counter[bytes]()

    def ending(process: ParserProcess, file: bytes) -> Document:
        ended[file] += 1
        if ended[file] <= 2:
            raise ProcessEndedError("The process that parsed the file ended (SIGKILL).")
        return parse(process, file)

    monkeypatch.setattr(ParserProcess, "parse", ending)
    call(chain, "alter_pipeline", pipeline="contract_text", retry_delay="0.1 s")
    insert(chain, 1, b"A text.")
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: pages(chain) == [(1, 1, "A text.")])
    assert ended == {b"A text.": 3}


def test_an_answer_that_cannot_be_stored_fails_its_row_alone(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that a file took over: what reads files leaves no NUL."""
    parse = ParserProcess.parse

    def taken_over(process: ParserProcess, file: bytes) -> Document:
        document = parse(process, file)
        return replace(document, notes=("a\0b",)) if file == b"Wrong." else document

    monkeypatch.setattr(ParserProcess, "parse", taken_over)
    call(chain, "alter_pipeline", pipeline="contract_text", max_attempts=1)
    chain.execute("insert into contracts (id, file) values (1, 'Wrong.'), (2, 'A text.')")
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: rows(chain, "select key, reason from pgembedd.dead_letters") == [(1, "write")])
        eventually(lambda: pages(chain) == [(2, 1, "A text.")])


def test_where_no_process_can_be_started_files_fail_and_the_worker_goes_on(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(chain, "alter_pipeline", pipeline="contract_text", max_attempts=2, retry_delay="0.1 s")
    insert(chain, 1, b"A text.")
    with worker_thread(database, only(Wrapped(model))):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python")
            failed = "select reason, attempts, error from pgembedd.dead_letters"
            eventually(lambda: rows(chain, failed) != [])
            ((reason, attempts, error),) = rows(chain, failed)
            assert (reason, attempts, error.partition(":")[0]) == ("file", 2, "FileNotFoundError")
        call(chain, "retry_dead_letters", pipeline="contract_text")
        eventually(lambda: pages(chain) == [(1, 1, "A text.")])


@contextmanager
def stopped_parser(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it no file is parsed to its end."""
    go_on, parse = Event(), ParserProcess.parse

    def waiting(process: ParserProcess, file: bytes) -> Document:
        go_on.wait(PATIENCE_S)
        return parse(process, file)

    with monkeypatch.context() as patch:
        patch.setattr(ParserProcess, "parse", waiting)
        yield
    go_on.set()


def test_texts_do_not_wait_for_a_file(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(chain, 1, b"A text.")
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: pages(chain) != [])
        with stopped_parser(monkeypatch):
            insert(chain, 2, b"Another text.")
            chain.execute(
                "insert into contract_pages select 9, 1, '{}', 'by hand', '{}', '', '' from contracts limit 1"
            )
            eventually(lambda: rows(chain, "select from page_chunks where id = 9") != [])
            assert [page[0] for page in pages(chain)] == [1, 9]
        eventually(lambda: [page[0] for page in pages(chain)] == [1, 2, 9])


def test_a_new_file_goes_before_those_of_a_backfill(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, parse, go_on = Parsers.submit, ParserProcess.parse, Event()
    submitted, parsed = list[bytes](), list[bytes]()

    def submitting(parsers: Parsers, file: bytes, lane: Lane) -> Future[Document]:
        future = submit(parsers, file, lane)
        submitted.append(file)
        return future

    def waiting(process: ParserProcess, file: bytes) -> Document:
        parsed.append(file)
        go_on.wait(PATIENCE_S)
        return parse(process, file)

    monkeypatch.setattr(Parsers, "submit", submitting)
    monkeypatch.setattr(ParserProcess, "parse", waiting)
    chain.execute("insert into contracts (id, file) select i, ('Old ' || i)::bytea from generate_series(1, 6) i")
    chain.execute(
        "with moved as (delete from pgmq.q_pgembedd_fresh returning vt, message)"
        " insert into pgmq.q_pgembedd_backfill (vt, message) select * from moved"
    )
    with worker_thread(database, only(Wrapped(model)), parse_processes=1):
        eventually(lambda: len(submitted) > 1)
        insert(chain, 7, b"New.")
        eventually(lambda: b"New." in submitted)
        go_on.set()
        eventually(lambda: len(pages(chain)) == 7)
    assert parsed[1] == b"New."


def test_without_the_extra_the_pipeline_is_unserved_and_says_how_it_is_served(
    database: Database, chain: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> list[str]:
        raise ConfigurationError("Files cannot be parsed: pip install 'pgembedd[documents]'.")

    insert(chain, 1, LEASE)
    with monkeypatch.context() as patch:
        patch.setattr(parsers, "versions", missing)
        with worker_thread(database, only(Wrapped(model))):
            state = "select state from pgembedd.status where pipeline = 'contract_text'"
            eventually(lambda: value(chain, state) == "unserved")
            assert "pip install" in value(chain, "select reason from pgembedd.status where pipeline = 'contract_text'")
            assert value(chain, "select state from pgembedd.status where pipeline = 'pages'") == "running"
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: pages(chain) != [])
        eventually(lambda: value(chain, state) == "running")

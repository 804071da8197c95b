"""Files of URIs through a real worker: fetched from real folders and a real web server, parsed, and looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import psycopg
import pytest

from pgembedd.documents.document import Document
from pgembedd.documents.process import ParserProcess
from pgembedd.model import Session
from tests.fetch.conftest import certificates, web
from tests.support.databases import Database
from tests.support.documents import put_off_upkeep
from tests.support.embedders import Wrapped, only
from tests.support.prepared import prepared
from tests.support.servers.files import FileServer, respond
from tests.support.sql import call, column, rows, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

__all__ = ["certificates", "web"]

DEAD = "select key, reason, attempts, error from pgembedd.dead_letters order by key"


@prepared
def manuals(connection: psycopg.Connection) -> None:
    """`manuals` (id, location), and a pipeline of the files there, whatever their URI, into `manual_pages`."""
    connection.execute("create table manuals (id int primary key, location text)")
    call(
        connection,
        "create_pipeline",
        pipeline="manual_text",
        source="manuals",
        task="parse",
        uri_column="location",
        uri_prefixes=["https://", "file:///"],
        recheck_interval="1 hour",
        retry_delay="0.1 s",
        into_table="manual_pages",
    )
    put_off_upkeep(connection)


@pytest.fixture
def worker(database: Database, model: Session, web: FileServer) -> Iterator[None]:
    """A worker that fetches from all public hosts, the server, and all folders."""
    with worker_thread(database, only(Wrapped(model)), uris=f"https://,{web.url},file:///", file_max_mb=1):
        yield


def stored(connection: psycopg.Connection) -> list[tuple[int, str]]:
    """The row and the text of each page."""
    return [(row[0], row[1]) for row in rows(connection, "select id, text from manual_pages order by id, page")]


def insert(connection: psycopg.Connection, key: int, uri: str | None) -> None:
    connection.execute("insert into manuals values (%s, %s)", (key, uri))


def recheck(connection: psycopg.Connection) -> None:
    """An hour later the sweep queues what is due."""
    connection.execute("update pgembedd_internal.fetched_file set checked_at = checked_at - interval '1 hour'")
    connection.execute("update pgembedd_internal.dead_letter set died_at = died_at - interval '1 hour'")
    connection.execute("select pgembedd.sweep()")
    eventually(lambda: value(connection, "select queued from pgembedd.status where pipeline = 'manual_text'") == 0)


@pytest.mark.usefixtures("worker")
def test_files_are_fetched_and_looked_at_again(manuals: psycopg.Connection, web: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a b.md").write_text("# One\n\nOf the folder.")
    web.files |= {"/manual": b"Of the server.", "/empty": b""}
    uris = [f"file://{tmp_path}/a%20b.md", web.url + "manual", web.url + "empty", None]
    for key, uri in enumerate(uris, 1):
        insert(manuals, key, uri)
    manuals.execute("call pgembedd.wait_for_pipeline('manual_text')")
    assert stored(manuals) == [(1, "# One\n\nOf the folder."), (2, "Of the server.")]
    found = rows(manuals, "select id, content_hash = sha256(convert_to(text, 'UTF8')) from manual_pages order by id")
    assert found == [(1, True), (2, True)]
    assert value(manuals, "select blank from pgembedd.status where pipeline = 'manual_text'") == 2
    before = rows(manuals, "select ctid, xmin, * from manual_pages order by id")
    recheck(manuals)
    assert [path for path, headers in web.received if "if-none-match" in headers] == ["/manual"]
    assert rows(manuals, "select ctid, xmin, * from manual_pages order by id") == before
    (tmp_path / "a b.md").write_text("Another.")
    web.files |= {"/manual": b"New.", "/empty": b"Filled."}
    recheck(manuals)
    assert stored(manuals) == [(1, "Another."), (2, "New."), (3, "Filled.")]
    manuals.execute("delete from manuals where id = 2")
    recheck(manuals)
    assert column(manuals, "select key from pgembedd_internal.fetched_file order by key") == [1, 3]
    assert [path for path, _ in web.received].count("/manual") == 3


@pytest.mark.usefixtures("worker")
def test_a_file_that_is_not_there_is_a_dead_letter_until_it_is(manuals: psycopg.Connection, web: FileServer) -> None:
    web.files |= {"/kept": b"Kept.", "/broken": b"%PDF-1.7 broken", "/busy": 503}
    call(manuals, "alter_pipeline", pipeline="manual_text", max_attempts=2, uri_prefixes=[web.url])
    uris = ["kept", "late", "broken", "busy"]
    for key, path in enumerate(uris, 1):
        insert(manuals, key, web.url + path)
    insert(manuals, 5, "https://elsewhere.invalid/x")
    insert(manuals, 6, "ftp://x/")
    eventually(lambda: len(rows(manuals, DEAD)) == 5)
    host = f"The host localhost:{web.port} answered with status"
    found = rows(manuals, DEAD)
    assert [row[:3] for row in found] == [
        (2, "file", 1),
        (3, "file", 1),
        (4, "file", 2),
        (5, "file", 1),
        (6, "file", 1),
    ]
    assert [row[3] for row in found if row[0] != 3] == [
        f"{host} 404.",
        f"{host} 503.",
        "The URI, or where it redirects to, begins with none of the pipeline's uri_prefixes.",
        "The URI begins with none of file://, https://, s3://, gs://, az://.",
    ]
    web.files |= {"/kept": 404, "/late": b"There.", "/busy": b"Idle."}
    recheck(manuals)
    assert stored(manuals) == [(1, "Kept."), (2, "There."), (4, "Idle.")]
    assert [row[0] for row in rows(manuals, DEAD)] == [1, 3, 5, 6]
    web.files |= {"/kept": b"Kept.", "/broken": b"Mended."}
    recheck(manuals)
    assert stored(manuals) == [(1, "Kept."), (2, "There."), (3, "Mended."), (4, "Idle.")]
    assert [path for path, headers in web.received if "if-none-match" in headers].count("/broken") == 2


@pytest.mark.usefixtures("worker")
def test_what_is_stored_is_of_the_uri_that_the_row_has(manuals: psycopg.Connection, web: FileServer) -> None:
    asked, go_on = Event(), Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        go_on.wait(PATIENCE_S)
        respond(request, 200, {}, b"Old.")

    web.files |= {"/old": slow, "/new": b"New."}
    insert(manuals, 1, web.url + "old")
    assert asked.wait(PATIENCE_S)
    manuals.execute("update manuals set location = %s", (web.url + "new",))
    manuals.execute("create table seen as select text from manual_pages")
    manuals.execute(
        "create function see() returns trigger language plpgsql as $$ begin insert into public.seen values (new.text);"
        " return null; end $$"
    )
    manuals.execute("create trigger see after insert on manual_pages for each row execute function see()")
    go_on.set()
    manuals.execute("call pgembedd.wait_for_pipeline('manual_text')")
    assert stored(manuals) == [(1, "New.")]
    assert column(manuals, "select text from seen") == ["New."]


def test_a_worker_that_ends_waits_for_no_file(
    database: Database, manuals: psycopg.Connection, model: Session, web: FileServer
) -> None:
    """Neither for one that is being fetched nor for those behind it: their jobs are released."""
    asked, go_on = Event(), Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        go_on.wait(PATIENCE_S)
        respond(request, 200, {}, b"Late.")

    web.files["/x"] = silent
    for key in range(8):
        insert(manuals, key, web.url + "x")
    with worker_thread(database, only(Wrapped(model)), uris=f"https://,{web.url},file:///", grace_s=0.1):
        assert asked.wait(PATIENCE_S)
    assert not go_on.is_set()
    due = "select count(*) from pgmq.q_pgembedd_fresh where vt <= clock_timestamp()"
    assert (value(manuals, due), rows(manuals, DEAD)) == (8, [])
    go_on.set()


def test_an_unexpected_error_is_a_failure_of_its_file(
    manuals: psycopg.Connection, web: FileServer, monkeypatch: pytest.MonkeyPatch, worker: None
) -> None:
    parse = ParserProcess.parse

    def failing(process: ParserProcess, file: bytes) -> Document:
        if file == b"bad":
            raise RuntimeError("can't start new thread")
        return parse(process, file)

    monkeypatch.setattr(ParserProcess, "parse", failing)
    call(manuals, "alter_pipeline", pipeline="manual_text", max_attempts=2)
    web.files |= {"/bad": b"bad", "/good": b"Good."}
    insert(manuals, 1, web.url + "bad")
    insert(manuals, 2, web.url + "good")
    eventually(lambda: rows(manuals, DEAD) == [(1, "file", 2, "RuntimeError: can't start new thread")])
    eventually(lambda: stored(manuals) == [(2, "Good.")])


def test_a_worker_whose_certificates_cannot_be_read_says_so(
    database: Database, manuals: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    insert(manuals, 1, "https://docs.example.com/x")
    with worker_thread(database, only(Wrapped(model)), uris="https://,file:///"):
        reason = "select reason from pgembedd.status where pipeline = 'manual_text' and state = 'unserved'"
        eventually(lambda: rows(manuals, reason) != [])
        said = "The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: No such file or directory ("
        assert value(manuals, reason).startswith(said)
        assert rows(manuals, DEAD) == []


def test_a_worker_whose_settings_name_nothing_says_so(
    database: Database, manuals: psycopg.Connection, model: Session
) -> None:
    insert(manuals, 1, "https://docs.example.com/x")
    with worker_thread(database, only(Wrapped(model)), uris="file:///"):
        reason = "select reason from pgembedd.status where pipeline = 'manual_text' and state = 'unserved'"
        eventually(lambda: rows(manuals, reason) != [])
        assert value(manuals, reason).startswith("No worker fetches files of https://: name it in PGEMBEDD_URIS (")
        assert rows(manuals, DEAD) == []

"""Objects of folders and buckets as rows: a worker lists them, and the rows' files become pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import Listed
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.model import Session
from pgembedd.settings import Settings
from tests.support.databases import Database
from tests.support.documents import put_off_upkeep
from tests.support.embedders import Wrapped, only
from tests.support.prepared import prepared
from tests.support.servers.files import file_server, respond
from tests.support.sql import call, column, rows, value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

PROBLEM = "select problem from pgembedd_internal.object_listing"
REASON = "select reason from pgembedd.status"


@prepared
def manuals(connection: psycopg.Connection) -> None:
    """`manuals`, a table of objects, without a pipeline."""
    connection.execute(
        "create table manuals (uri text primary key, size bigint, etag text, modified timestamptz, seen int default 1)"
    )
    put_off_upkeep(connection)


def create(connection: psycopg.Connection, folder: str) -> None:
    """The pipeline of the files below a URI."""
    call(
        connection,
        "create_pipeline",
        pipeline="manual_text",
        source="manuals",
        task="parse",
        uri_column="uri",
        uri_prefixes=[folder],
        objects_uri=folder,
        into_table="manual_pages",
    )


@pytest.fixture
def folder(manuals: psycopg.Connection, database: Database, model: Session, tmp_path: Path) -> Iterator[Path]:
    """A folder with a pipeline of its files and a worker."""
    (tmp_path / "manuals" / "more").mkdir(parents=True)
    (tmp_path / "manuals" / "a b.md").write_text("One.")
    (tmp_path / "manuals" / "more" / "c.md").write_text("Two.")
    (tmp_path / "manuals" / "link.md").symlink_to("a b.md")
    create(manuals, f"file://{tmp_path}/manuals/")
    with worker_thread(database, only(Wrapped(model)), uris=f"file://{tmp_path}/", sweep_every_s=0.1):
        yield tmp_path / "manuals"


def list_again(connection: psycopg.Connection) -> None:
    """Its next listing is due, and is awaited with its jobs."""
    due = "update pgembedd_internal.object_listing set due_at = now(), problem = null returning number"
    number = value(connection, due)
    ended = f"select from pgembedd_internal.object_listing l where number > {number} and (problem is not null or"
    eventually(lambda: rows(connection, ended + " listed_at > due_at - interval '10 minutes')") != [])
    eventually(lambda: value(connection, "select queued from pgembedd.status") == 0)


def stored(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """The name of each file and its text."""
    found = rows(connection, "select regexp_replace(uri, '.*/manuals/', ''), text from manual_pages order by 1")
    return [(row[0], row[1]) for row in found]


def test_a_folder_is_kept_current_and_pages_with_it(manuals: psycopg.Connection, folder: Path) -> None:
    eventually(lambda: stored(manuals) == [("a%20b.md", "One."), ("more/c.md", "Two.")])
    assert (
        rows(manuals, "select size, modified > now() - interval '1 hour', etag <> '' from manuals")
        == [(4, True, True)] * 2
    )
    manuals.execute("insert into manuals values ('file:///elsewhere', 1, '', now())")
    manuals.execute("update manuals set seen = 2")
    before = rows(manuals, "select ctid, xmin, * from manuals order by uri")
    list_again(manuals)
    assert rows(manuals, "select ctid, xmin, * from manuals order by uri") == before
    (folder / "a b.md").write_text("New.")
    (folder / "more" / "c.md").unlink()
    (folder / "d.md").write_text("Four.")
    list_again(manuals)
    assert stored(manuals) == [("a%20b.md", "New."), ("d.md", "Four.")]
    assert column(manuals, "select seen from manuals order by uri") == [2, 2, 1]
    assert value(manuals, "select count(*) from pgembedd_internal.listed_object") == 0


def test_a_listing_that_fails_changes_nothing_and_says_why(manuals: psycopg.Connection, folder: Path) -> None:
    eventually(lambda: len(stored(manuals)) == 2)
    folder.rename(folder.parent / "away")
    list_again(manuals)
    assert len(stored(manuals)) == value(manuals, "select count(*) from manuals") == 2
    assert value(manuals, REASON).endswith("not be listed: There is no such folder on the machine of the worker.")
    (folder.parent / "away").rename(folder)
    list_again(manuals)
    assert value(manuals, REASON) is None
    manuals.execute("alter table manuals add check (uri not like '%d.md')")
    (folder / "d.md").write_text("Four.")
    list_again(manuals)
    assert "The table does not take them: new row for relation" in value(manuals, REASON)
    assert len(stored(manuals)) == 2


def test_an_object_whose_uri_no_key_holds_is_left_out_and_told(manuals: psycopg.Connection, folder: Path) -> None:
    eventually(lambda: len(stored(manuals)) == 2)
    deep = folder / "more" / "/".join(["ä" * 120] * 4)
    deep.mkdir(parents=True)
    (deep / "e.md").write_text("Five.")
    list_again(manuals)
    assert [name for name, _ in stored(manuals)] == ["a%20b.md", "more/c.md"]
    assert value(manuals, REASON).startswith("Objects left out: 1, as their URIs have more than 2,600 characters")
    (deep / "e.md").rename(folder / "e.md")
    list_again(manuals)
    assert ("e.md", "Five.") in stored(manuals)
    assert value(manuals, REASON) is None


def test_of_two_listings_the_older_does_nothing(manuals: psycopg.Connection) -> None:
    create(manuals, "file:///srv/manuals/")
    pipeline = value(manuals, "select pipeline_id from pgembedd_internal.due_listings()")
    manuals.execute("insert into manuals values ('file:///srv/manuals/a', 1, '', now())")
    begin, page = "select pgembedd_internal.begin_listing(%s)", '[{"uri": "file:///srv/manuals/b", "size": 1}]'
    assert manuals.execute(begin, (pipeline,)).fetchone() == (1,)
    assert manuals.execute(begin, (pipeline,)).fetchone() == (None,)
    manuals.execute("update pgembedd_internal.object_listing set due_at = now()")
    assert manuals.execute(begin, (pipeline,)).fetchone() == (2,)
    add = "select pgembedd_internal.add_objects(%s, %s, %s)"
    assert manuals.execute(add, (pipeline, 1, page)).fetchone() == (False,)
    finish = "select written, deleted from pgembedd_internal.finish_listing(%s, %s, %s, null)"
    assert manuals.execute(finish, (pipeline, 1, 0)).fetchall() == []
    assert manuals.execute(add, (pipeline, 2, page)).fetchone() == (True,)
    assert manuals.execute(finish, (pipeline, 2, 2)).fetchall() == []  # one page is missing
    assert column(manuals, "select uri from manuals") == ["file:///srv/manuals/a"]
    assert manuals.execute(finish, (pipeline, 2, 1)).fetchall() == [(1, 1)]
    assert column(manuals, "select uri from manuals") == ["file:///srv/manuals/b"]
    call(manuals, "alter_pipeline", pipeline="manual_text", reset=["objects_uri"])
    assert rows(manuals, "select * from pgembedd_internal.due_listings()") == []


OBJECT = """<Contents><Key>%s</Key><Size>%d</Size><ETag>"x"</ETag>
<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"""
FOLDERS = OBJECT % ("docs/", 0) + OBJECT % ("docs/more/", 0)
LISTING = f'<?xml version="1.0"?><ListBucketResult>%s{OBJECT % ("docs/a b.pdf", 7)}</ListBucketResult>'
MORE = "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"


def test_a_bucket_is_listed_to_its_end_or_not_at_all(tmp_path: Path) -> None:
    """By the real client, from a stand-in for S3."""
    with file_server(None) as s3:
        path = tmp_path / "buckets.toml"
        path.write_text(
            f'["s3://manuals"]\nendpoint = "http://127.0.0.1:{s3.port}"\nregion = "eu"\nskip_signature = true'
        )
        own = Fetcher(Settings(uris="s3://manuals/", buckets_file=str(path)))

        def pages(more: str) -> list[list[Listed]]:
            body = (LISTING % more).encode()
            s3.files["/manuals?list-type=2&prefix=docs%2F"] = lambda request: respond(request, 200, {}, body)
            return list(own.list("s3://manuals/docs/", ["s3://manuals/"]))

        assert pages("") == [[Listed("s3://manuals/docs/a%20b.pdf", 7, '"x"', "2026-01-01T00:00:00+00:00")]]
        assert len(pages(FOLDERS)[0]) == 1  # the others stand for folders
        with pytest.raises(FetchError, match="is no path: it holds '//'"):
            pages(OBJECT % ("docs//a.pdf", 7))
        with pytest.raises(FetchError):
            pages(MORE)
    with pytest.raises(FetchError, match="lists no files"):
        list(Fetcher(Settings(uris="https://")).list("https://example.com/", ["https://"]))

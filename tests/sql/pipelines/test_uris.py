"""Pipelines of URIs: their options, what is refused, and what else must know of them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import psycopg
import pytest

from pgembedd.errors import refusal_text
from tests.support.pages import contracts
from tests.support.prepared import prepared
from tests.support.sql import call, column, queued, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

PREFIXES = ["https://docs.example.com/"]


def create(connection: psycopg.Connection, **options: Any) -> Any:
    """create_pipeline() for the URIs of `manuals`, unless told otherwise."""
    defaults = {"pipeline": "manual_text", "source": "manuals", "task": "parse", "uri_column": "location"}
    return call(
        connection,
        "create_pipeline",
        **defaults | {"uri_prefixes": PREFIXES, "into_table": "manual_pages"} | options,
    )


@prepared
def manuals(connection: psycopg.Connection) -> None:
    """`manuals` with a pipeline of its URIs, and `contracts` with one of its files."""
    connection.execute("create table manuals (id int primary key, location text, mirror text, size int)")
    create(connection)
    contracts(connection)


CREATE: dict[str, dict[str, Any]] = {
    "uri_column is the content of its pipeline, and another content is given, too. Leave one of the two out.": {
        "content_columns": ["mirror"]
    },
    "A pipeline of URIs needs uri_prefixes: what they may begin with. For example uri_prefixes =>"
    " '{https://docs.example.com/manuals/}'.": {"uri_prefixes": None},
    "uri_prefixes are given, and no column of URIs. Name it: uri_column => 'location'.": {
        "uri_column": None,
        "content_columns": ["location"],
    },
    "The prefix 'http://x/' is none of a URI that is fetched. Take https://host/path/, file:///folder/ or"
    " s3://bucket/path/; https:// alone is all public hosts.": {"uri_prefixes": ["https://x/", "http://x/"]},
    "recheck_interval 00:00:01 is out of range. Take 1 minute to 1000 days, or leave it out: then a file is fetched"
    " once.": {"recheck_interval": "1 s"},
    "uri_column is for files, and the task is embed. Say task => 'parse' for files; vectors go into embedding_column or"
    " embedding_table.": {"task": "embed", "into_table": None},
    "public.manuals.size is integer, and a URI is text. Name a column of type text.": {"uri_column": "size"},
    "The objects of 'https://docs.example.com/' cannot be listed. Name a folder or a part of a bucket that begins with"
    " one of the uri_prefixes and ends with /.": {"objects_uri": "https://docs.example.com/"},
    "public.manuals is no table of objects. It has the columns location text primary key, size bigint, etag text,"
    " modified timestamptz.": {"uri_prefixes": ["s3://docs/"], "objects_uri": "s3://docs/manuals/"},
    'public.manuals has no column "nope", named in content_columns. It has: id, location, mirror, size.': {
        "uri_column": "nope"
    },
}


@pytest.mark.parametrize("expected", CREATE)
def test_what_does_not_go_together_is_refused(manuals: psycopg.Connection, expected: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        create(manuals, **{"pipeline": "other", "into_table": "other_pages"} | CREATE[expected])
    assert refusal_text(refused.value.diag) == expected


ALTER: dict[str, dict[str, Any]] = {
    'The pipeline "manual_text" fetches its files from URIs. Name another column of URIs as uri_column, or create a'
    " second pipeline.": {"pipeline": "manual_text", "content_columns": ["mirror"]},
    'The pipeline "contract_text" has its files in a column. Create a second pipeline for URIs.': {
        "pipeline": "contract_text",
        "uri_column": "name",
        "uri_prefixes": PREFIXES,
    },
    "A pipeline of URIs needs uri_prefixes: what they may begin with. For example uri_prefixes =>"
    " '{https://docs.example.com/manuals/}'.": {"pipeline": "manual_text", "reset": ["uri_prefixes"]},
}


@pytest.mark.parametrize("expected", ALTER)
def test_what_cannot_be_altered_is_refused(manuals: psycopg.Connection, expected: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        call(manuals, "alter_pipeline", **ALTER[expected])
    assert refusal_text(refused.value.diag) == expected


@pytest.mark.parametrize(
    "prefix", ["https://me:secret@h/", "https://h/?x", "s3://b/../c/", "https://h/#x", "file:///."]
)
def test_a_prefix_that_no_worker_could_read_is_refused(manuals: psycopg.Connection, prefix: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is none of a URI that is fetched"):
        create(manuals, pipeline="other", uri_prefixes=[prefix], into_table="other_pages")


def test_its_options_are_altered_shown_and_make_it_again(manuals: psycopg.Connection) -> None:
    manuals.execute("insert into manuals values (1, 'https://docs.example.com/a', 'https://docs.example.com/b')")
    assert queued(manuals) == [1]
    call(manuals, "alter_pipeline", pipeline="manual_text", recheck_interval="1 hour")
    altered = {"uri_column": "mirror", "uri_prefixes": ["file:///srv/", "https://"]}
    assert call(manuals, "alter_pipeline", pipeline="manual_text", **altered) == 1
    shown = "select content_columns, uri_column, uri_prefixes, recheck_interval::text, watch_columns from"
    assert rows(manuals, f"{shown} pgembedd.pipelines where pipeline = 'manual_text'") == [
        (None, "mirror", ["file:///srv/", "https://"], "01:00:00", ["mirror"])
    ]
    definition = value(manuals, "select pgembedd.pipeline_definition('manual_text')")
    assert "uri_column => 'mirror'" in definition
    assert "content_columns" not in definition
    manuals.execute(definition.removesuffix(")") + ", if_not_exists => true)")
    call(manuals, "alter_pipeline", pipeline="manual_text", reset=["recheck_interval"])
    with pytest.raises(psycopg.errors.DuplicateObject, match="recheck_interval: has null, asked for '01:00:00'"):
        manuals.execute(definition.removesuffix(")") + ", if_not_exists => true)")


def test_no_other_role_says_what_a_worker_fetches(manuals: psycopg.Connection) -> None:
    """The owner of the table is one that may write any URI: what these may begin with is not for it to say."""
    manuals.execute("create role writer")
    manuals.execute("alter table manuals owner to writer")
    manuals.execute("grant create, usage on schema public to writer")
    for role in ("search", "ask", "operator", "demand"):
        call(manuals, f"grant_{role}", role="writer")
    manuals.execute("set local role writer")
    for statement in (
        "select pgembedd.alter_pipeline('manual_text', uri_prefixes => '{file:///}')",
        (
            "select pgembedd.create_pipeline('mine', 'manuals', task => 'parse', uri_column => 'location',"
            " uri_prefixes => '{file:///}', into_table => 'mine')"
        ),
        "update pgembedd_internal.pipeline set uri_prefixes = '{file:///}'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            manuals.execute(statement.encode())
    manuals.execute("reset role")


def test_verify_compares_pages_with_what_was_fetched(manuals: psycopg.Connection) -> None:
    """By the URI that the row has, without a request."""
    uri, file = "https://docs.example.com/a", sha256(b"one").digest()
    manuals.execute("insert into manuals values (1, %s), (2, ''), (3, %s)", (uri, uri))
    manuals.execute(
        "insert into manual_pages (id, page, headings, text, metadata, content_hash, parser)"
        " values (1, 1, '{}', 'one', '{}', %s, 'p')",
        (file,),
    )
    note = "select pgembedd_internal.note_file(id, '1', sha256(%s), %s, 'v', 'p', null) from pgembedd_internal.pipeline"
    manuals.execute(note + " where name = 'manual_text'", (uri.encode(), file))
    look = "select state, hash = sha256('one') from pgembedd_internal._look_at('manual_text', '{1,2,3,4}', false)"
    assert rows(manuals, look) == [("ok", True), ("blank", False), ("ok", False), ("gone", False)]
    manuals.execute("update manuals set location = location || 'b' where id = 1")
    assert rows(manuals, look)[0] == ("ok", False)
    manuals.execute("delete from manuals")
    manuals.execute("select pgembedd.retention()")
    assert column(manuals, "select key from pgembedd_internal.fetched_file") == []

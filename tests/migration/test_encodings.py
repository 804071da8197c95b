"""Databases in other encodings than UTF-8."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgembedd.database.connect import connect, connect_unpinned
from pgembedd.database.connection import Connection
from pgembedd.database.encoding import replace_foreign_characters
from pgembedd.database.migrate import migrate
from pgembedd.database.sessions import Sessions
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import SearchError
from pgembedd.search.run import search
from tests.support.sql import (
    LANES,
    call,
    claim,
    claim_one,
    column,
    create_pipeline,
    fail,
    learn_vector,
    make_documents,
    rows,
    store,
    value,
    work,
)

TEXTS = {"SQL_ASCII": "Grüße", "LATIN1": "Grüße", "LATIN2": "Žluťoučký", "WIN1251": "Привет", "EUC_JP": "東京"}


@dataclass(frozen=True)
class Encoded:
    """A migrated database in that encoding, and a text that it can hold."""

    conninfo: str
    encoding: str
    text: str

    def own(self) -> psycopg.Connection:
        """A connection as a caller may have it, in the database's encoding."""
        return psycopg.connect(self.conninfo, client_encoding=self.encoding, autocommit=True)


@pytest.fixture(params=sorted(TEXTS))
def encoded(request: pytest.FixtureRequest, server: EmbeddedPostgres) -> Iterator[Encoded]:
    name = f"encoded_{request.param.lower()}"
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(f"create database {name} template template0 encoding '{request.param}' locale 'C'".encode())
        try:
            conninfo = psycopg.conninfo.make_conninfo(server.conninfo(), dbname=name)
            migrate(conninfo)
            yield Encoded(conninfo, request.param, TEXTS[request.param])
        finally:
            admin.execute(f"drop database {name} with (force)".encode())


@pytest.mark.slow
def test_texts_are_texts_whatever_the_encoding(encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    conninfo, text = encoded.conninfo, encoded.text
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")  # the environment's does not matter
    with connect_unpinned(conninfo, autocommit=True) as connection:
        assert connection.execute("select %s::text", [text]).fetchone() == (text,)
        learn_vector(connection)
        make_documents(connection, key="id text primary key")
        connection.execute("insert into documents values (%s, %s, %s)", [text, text, f"{text} two three"])
        create_pipeline(connection)
        assert work(connection) == {text: "written"}
    # A connection of the caller's reads JSON in its own encoding, which is the database's.
    with encoded.own() as own:
        (hit,) = search(own, "documents", "two", embedding=[0.1, 0.2, 0.3])
        assert (hit.key, hit.record["title"]) == (text, text)


@pytest.mark.slow
def test_what_the_encoding_lacks(encoded: Encoded) -> None:
    """A search is refused in a sentence; what a worker notes has a question mark there."""
    conninfo, text = encoded.conninfo, encoded.text
    ascii_only = encoded.encoding == "SQL_ASCII"
    with connect_unpinned(conninfo, autocommit=True) as connection:
        learn_vector(connection)
        make_documents(connection, 1)
        create_pipeline(connection)
        if not ascii_only:
            with pytest.raises(SearchError, match="has no equivalent in encoding") as caught:
                search(connection, "documents", "\U0001f600", embedding=[0.1, 0.2, 0.3])
            assert caught.value.exit_code == 2
            with encoded.own() as own:
                with pytest.raises(SearchError, match="Connect with client_encoding=utf8") as caught:
                    search(own, "documents", "\U0001f600", embedding=[0.1, 0.2, 0.3])
                assert caught.value.exit_code == 2
        workers = Connection(Sessions(conninfo, "test"), threading.Event()).call(lambda session: session)
        lacking = "\U0001f600" if ascii_only else "?"
        assert value(workers, "select %s::jsonb ->> 0", Jsonb([f"{text} \U0001f600"])) == f"{text} {lacking}"
        fail(workers, claim_one(workers, "pgembedd_backfill"), error=f"{text} \U0001f600", permanent=True)
        assert value(connection, "select error from pgembedd.dead_letters") == f"{text} {lacking}"
        workers.close()


@pytest.mark.slow
@pytest.mark.parametrize("encoded", ["SQL_ASCII", "WIN1251"], indirect=True)
@pytest.mark.parametrize("key", ["id text primary key", "id text, other_id text, primary key (id, other_id)"])
def test_a_key_that_is_no_utf_8_keeps_nothing_else_waiting(encoded: Encoded, key: str) -> None:
    """It is its row's dead letter; its neighbours, another pipeline and all that shows it go on."""
    with (
        connect_unpinned(encoded.conninfo, autocommit=True) as connection,
        encoded.own() as own,
        connect(encoded.conninfo, autocommit=True) as workers,
    ):
        replace_foreign_characters(workers)
        learn_vector(connection)
        connection.execute(f"create table documents ({key}, title text, content text)".encode())
        create_pipeline(connection)
        create_pipeline(connection, pipeline="chunked", embedding_table="chunks")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        composite = "other_id" in key
        connection.execute("listen pgembedd_events")
        columns, more = ("id, other_id, content", ", 'b'") if composite else ("id, content", "")
        own.execute(
            f"insert into documents ({columns}) values (E'\\x98'{more}, 'one two'), ('a'{more}, 'one')".encode()
        )
        own.execute(f"insert into documents ({columns}) values ('c'{more}, E'\\x98')".encode())
        learn_vector(workers)
        for job in [job for lane in LANES for job in claim(workers, lane)]:
            try:
                assert store(workers, [job]) == ["written"]
            except psycopg.DataError as error:
                fail(workers, job, error=str(error), permanent=True)
        assert value(connection, "select count(*) from documents where embedding is not null") == 1
        assert value(connection, "select count(*) from chunks") == 1
        found = sorted(rows(connection, "select pipeline, key::text, reason, message::text from pgembedd.dead_letters"))
        assert [(pipeline, reason) for pipeline, _, reason, _ in found] == [
            ("chunked", "content"), ("chunked", "content"), ("documents", "content"), ("documents", "content")
        ]  # fmt: skip
        assert sum("230" in shown for _, shown, _, _ in found) == 2, "the number of the byte"
        assert [json.loads(event.payload)["event"] for event in connection.notifies(timeout=0)].count(
            "dead_letter"
        ) == 4
        assert value(connection, "select pgembedd.sweep()") == 0
        assert set(column(connection, "select dead from pgembedd.status")) == {2}
        assert call(connection, "retry_dead_letters", reason="content") == 4
        assert [job.id for lane in LANES for job in claim(workers, lane)] == [
            {"id": "c", "other_id": "b"} if composite else "c"
        ] * 2
        assert len(rows(connection, "select * from pgembedd_internal._sample_keys('documents', 9, 1)")) == 2
        assert len(rows(connection, "select * from pgembedd_internal._next_keys('documents', null, 9)")) == 2

"""Searches on a streaming standby, which can compute no query's vector through the database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgembedd import Database
from pgembedd.errors import SearchError
from pgembedd.model import Session
from tests.faults.pair import Pair
from tests.support.command import pgembedd
from tests.support.databases import open_directory
from tests.support.documents import await_quiet, make_documents
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.postgres_versions import opened_version
from tests.support.roles import PASSWORD
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

TEXTS = {1: "To reset your password, open the settings.", 2: "Bake the bread for an hour."}
QUESTION = "I cannot remember my passphrase"


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """A primary with two embedded rows, a role that may search them, and a standby that has all of it."""
    with open_directory() as folder, opened_version() as arguments:
        pair = Pair(folder, {}, arguments)
        try:
            assert pgembedd("migrate", database=pair.conninfo()).code == 0
            with psycopg.connect(pair.conninfo(), autocommit=True) as connection:
                connection.execute(f"create role reader login noinherit password '{PASSWORD}'".encode())
                connection.execute("select pgembedd.grant_search('reader')")
                make_documents(connection)
                connection.execute("grant select on documents to reader")
                for row in TEXTS.items():
                    connection.execute("insert into documents values (%s, %s)", row)
                with WorkerProcess(pair.conninfo()):
                    await_quiet(connection)
                connection.execute("select pgembedd.sweep()")
                pair.add_standby()
            yield pair
        finally:
            pair.stop("immediate")


@pytest.mark.slow
def test_a_standby_answers_searches_whose_vector_comes_with_them(servers: Pair, model: Session) -> None:
    standby = make_conninfo(servers.standby_conninfo(), user="reader", password=PASSWORD)
    vector = model.run(QUESTION, kind="query").tolist()
    with Database(standby) as database:
        eventually(lambda: database.pipelines())
        for mode in ("semantic", "hybrid"):
            assert [hit.key for hit in database.search("documents", QUESTION, mode=mode, embedding=vector)] == [1, 2]
        assert [hit.key for hit in database.search("documents", "bread", mode="text")] == [2]
        assert [hit.key for hit in database.similar("documents", 1)] == [2]
        with pytest.raises(SearchError, match=r"embed\(\) does not work on a standby, where no request can be posted"):
            database.search("documents", QUESTION)

    found = pgembedd("search", QUESTION, "--json", "-n", "1", database=standby)
    assert '"key": 1' in found.out, found
    explained = pgembedd("search", QUESTION, "--explain", database=standby)
    assert "path" in explained.out, explained
    verified = pgembedd("verify", "--all", database=servers.standby_conninfo())
    assert "2 right" in verified.out, verified
    examined = pgembedd("doctor", database=servers.standby_conninfo())
    bad = [line for line in examined.out.splitlines() if line.startswith("BAD")]
    assert bad == ["BAD   server: takes no writes, so nothing can be stored"]
    with serving(only(model), servers.conninfo(), search_url=standby) as client:
        answer = client.post("/api/v1/search", json={"pipeline": "documents", "query": QUESTION, "k": 1})
        assert [hit["key"] for hit in answer.json()["hits"]] == [1]

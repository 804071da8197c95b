"""Searches from Python: what they take, what they return, and what they say when they cannot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgembedd import AsyncDatabase, Hit, SearchError
from pgembedd import Database as Searches
from pgembedd.answers.questions import Question, Questions
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.search.engine import SearchEngine
from pgembedd.search.hits import title_of
from pgembedd.search.local_models import LocalModels
from pgembedd.search.run import in_transactions
from tests.sql.search.test_words import make_texts
from tests.support.databases import Database, fresh_database
from tests.support.planted import caught, plant
from tests.support.roles import Roles, conninfo_as
from tests.support.schemas import without
from tests.support.search import make_source
from tests.support.sql import connected, create_pipeline, end_sessions, value, work
from tests.support.waiting import PATIENCE_S, eventually

NEAR = [1.0, 0.5, 0.25]


@pytest.fixture(scope="module")
def source(server: EmbeddedPostgres, template: Database) -> Iterator[Database]:
    """`documents` with 20 rows, each with a made-up vector of three dimensions."""
    with fresh_database(server, template.name) as database:
        with database.connect() as connection:
            make_source(connection, 20)
        yield database


@pytest.fixture
def searches(source: Database) -> Iterator[Searches]:
    with Searches(source.conninfo) as searches:
        yield searches


def test_hits_are_typed_and_in_order(searches: Searches) -> None:
    hits = searches.search("documents", None, embedding=NEAR, k=3, filter={"id": {"$gt": 5}})

    assert [type(hit) for hit in hits] == [Hit] * 3
    assert [hit.semantic_rank for hit in hits] == [1, 2, 3]
    assert all(hit.key == hit.record["id"] > 5 for hit in hits)
    assert set(hits[0].record) == {"id", "title", "content", "share"}
    assert hits[0].score >= hits[1].score >= hits[2].score
    assert (hits[0].chunk_index, hits.notices) == (None, ())


def test_only_what_is_given_is_passed_on(searches: Searches) -> None:
    assert len(searches.search("documents", None, embedding=NEAR)) == 10
    assert searches.search("documents", None, embedding=NEAR, snippet_length=0)[0].snippet is None
    assert searches.search("documents", None, embedding=NEAR, min_similarity=1.0) == []
    plan = searches.explain("documents", None, embedding=NEAR, k=2, with_hits=True)
    assert plan["semantic"]["hits"][1]["rank"] == 2
    plan = searches.explain("documents", None, embedding=NEAR, k=2)
    assert (next(iter(plan)), list(plan["semantic"])[:3]) == ("semantic", ["path", "index", "rows_visited"])
    assert "hits" not in plan["semantic"]


def test_a_row_by_its_key(searches: Searches) -> None:
    row = searches.row("documents", 7)

    assert row is not None
    assert (row["id"], row["title"]) == (7, "title 7")
    assert "embedding" not in row
    assert searches.row("documents", 700) is None


def test_pipelines_name_the_columns_that_a_filter_takes(searches: Searches) -> None:
    (pipeline,) = searches.pipelines()

    assert (pipeline.name, pipeline.source, pipeline.chunked) == ("documents", "public.documents", False)
    assert (pipeline.key_columns, pipeline.fingerprint) == (["id"], "x")
    assert pipeline.columns == {"id": "integer", "title": "text", "content": "text", "share": "integer"}


def test_they_are_those_of_the_role(roles: Roles, database: Database) -> None:
    reader = roles.make("reader")
    with database.connect() as connection, Searches(conninfo_as(database, reader)) as theirs:
        make_source(connection, 3)
        with pytest.raises(SearchError) as denied:
            theirs.pipelines()
        assert (denied.value.sqlstate, "grant_search()" in str(denied.value.hint)) == ("42501", True)
        connection.execute("select pgembedd.grant_search(%s)", [reader])
        assert theirs.pipelines() == []
        connection.execute(f"grant select (id, title, embedding) on documents to {reader}")
        assert list(theirs.pipelines()[0].columns) == ["id", "title"]
        assert theirs.row("documents", 2) == {"id": 2, "title": "title 2"}
        connection.execute(f"revoke select (id) on documents from {reader}")
        with pytest.raises(SearchError, match=r"may not read id of public\.documents"):
            theirs.row("documents", 2)


@pytest.mark.parametrize(
    ("values", "sentence", "hint"),
    [
        ({"query": " "}, "The query is empty.", "Say in some words"),
        ({"query": "\0"}, "The query holds a character that no text in Postgres can.", ""),
        ({"query": "\ud800"}, "The query holds a character that no text in Postgres can.", ""),
        ({"k": 0}, "k 0 is out of range.", "1 to 1000"),
        ({"k": 10**30}, "k is out of range.", ""),
        ({"pipeline": "gone"}, 'There is no pipeline "gone".', "There are: documents."),
        ({"mode": "guess"}, "The mode 'guess' is not known.", ""),
        ({"filter": {"nope": 1}}, 'public.documents has no column "nope" that you may filter by.', "id, title"),
        ({"filter": {"share": "x"}}, 'The filter compares "share", which is integer, with "x".', ""),
        ({"filter": {"title": "a\0b"}}, "The filter holds a character that no text in Postgres can.", ""),
        ({"filter": {"share": float("nan")}}, "The filter cannot be written as JSON.", ""),
        ({"filter": [1]}, "The filter [1] is no object.", ""),
        ({"min_similarity": 2.0}, "min_similarity 2 is out of range.", "-1 to 1"),
        ({"min_similarity": float("nan")}, "min_similarity NaN is out of range.", "-1 to 1"),
        ({"embedding": [1.0]}, "The vector has 1 dimension, and those", "the pipeline's model"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_hint(
    searches: Searches, values: dict[str, Any], sentence: str, hint: str
) -> None:
    given = {"pipeline": "documents", "query": "words", **values}
    if "query" not in values:
        given.setdefault("embedding", NEAR)
    with pytest.raises(SearchError) as refused:
        searches.search(**given)

    assert refused.value.sentence.startswith(sentence)
    assert hint in (refused.value.hint or "")
    assert (refused.value.is_refusal, refused.value.exit_code) == (True, 2)
    assert len(searches.search("documents", None, embedding=NEAR, k=1)) == 1, "the connection is good for the next"


def test_an_unknown_argument_is_a_mistake_of_the_program(searches: Searches) -> None:
    with pytest.raises(TypeError, match="no argument 'limit'"):
        searches.search("documents", "words", limit=3)  # type: ignore[call-arg]


def test_each_method_takes_the_arguments_of_its_function(searches: Searches) -> None:
    with pytest.raises(TypeError, match=r"similar\(\) has no argument 'mode'; there are k, filter, skip"):
        searches.similar("documents", 1, mode="text")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"search_many\(\) has no argument 'embedding'"):
        searches.search_many(["documents"], "words", embedding=NEAR)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"such as \['documents'\]"):
        searches.search_many("documents", "words")


def test_rows_like_a_row(searches: Searches) -> None:
    hits = searches.similar("documents", 7, k=3, filter={"id": {"$lt": 12}})
    assert [hit.semantic_rank for hit in hits] == [1, 2, 3]
    assert all(hit.key != 7 and hit.key < 12 for hit in hits)


def test_several_pipelines_at_once(database: Database) -> None:
    with connected(database) as connection:
        make_texts(connection)
        connection.execute("create table tickets (no text primary key, content text)")
        create_pipeline(
            connection, pipeline="tickets", source="tickets", content_columns=["content"], text_config="english"
        )
        connection.execute("insert into tickets values ('a', 'my invoice is wrong'), ('b', 'the card does not work')")
        work(connection)
    both = ["documents", "tickets"]
    found = {("documents", 2), ("tickets", "a")}
    with Searches(database.conninfo) as searches:
        hits = searches.search_many(
            both, "invoice", mode="text", k=5, snippet_marks=["<", ">"], filter={"content": {"$exists": True}}
        )
        assert {(hit.pipeline, hit.key) for hit in hits} == found
        assert all(hit.text_rank == 1 and hit.record["content"] and "<invoice>" in (hit.snippet or "") for hit in hits)
        with pytest.raises(SearchError, match='There is no pipeline "gone"'):
            searches.search_many(["documents", "gone"], "invoice")

    async def the_same() -> None:
        async with AsyncDatabase(database.conninfo) as searches:
            hits = await searches.search_many(both, "invoice", mode="text")
            assert ({(hit.pipeline, hit.key) for hit in hits}, hits.notices) == (found, ())
            assert len(await searches.similar("tickets", "a")) == 1

    asyncio.run(the_same())


def test_keys_that_are_none(searches: Searches) -> None:
    for key in (None, {"id": 1}):
        with pytest.raises(SearchError, match='is no key of "documents"'):
            searches.row("documents", key)
    with pytest.raises(SearchError, match="integer"):
        searches.row("documents", "seven")


def test_a_key_of_several_columns(database: Database) -> None:
    with database.connect() as connection, Searches(database.conninfo) as searches:
        connection.execute("create table places (town text, no int, body text, primary key (town, no))")
        connection.execute("select pgembedd.create_pipeline('places', 'places', array['body'], dimensions => 3)")
        connection.execute("insert into places values ('Ulm', 1, 'a house')")
        assert searches.row("places", {"town": "Ulm", "no": 1}) == {"town": "Ulm", "no": 1, "body": "a house"}
        assert searches.row("places", {"town": "Ulm"}) is None
        with pytest.raises(SearchError, match=r"a JSON object: town \(text\), no \(integer\)\."):
            searches.row("places", "Ulm")


def test_a_database_that_is_away_is_the_same_exception() -> None:
    for url in ("host=127.0.0.1 port=1", "postgres://[", "nonsense"):
        with pytest.raises(SearchError) as away:
            Searches(url).pipelines()
        assert away.value.exit_code == 1


def test_a_lost_connection_is_opened_again(source: Database, searches: Searches) -> None:
    assert len(searches.pipelines()) == 1
    with source.connect() as other:
        assert end_sessions(other, "application_name = 'pgembedd'")
    assert len(searches.pipelines()) == 1


def test_a_function_that_is_missing_for_a_while(source: Database, searches: Searches) -> None:
    """As where another version of pgembedd migrates the database: it is asked again at the next call."""
    said = r"does not exist\. Is this version's schema there \(`pgembedd migrate`\), and may the role search"
    with connected(source) as connection, without(connection, "search_pipelines"):
        with pytest.raises(SearchError, match=said):
            searches.pipelines()
        with pytest.raises(SearchError, match=said):
            asyncio.run(pipelines_of(source))
    assert len(searches.pipelines()) == 1


async def pipelines_of(source: Database) -> object:
    async with AsyncDatabase(source.conninfo) as searches:
        return await searches.pipelines()


def test_it_ends_with_its_block_and_can_be_used_again(source: Database) -> None:
    with Searches(source.conninfo) as searches:
        searches.pipelines()
        connection = searches._connection
    assert isinstance(connection, psycopg.Connection)
    assert connection.closed
    assert len(searches.pipelines()) == 1
    searches.close()
    searches.close()


def test_numbers_of_any_length_arrive(database: Database) -> None:
    with database.connect() as connection, Searches(database.conninfo) as searches:
        make_source(connection, 1)
        connection.execute("alter table documents add n numeric default repeat('9', 5000)::numeric")
        (hit,) = searches.search("documents", None, embedding=NEAR)
        assert hit.record["n"] == "9" * 5000


def test_what_waits_is_noted(database: Database) -> None:
    with database.connect() as connection, Searches(database.conninfo) as searches:
        make_source(connection, 3)
        connection.execute("select pgembedd.backfill('documents', force => true)")
        hits = searches.search("documents", None, embedding=NEAR)
        assert len(hits) == 3
        assert '3 jobs of "documents" wait in the backfill' in hits.notices[0]


def test_the_same_for_asyncio(source: Database) -> None:
    async def everything() -> None:
        async with AsyncDatabase(source.conninfo) as searches:
            first, second = await asyncio.gather(
                searches.search("documents", None, embedding=NEAR, k=2), searches.row("documents", 3)
            )
            assert [hit.semantic_rank for hit in first] == [1, 2]
            assert second is not None
            assert second["id"] == 3
            assert [one.name for one in await searches.pipelines()] == ["documents"]
            assert (await searches.explain("documents", None, embedding=NEAR))["k"] == 10
            with pytest.raises(SearchError, match=r"k 0 is out of range\. "):
                await searches.search("documents", "words", k=0)
            with source.connect() as other:
                assert end_sessions(other, "application_name = 'pgembedd'")
            assert len(await searches.search("documents", None, embedding=NEAR, k=1)) == 1
        with pytest.raises(SearchError, match="cannot be reached"):
            await AsyncDatabase("host=127.0.0.1 port=1").pipelines()

    asyncio.run(everything())


def waits(connection: psycopg.Connection, function: str) -> bool:
    """Whether a call of this function waits for a lock."""
    waiting = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ~ %s)"
    return bool(value(connection, waiting, rf"pgembedd\.{function}\("))


def test_a_task_that_is_cancelled_ends_its_search(database: Database) -> None:
    async def cancelled() -> None:
        async with AsyncDatabase(database.conninfo) as searches:
            with connected(database) as connection, database.connect() as other:
                make_source(connection, 3)
                other.execute("begin; lock table documents")
                first = asyncio.ensure_future(searches.search("documents", None, embedding=NEAR))
                second = asyncio.ensure_future(searches.similar("documents", 1))
                await asyncio.to_thread(eventually, lambda: waits(connection, "search"))
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                await asyncio.to_thread(eventually, lambda: waits(connection, "similar"))
                assert not waits(connection, "search")
                other.execute("rollback")
                assert len(await second) == 2

    asyncio.run(cancelled())


async def relay(database: Database) -> asyncio.Server:
    """Passes connections on to the server of a database, until it is closed; those that are open stay."""
    server = conninfo_to_dict(database.conninfo)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asked = await asyncio.open_connection(str(server["host"]), str(server["port"]))
        await asyncio.gather(pump(reader, asked), pump(answers, writer))

    return await asyncio.start_server(accept, "127.0.0.1", 0)


def test_a_task_is_cancelled_although_the_server_cannot_be_asked_to(database: Database) -> None:
    async def cancelled() -> None:
        way = await relay(database)
        url = make_conninfo(database.conninfo, host="127.0.0.1", port=way.sockets[0].getsockname()[1])
        async with AsyncDatabase(url) as searches:
            with connected(database) as connection, database.connect() as other:
                make_source(connection, 3)
                other.execute("begin; lock table documents")
                search = asyncio.ensure_future(searches.search("documents", None, embedding=NEAR))
                await asyncio.to_thread(eventually, lambda: waits(connection, "search"))
                way.close()
                search.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await search
                other.execute("rollback")

    asyncio.run(cancelled())


def test_other_calls_go_on_while_hits_are_reranked(source: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def both() -> None:
        async with AsyncDatabase(source.conninfo) as searches:
            read, rows = threading.Event(), asyncio.Event()

            def scores(self: object, reranker: str, query: str, texts: list[str]) -> list[float]:
                loop.call_soon_threadsafe(rows.set)
                assert read.wait(PATIENCE_S)
                return [1.0] * len(texts)

            loop = asyncio.get_running_loop()
            monkeypatch.setattr("pgembedd.search.local_models.LocalModels.scores", scores)
            asked = asyncio.ensure_future(
                searches.search("documents", "a", embedding=NEAR, mode="semantic", rerank="x")
            )
            await rows.wait()
            assert await searches.row("documents", 3)
            read.set()
            assert len(await asked) == 10

    asyncio.run(both())


@pytest.mark.parametrize(
    ("row", "snippet", "title"),
    [
        ({"title": "One\nTwo", "body": "x"}, "y", "One"),
        ({"title": " \n", "body": "\n the body"}, "y", "the body"),
        ({"title": None}, " a snippet ", "a snippet"),
        ({"title": 7}, None, ""),
        ({"title": "x" * 200}, None, "x" * 119 + "…"),
    ],
)
def test_the_title_of_a_hit(row: dict[str, Any], snippet: str | None, title: str) -> None:
    assert title_of(Hit(1, 1.0, row, snippet=snippet), ["title", "body"]) == title


@pytest.mark.slow
def test_with_the_path_of_the_role_no_name_is_looked_up_in_public(roles: Roles, database: Database) -> None:
    """Connections of programs have another path than those that we open."""
    with connected(database) as connection:
        make_source(connection, 5)
    plant(database, roles.make("planter"))

    with database.connect() as theirs:
        searches = SearchEngine(lambda work: work(theirs), LocalModels())
        searches.pipelines()
        searches.search("documents", None, embedding=NEAR, semantic_weight=1, snippet_marks=["[", "]"])
        searches.search_many(["documents"], "a question", mode="text")
        searches.similar("documents", 1)
        searches.row("documents", 1)
        searches.explain("documents", None, embedding=NEAR)
        questions = Questions(in_transactions(theirs))
        answer = questions.ask(Question("documents", "a question", filter={"id": 1}, k=3, embedding=NEAR)).id
        questions.events({str(answer): 0})
        questions.sources(answer)
        questions.is_untaken(answer)
        questions.pipelines()
        questions.stop(answer)
    assert not caught(database)

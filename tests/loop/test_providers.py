"""A pipeline whose model is a provider's: from a local model to 1,536 dimensions and back, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.database.provider_use import ProviderUse
from pgembedd.errors import ModelError, ProviderBusyError
from pgembedd.loop.model_loader import loader
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.providers import embedder
from pgembedd.settings import Settings
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing, stale
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.servers.provider import StandInProvider, answer, provider
from tests.support.servers.stand_in import Answer, Received, json_answer
from tests.support.sql import column, rows, value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

__all__ = ["provider"]

NAME = "openai:text-embedding-3-small"


def loading(
    provider: StandInProvider, folder: Path, model: Session, ledger: ProviderUse | None = None, budget: str = ""
) -> Callable[[str], Embedder]:
    """A loader that has `openai` enabled, at the stand-in, and the real local model."""
    (folder / "key").write_text("sk-right")
    (folder / "providers.toml").write_text(f'[openai]\nurl = "{provider.url}"\nkey_file = "{folder / "key"}"\n{budget}')
    load = loader(Settings(providers_file=str(folder / "providers.toml")), ledger=ledger)
    return lambda name: Wrapped(model) if name == MODEL else load(name)


def shown(connection: psycopg.Connection, name: str = "documents") -> tuple[str, str | None]:
    """The state and the reason that status shows."""
    ((state, reason),) = rows(connection, "select state, reason from pgembedd.status where pipeline = %s", name)
    return state, reason


def change(connection: psycopg.Connection, model: str) -> None:
    """Changes the model of `documents`, waits for the new vectors, and switches to them."""
    connection.execute("select pgembedd.change_model('documents', model => %s)", (model,))
    await_quiet(connection)
    eventually(
        lambda: value(connection, "select index from pgembedd.status where pipeline like %s", "%.next") == "valid"
    )
    connection.execute("select pgembedd.switch_model('documents')")
    connection.execute("select pgembedd.drop_pipeline('documents.previous', drop_vectors => true)")


@pytest.mark.slow
def test_from_a_local_model_to_1536_dimensions_and_back(
    database: Database, connection: psycopg.Connection, model: Session, provider: StandInProvider, tmp_path: Path
) -> None:
    make_documents(connection)
    insert(connection, range(1, 41))
    with worker_thread(database, loading(provider, tmp_path, model)):
        await_quiet(connection)
        assert not provider.received, "texts of a pipeline with a local model stay here"
        change(connection, NAME)
        assert value(connection, "select fingerprint from pgembedd.status") == f"{NAME}/1536"
        kind = "select format_type(atttypid, atttypmod) from pg_attribute where attname = 'embedding' and attnum > 0"
        assert value(connection, f"{kind} and attrelid = 'documents'::regclass") == "halfvec(1536)"
        search = "select id from documents order by embedding <=> pgembedd.embed('text 7')::halfvec(1536) limit 1"
        connection.execute("set enable_seqscan = off")
        assert "hnsw" in "\n".join(column(connection, f"explain {search}"))
        assert value(connection, search) == 7
        assert column(connection, "select key::int from pgembedd.search('documents', 'text 7', 1)") == [7]
        found = pgembedd("search", "text 7", "documents", "--json", "--k", "1", database=database.conninfo)
        assert (found.code, json.loads(found.out)["key"]) == (0, 7), "without settings of providers a worker is asked"
        change(connection, MODEL)
        assert not stale(connection, model)


def test_a_busy_provider_is_asked_again_and_charges_no_attempt(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    busy = iter([ProviderBusyError("It asked to wait.", 0.0)])

    def at_first(_texts: Sequence[str]) -> None:
        if error := next(busy, None):
            raise error

    make_documents(connection, max_attempts=1)
    with worker_thread(database, only(Wrapped(model, on_result=at_first))):
        insert(connection, [1, 2, 3])
        await_embedded(connection, [1, 2, 3])
    told = [
        event for event in log if event["event"] in ("released", "job_failed", "dead_letter", "model_failed_on_claim")
    ]
    assert [(event["event"], event["jobs"], event["why"]) for event in told] == [("released", 3, "It asked to wait.")]


@pytest.mark.slow
def test_what_a_provider_refuses_harms_no_other_text_and_charges_no_attempt(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    provider: StandInProvider,
    tmp_path: Path,
    log: list[EventDict],
) -> None:
    busy = iter([json_answer({"error": {"message": "Slow down."}}, 429, retry_after="0")] * 3)
    load = loading(provider, tmp_path, model)

    def sometimes(asked: Received) -> Answer:
        if asked.headers["authorization"] != "Bearer sk-right":
            return json_answer({"error": {"message": "Your quota is used up."}}, 401)
        content = "text" in str(asked.body["input"])
        return (next(busy, None) if content else None) or answer(asked)

    provider.answer = sometimes
    make_documents(connection, model=NAME, max_attempts=1)
    make_documents(connection, "others", model="cohere:embed-v4.0")
    insert(connection, [1], table="others")
    with worker_thread(database, load):
        insert(connection, range(1, 6))
        await_embedded(connection, range(1, 6))
        assert not [event for event in log if event["event"] == "job_failed"]
        assert next(busy, None) is None, "three requests were refused"

        connection.execute("insert into documents values (6, 'text 6'), (7, 'text with poison'), (8, 'text 8')")
        await_embedded(connection, [6, 8])
        eventually(lambda: value(connection, "select count(*) from pgembedd.dead_letters") == 1)
        assert "a token that is not allowed" in value(connection, "select error from pgembedd.dead_letters")

        (tmp_path / "key").write_text("sk-wrong")
        insert(connection, [9])
        said = "The provider openai answered with status 401: Your quota is used up."
        eventually(lambda: shown(connection) == ("unserved", said))
        (tmp_path / "key").write_text("sk-right")
        eventually(lambda: shown(connection) == ("running", None))
        assert missing(connection) == [7, 9]
        assert value(connection, "select count(*) from pgembedd.dead_letters") == 1

        eventually(lambda: shown(connection, "others")[0] == "unserved")
        assert "The provider cohere of cohere:embed-v4.0 is not enabled here" in str(shown(connection, "others")[1])
    assert all(asked.path == "/v1/embeddings" for asked in provider.received)


def test_what_is_asked_of_a_provider_in_a_day_is_added_up_to_its_budget(database: Database) -> None:
    """The request that reaches a budget is still made, and one that is refused is not counted."""
    with closing(ProviderUse(database.conninfo)) as ledger:
        assert [ledger.take("by tokens", 3, 6, None) for _ in range(3)] == [True, True, False]
        assert [ledger.take("by requests", 3, None, 2) for _ in range(3)] == [True, True, False]
        ledger.correct("by tokens", -2)
        assert [ledger.take("by tokens", 3, 6, 9) for _ in range(2)] == [True, False]
        ledger.correct("by requests", -100)
    with database.connect() as connection:
        used = rows(
            connection, "select provider, tokens, requests from pgembedd_internal.provider_use order by provider"
        )
    assert used == [("by requests", 0, 2), ("by tokens", 7, 3)]


@pytest.mark.slow
def test_the_answer_of_the_provider_stands_before_a_worker_without_it(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    provider: StandInProvider,
    tmp_path: Path,
    log: list[EventDict],
) -> None:
    provider.answer = lambda _: json_answer({"error": {"message": "Your key is wrong."}}, 401)
    make_documents(connection, model=NAME)
    said = "The provider openai answered with status 401: Your key is wrong."
    with worker_thread(database, loading(provider, tmp_path, model)):
        eventually(lambda: shown(connection) == ("unserved", said))
        with worker_thread(database, loader(Settings())):
            eventually(lambda: [event["error"] for event in log if event["event"] == "model_refused"][1:])
        assert shown(connection) == ("unserved", said)


@pytest.mark.slow
def test_a_fleet_keeps_one_budget_a_day(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    provider: StandInProvider,
    tmp_path: Path,
    log: list[EventDict],
) -> None:
    """The stand-in counts 3 tokens a request. The first one asks for the dimensions."""
    used = (
        "select day - pgembedd_internal._day() as day, tokens, requests "
        "from pgembedd_internal.provider_use order by day"
    )
    make_documents(connection, model=NAME, max_attempts=1)
    with closing(ProviderUse(database.conninfo)) as first, closing(ProviderUse(database.conninfo)) as second:
        load = loading(provider, tmp_path, model, first, "tokens_per_day = 6\nrequests_per_day = 100")
        with worker_thread(database, load):
            insert(connection, [1])
            await_embedded(connection, [1])
            insert(connection, [2])
            eventually(lambda: shown(connection)[0] == "unserved")
            sentence = "The budget of the provider openai for today is used up (tokens_per_day = 6, requests_per_day ="
            assert str(shown(connection)[1]).startswith(sentence)
        assert rows(connection, used) == [(0, 6, 2)]

        provider.answer = lambda _: json_answer({}, 429, retry_after="0")
        with pytest.raises(ModelError, match="for today is used up"):
            loading(provider, tmp_path, model, second, "requests_per_day = 2")(NAME)
        with pytest.raises(ModelError, match="status 429"):
            loading(provider, tmp_path, model, second, "requests_per_day = 3")(NAME)
        assert rows(connection, used) == [(0, 6, 3)], "a request without an answer has no tokens"
        with pytest.raises(ModelError, match="counted in a database, and here is none"):
            loading(provider, tmp_path, model, None, "tokens_per_day = 6")(NAME)

        provider.answer = answer
        with worker_thread(database, loading(provider, tmp_path, model, second, "tokens_per_day = 6")):
            eventually(lambda: [event for event in log if event["event"] == "worker_started"][1:])
            assert missing(connection) == [2]
            connection.execute("update pgembedd_internal.provider_use set day = day - 1")
            connection.execute("update pgmq.q_pgembedd_fresh set vt = clock_timestamp()")  # half a minute passes, too
            await_embedded(connection, [2])
        assert rows(connection, used) == [(-1, 6, 3), (0, 6, 2)]
    assert not [event for event in log if event["event"] == "job_failed"]
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0
    assert "openai today (UTC): 6 tokens in 2 requests." in pgembedd("status", database=database.conninfo).out

    (tmp_path / "questions").write_text('{"query": "text 1", "relevant": [1]}')
    loading(provider, tmp_path, model, budget="requests_per_day = 4")
    asked = ("eval", "documents", str(tmp_path / "questions"), "--providers-file", str(tmp_path / "providers.toml"))
    done = pgembedd(*asked, database=database.conninfo)
    assert done.code == 0, done
    assert rows(connection, used)[1] == (0, 12, 4), "its probe texts and the question"
    assert "for today is used up" in pgembedd(*asked, database=database.conninfo).err


@pytest.mark.slow
def test_a_provider_that_changes_a_model_is_noticed_before_a_vector_is_stored(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    provider: StandInProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(asked: Received) -> Answer:
        texts = [f"{text}, by another model" for text in asked.body["input"]]
        return answer(replace(asked, body=asked.body | {"input": texts}))

    monkeypatch.setattr(embedder, "PROBE_EVERY_S", 0.0)  # an hour passes from each request to the next
    make_documents(connection, model=NAME, max_attempts=1)
    with worker_thread(database, loading(provider, tmp_path, model)):
        insert(connection, [1])
        await_embedded(connection, [1])
        provider.answer = changed
        insert(connection, [2])
        eventually(lambda: "was first served" in str(shown(connection)[1]))
        assert shown(connection)[0] == "unserved"
        assert "Have every row embedded again with pgembedd.backfill('documents', force => true)" in str(
            shown(connection)[1]
        )
        assert missing(connection) == [2]

        before = value(connection, "select embedding from documents where id = 1")
        connection.execute("select pgembedd.backfill('documents', force => true)")
        await_embedded(connection, [1, 2])
        eventually(lambda: value(connection, "select embedding from documents where id = 1") != before)
        assert shown(connection) == ("running", None)
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0

    asked = len(provider.received)
    verify = partial(
        pgembedd, "verify", database=database.conninfo, PGEMBEDD_PROVIDERS_FILE=f"{tmp_path}/providers.toml"
    )
    assert "sends about 2 texts with 4 tokens to openai, which costs" in verify().refused(2)
    assert len(provider.received) == asked
    done = verify("--yes")
    assert (done.code, done.err) == (0, "documents: a verification sends about 2 texts with 4 tokens to openai.\n")
    assert "2 right" in done.out

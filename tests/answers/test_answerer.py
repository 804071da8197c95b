"""The worker's part of answers, with a stand-in for the language model: what viewers see, faults, and other workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from psycopg.types.json import Jsonb

from pgembedd.answers.answerer import Answerer
from pgembedd.answers.prompt import REFUSAL
from pgembedd.database.connection import Connection
from pgembedd.database.listener import Listener, Waker
from pgembedd.database.queries import query
from pgembedd.database.sessions import Sessions
from pgembedd.settings import LanguageSettings
from tests.support.databases import Database
from tests.support.schemas import without
from tests.support.servers.ollama import StandInOllama, line, ollama
from tests.support.servers.stand_in import Answer, Cut, Hang, Received, json_answer
from tests.support.sql import rows, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk

__all__ = ["ollama"]

DONE = line(message={"content": ""}, done=True, done_reason="stop", prompt_eval_count=90, eval_count=4)
TOO_LONG = {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 1100, "n_ctx": 1150}}


def said(*texts: str) -> list[bytes]:
    """Parts of a chat's stream."""
    return [line(message={"content": text}, done=False) for text in texts]


def streamed(*parts: bytes | Cut | Hang | Callable[[], object]) -> Answer:
    return Answer(200, {"content-type": "application/x-ndjson"}, parts)


def queue(connection: psycopg.Connection, question: str, *excerpts: str) -> UUID:
    """A question with its sources, as ask() leaves it."""
    one: UUID = value(connection, "select gen_random_uuid()")
    with connection.transaction():
        connection.execute(
            "insert into pgembedd_internal.answer_thread (id, role, subject) values (%s, current_user, '')", [one]
        )
        connection.execute(
            "insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject)"
            " values (%s, %s, 'documents', %s, current_user, '')",
            [one, one, question],
        )
        for n, excerpt in enumerate(excerpts, 1):
            connection.execute(
                "insert into pgembedd_internal.answer_source (answer, n, pipeline, key, excerpt)"
                " values (%s, %s, 'documents', '1', %s)",
                [one, n, excerpt],
            )
        connection.execute("select pgembedd_internal._begin_answer(%s)", [one])
    return one


def finished(connection: psycopg.Connection, one: UUID) -> tuple[Any, ...]:
    """Status, text, citations, reason and attempt, once it is finished."""
    eventually(
        lambda: value(connection, "select finished_at is not null from pgembedd_internal.answer where id = %s", one)
    )
    return rows(
        connection, "select status, answer, citations, reason, attempt from pgembedd_internal.answer where id = %s", one
    )[0]


def shown(connection: psycopg.Connection, one: UUID) -> list[tuple[int, str, dict[str, Any]]]:
    return rows(connection, "select seq, event, data from pgembedd.answer_events where answer = %s order by seq", one)


@dataclass
class Running:
    """An answerer in a thread, and the events that end it."""

    stopping: threading.Event
    finished: threading.Event


@contextmanager
def answering(
    database: Database, host: str, lease_s: int = 30, owner_timeout_s: float = 60.0, **settings: Any
) -> Iterator[Running]:
    """Answers while the block runs; answers in progress are handed back at its end."""
    run = Running(threading.Event(), threading.Event())
    language = LanguageSettings(language_host=host, **settings)
    opened: list[Connection] = []

    def connect(purpose: str, until: threading.Event) -> Connection:
        opened.append(Connection(Sessions(database.conninfo, purpose), until))
        return opened[-1]

    waker = Waker(run.stopping)
    listener = Listener(database.conninfo)
    listener.subscribe("pgembedd_questions", waker.wake)
    answerer = Answerer(
        brisk(lease_s=lease_s, owner_timeout_s=owner_timeout_s), language, connect, waker, run.stopping, run.finished
    )
    thread = threading.Thread(target=answerer.run)
    thread.start()
    try:
        yield run
    finally:
        run.stopping.set()
        run.finished.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        listener.close()
        for each in opened:
            each.close()


def in_turn(*answers: Answer) -> Callable[[Received], Answer]:
    """Each answer once, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


LOADING = json_answer({"error": "loading model"}, 503, retry_after="0")
FINE = streamed(*said("Open", " the settings [1]."), DONE)


@pytest.mark.parametrize("missing", ["interface", "claim_answers", "finish_answer"])
def test_another_schema_costs_no_attempt(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama, missing: str
) -> None:
    ollama.answer = in_turn(FINE)
    with structlog.testing.capture_logs() as log, answering(database, ollama.url):
        with without(connection, missing):
            one = queue(connection, "How?", "Open the settings.")
            eventually(lambda: any(event["event"] == "schema_waits" for event in log))
            assert finished_as_yet(connection, one) == (None, None)
        assert finished(connection, one)[:2] == ("complete", "Open the settings [1].")
    assert finished(connection, one)[4] == 1
    assert len(ollama.received) == 1
    assert not [event for event in log if event["event"] in ("answer_failed", "answers_failed")]


def finished_as_yet(connection: psycopg.Connection, one: UUID) -> tuple[Any, ...]:
    return rows(connection, "select finished_at, reason from pgembedd_internal.answer where id = %s", one)[0]


CASES: dict[str, tuple[tuple[Answer, ...], str, str | None, list[int], str, int, int]] = {
    # The server's answers; status, text, citations, what the reason or the last event holds, attempts, requests.
    "whole": ((streamed(*said("Open [", "1] or [9", "]."), DONE),), "complete", "Open [1] or [9].", [1], "[9]", 1, 1),
    "refusal": ((streamed(*said(REFUSAL), DONE),), "refused", REFUSAL, [], "refused", 1, 1),
    "no end": ((streamed(*said("Open")),), "failed", None, [], "ended the answer before it was complete", 1, 1),
    "error in it": ((streamed(*said("Open"), line(error="out of memory")),), "failed", None, [], "broke off", 1, 1),
    "no word": ((streamed(DONE),), "failed", None, [], "without a word", 1, 1),
    "wrong key": ((json_answer({"error": "no"}, 401),), "failed", None, [], "PGEMBEDD_LANGUAGE_KEY_FILE", 1, 1),
    "cut connection": ((streamed(*said("Op"), Cut()), FINE), "complete", "Open the settings [1].", [1], "[]", 2, 2),
    "loading": ((LOADING, FINE), "complete", "Open the settings [1].", [1], "[]", 2, 2),
    "loads for ever": ((LOADING,), "failed", None, [], "status 503: loading model", 3, 3),
    "too long": ((json_answer(TOO_LONG, 400), FINE), "complete", "Open the settings [1].", [1], "out': [2]", 1, 2),
    "always too long": ((json_answer(TOO_LONG, 400),), "failed", None, [], "shorten", 1, 1),
    "repeats": ((streamed(*said("Again. " * 100), Hang()),), "complete", "Again. " * 100, [], "repetition", 1, 1),
    "half a pair": ((streamed(*said("Op"), line(error="bad \ud800")),), "failed", None, [], "bad \ufffd.", 1, 1),
    "half a status": ((json_answer({"error": "bad \ud800"}, 400),), "failed", None, [], "bad \ufffd.", 1, 1),
    "filtered": (
        (streamed(*said("Open"), line(message={"content": ""}, done=True, done_reason="content_filter")),),
        "complete", "Open", [], "'cut': 'content_filter'", 1, 1,
    ),
    "null": ((streamed(*said("a\0b", "\0"), DONE),), "complete", "ab", [], "complete", 1, 1),
    "split pair": ((streamed(*said("a\ud83d", "\ude00", "b"), DONE),), "complete", "a😀b", [], "complete", 1, 1),
    "half pairs": (
        (streamed(*said("\ude00a\ud83d", "b\ud83d", "", "\ud83d", "\ude00\ud83d"), DONE),),
        "complete", "\ufffda\ufffdb\ufffd😀\ufffd", [], "complete", 1, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "names", [("whole", "wrong key", "repeats"), pytest.param(tuple(CASES), marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_what_a_server_sends_ends_in_one_state_and_one_sentence(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama, names: tuple[str, ...]
) -> None:
    with answering(database, ollama.url, language_context_tokens=1500):
        for name in names:
            answers, status, text, citations, holds, attempts, requests = CASES[name]
            ollama.answer, ollama.received[:] = in_turn(*answers), []
            one = queue(connection, "How do I reset it?", "Open the settings. " * 10, "Else " * 200)
            found = finished(connection, one)
            assert (*found[:3], found[4]) == (status, text, citations, attempts), (name, found)
            assert len(ollama.received) == requests, name
            events = shown(connection, one)
            assert [seq for seq, _, _ in events] == list(range(1, len(events) + 1)), name
            assert holds in str(events[-1][2]), (name, events[-1])
            assert events[-1][1] == ("error" if status == "failed" else "done"), name
            if status != "failed":
                last = max(n for n, event in enumerate(events) if event[1:] == begins(attempts))
                told = [data["text"] for _, event, data in events[last:] if event == "delta"]
                assert "".join(told) == text, name
                assert [data["n"] for _, event, data in events[last:] if event == "citation"] == citations, name
            else:
                assert found[3] == events[-1][2]["message"], name
    assert ollama.left.wait(PATIENCE_S)  # the model that repeats itself was stopped


def begins(attempt: int) -> tuple[str, dict[str, Any]]:
    return "status", {"status": "generating", "attempt": attempt}


def test_an_answer_of_a_worker_that_died_begins_again_and_takes_nothing_more_from_it(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama
) -> None:
    one = queue(connection, "How?", "Open the settings.")
    assert value(connection, "select id from pgembedd_internal.claim_answers(1, 0)") == one
    write = "select pgembedd_internal.write_answers(%s, '{1}', '{delta}', array['{\"text\": \"half\"}'::jsonb])"
    assert value(connection, write, [one]) == one
    ollama.answer = in_turn(FINE)
    with answering(database, ollama.url):
        assert finished(connection, one)[:2] == ("complete", "Open the settings [1].")
    assert rows(connection, write, [one]) == []
    events = [(event, data) for _, event, data in shown(connection, one)]
    assert events[2:5] == [begins(1), ("delta", {"text": "half"}), begins(2)]


def test_a_worker_writes_what_it_has_while_it_claims(database: Database, connection: psycopg.Connection) -> None:
    """Each has a connection of its own, and what is locked elsewhere counts as lost."""
    one = queue(connection, "How?", "Open the settings.")
    asked_for = {"at_most": 1, "lease_s": 60, "has": [], "slow": False}
    ((claimed, attempt, *_),) = connection.execute(query("claim_answers"), asked_for).fetchall()
    fence = {"answers": [one], "attempts": [attempt]}
    with database.connect(autocommit=False) as claiming:
        claiming.execute(query("claim_answers"), asked_for | {"has": [one]})
        shown_now = {"events": ["delta"], "data": [Jsonb({"text": "Open"})]}
        assert connection.execute(query("write_answers"), fence | shown_now).fetchall() == [(claimed,)]


def test_a_worker_does_not_claim_what_it_has(connection: psycopg.Connection) -> None:
    one = queue(connection, "How?", "Open the settings.")
    claim = "select id from pgembedd_internal.claim_answers(1, 0, has => %s)"
    assert value(connection, claim, []) == one
    assert rows(connection, claim, [one]) == []
    assert value(connection, claim, []) == one


@pytest.mark.parametrize("first", [said("Open"), []], ids=["between deltas", "before the first"])
def test_a_stopped_answer_ends_the_servers_work(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama, first: list[bytes]
) -> None:
    ollama.stream(*first, Hang())
    one = queue(connection, "How?", "Open the settings.")
    with answering(database, ollama.url, lease_s=1):
        assert ollama.hanging.wait(PATIENCE_S)
        deltas = "select count(*) from pgembedd.answer_events where event = 'delta'"
        eventually(lambda: value(connection, deltas) == len(first))
        assert value(connection, "select pgembedd.stop_answer(%s)", one) is True
        assert ollama.left.wait(PATIENCE_S)
        ollama.answer = in_turn(FINE)
        other = queue(connection, "How?", "Open the settings.")
        assert finished(connection, other)[0] == "complete"
    assert finished(connection, one)[:2] == ("stopped", "Open" if first else None)
    assert shown(connection, one)[-1][1:] == ("done", {"status": "stopped", "citations": []})


FAILS_ONCE = """
    create sequence deltas;
    create function refuse() returns trigger language plpgsql as $$
    begin
        if nextval('public.deltas') = 1 then raise 'no room'; end if;
        return new;
    end $$;
    create trigger refuse before insert on pgembedd.answer_events for each row when (new.event = 'delta')
    execute function refuse();
    grant all on sequence deltas to public
"""


def test_deltas_that_the_database_did_not_take_are_written_later(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama
) -> None:
    connection.execute(FAILS_ONCE)

    def failed() -> None:
        eventually(lambda: value(connection, "select is_called from deltas"))

    ollama.stream(*said("Open"), failed, *said(" the settings [1]."), DONE)
    one = queue(connection, "How?", "Open the settings.")
    with answering(database, ollama.url):
        assert finished(connection, one)[:2] == ("complete", "Open the settings [1].")
    told = [data["text"] for _, event, data in shown(connection, one) if event == "delta"]
    assert "".join(told) == "Open the settings [1]."


@pytest.mark.slow
def test_answers_are_made_at_once_within_the_bound_and_handed_back_at_the_end(
    database: Database, connection: psycopg.Connection, ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgembedd.answers.answerer.RELEASE_S", PATIENCE_S)
    ollama.stream(*said("Open"), Hang())
    with answering(database, ollama.url, lease_s=1, language_at_once=3) as run:
        asked = [queue(connection, "How?", "Open the settings.") for _ in range(5)]
        deltas = "select count(*) from pgembedd.answer_events where event = 'delta'"
        eventually(lambda: value(connection, deltas) == 3)
        due = "select min(due_at) from pgembedd_internal.answer where status = 'generating'"
        before = value(connection, due)
        eventually(lambda: value(connection, due) > before)  # the leases are extended
        run.stopping.set()
    assert len(ollama.received) == 3
    states = "select status, failures from pgembedd_internal.answer where id = any (%s)"
    assert rows(connection, states, asked) == [("queued", 0)] * 5
    ollama.answer = in_turn(FINE)
    with answering(database, ollama.url, language_at_once=3):
        assert {finished(connection, one)[0] for one in asked} == {"complete"}

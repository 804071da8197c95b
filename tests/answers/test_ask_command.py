"""A question on the command line and in SQL: a worker, a real embedding model, a stand-in for the language model."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psycopg
import pytest

from pgembedd.answers.prompt import REFUSAL
from pgembedd.loop.role import Role
from pgembedd.loop.worker import Worker
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import LanguageSettings
from tests.answers.test_answerer import DONE, LOADING, in_turn, said, streamed
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, make_documents
from tests.support.embedders import Wrapped, only
from tests.support.forking import start
from tests.support.json_fields import breaches
from tests.support.servers.ollama import StandInOllama, ollama
from tests.support.servers.stand_in import Hang
from tests.support.sql import rows, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk, running

__all__ = ["ollama"]

QUESTION = "How do I reset my password?"


@pytest.mark.slow
def test_a_question_is_answered_with_its_sources_or_with_one_sentence(
    database: Database, model: Session, ollama: StandInOllama, tmp_path: Path
) -> None:
    ollama.answer = in_turn(streamed(*said("Open \x1b[31mthe ", "settings [1]."), DONE))
    language = LanguageSettings(language_host=ollama.url, language_model="small")
    worker = Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model))), Role(language=language))
    with database.connect() as connection, running(worker):
        make_documents(connection)
        connection.execute("insert into documents values (7, 'To reset your password, open the settings.')")
        await_quiet(connection)
        connection.execute(
            "select pgembedd.configure_answers("
            "'documents', url_template => 'https://x.test/{id}', language_models => '{other}')"
        )

        asked = pgembedd("ask", QUESTION, database=database.conninfo)
        assert (asked.code, asked.err) == (0, "")
        assert asked.out == (
            "Open [31mthe settings [1].\n[1] To reset your password, open the settings. (https://x.test/7)\n"
        )
        assert ollama.received[-1].body["model"] == "small"

        ollama.answer = in_turn(streamed(*said("Just open them."), DONE))
        uncited = pgembedd("ask", QUESTION, database=database.conninfo)
        assert (uncited.code, uncited.err) == (0, "The answer cites no source.\n")
        assert uncited.out == (
            "Just open them.\nFound, but not cited:\n"
            "[1] To reset your password, open the settings. (https://x.test/7)\n"
        )
        in_sql = "call pgembedd.answer('documents', 'How do I reset my password?')"
        assert rows(connection, in_sql)[0][0]["notes"] == ["The answer cites no source."]
        ollama.answer = in_turn(streamed(*said("Open \x1b[31mthe ", "settings [1]."), DONE))

        other = "Who wrote the opera about the flying Dutchman?"
        refusal = pgembedd("ask", other, "documents", "--json", database=database.conninfo)
        events = [json.loads(line) for line in refusal.out.splitlines()]
        assert [one["event"] for one in events] == ["status", "sources", "delta", "status", "done"]
        assert [*breaches(events)] == []
        assert (events[1]["data"], events[2]["data"]) == ({"sources": []}, {"text": REFUSAL})
        assert len(ollama.received) == 3  # the model was not asked
        _answer_waits(connection)
        _an_interrupt_stops_it(database, connection, ollama)

        ollama.answer = in_turn(LOADING)
        away = (
            pgembedd("ask", QUESTION, "--language-model", "other", database=database.conninfo).err.strip().splitlines()
        )
        assert away[0] == (
            "An attempt failed: The language model's server answered with status 503: loading model. "
            "Another one follows."
        )
        assert away[-1] == "pgembedd: The language model's server answered with status 503: loading model."
        assert ollama.received[-1].body["model"] == "other"
        _answers_are_measured(database, ollama, tmp_path / "questions")
    with database.connect() as connection:
        alone = pgembedd("ask", QUESTION, database=database.conninfo)
        newest, status = rows(
            connection, "select id, status from pgembedd_internal.answer order by asked_at desc limit 1"
        )[0]
        untaken = f"No worker has taken the question {newest}. It stays queued; start a worker with a language model "
        assert alone.refused(1) == f"pgembedd: {untaken}(`pgembedd run` with PGEMBEDD_LANGUAGE_HOST)."
        assert status == "queued"
        embeds = Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model))))
        with running(embeds):
            eventually(lambda: value(connection, "select pgembedd_internal._listeners() is not null"))
            with pytest.raises(psycopg.errors.InsufficientResources, match="No worker has taken"):
                value(connection, "call pgembedd.answer('documents', %s)", QUESTION)


def _an_interrupt_stops_it(database: Database, connection: psycopg.Connection, ollama: StandInOllama) -> None:
    ollama.stream(*said("Open the "), Hang())
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    environment |= {"DATABASE_URL": database.conninfo}
    (reading, out), (reading_errors, err) = os.pipe(), os.pipe()
    with os.fdopen(reading) as printed, os.fdopen(reading_errors) as complaints:
        process = start("pgembedd", ["ask", QUESTION], environment, out, err)
        os.close(out)
        os.close(err)
        assert printed.read(4) == "Open"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130, complaints.read()
        assert (printed.read(), complaints.read().strip()) == (" the ", "The answer was stopped.")
    newest = "select status from pgembedd_internal.answer order by asked_at desc limit 1"
    assert value(connection, newest) == "stopped"
    assert ollama.left.wait(PATIENCE_S)


def _answer_waits(connection: psycopg.Connection) -> None:
    result = value(connection, "call pgembedd.answer('documents', %s)", QUESTION)
    assert (result["status"], result["answer"], result["citations"]) == (
        "complete",
        "Open \x1b[31mthe settings [1].",
        [1],
    )
    assert result["sources"][0]["url"] == "https://x.test/7"


def _answers_are_measured(database: Database, ollama: StandInOllama, questions: Path) -> None:
    asked = [
        {"query": QUESTION, "relevant": [7], "facts": ["the  SETTINGS", "a phone"]},
        {"query": "How is a password reset?", "relevant": {"7": 1}},
        {"query": "Who wrote the opera about the flying Dutchman?", "relevant": []},  # below the threshold
        {"query": "How do I reset the password of my router?", "relevant": []},
    ]
    questions.write_text("\n".join(map(json.dumps, asked)))
    texts = ["Open the\nsettings [1].", "Ask the office [9].", "Press the button [1]."]
    ollama.answer = in_turn(*(streamed(*said(text), DONE) for text in texts))
    command = ("eval", "documents", str(questions), "--ask")
    found = json.loads(pgembedd(*command, "--json", database=database.conninfo).out)
    counts = {"with_answer": 2, "without_answer": 2, "facts": 2, "invalid": 1, "failed": 0, "reason": None}
    shares = {"answered": 1.0, "cited": 0.5, "relevant": 0.5, "refused": 0.5, "stated": 0.5}
    assert {name: found[name] for name in counts | shares} == counts | shares

    questions.write_text(json.dumps(asked[0]))
    ollama.answer = in_turn(LOADING)
    failed = pgembedd(*command, database=database.conninfo)
    assert failed.out.splitlines() == [
        "1 question with an answer: 0% answered; none of these cite a source, none a relevant row",
        "2 facts: 0% stated",
        "0 citations of sources that there are not",
        "1 failed, the first one: The language model's server answered with status 503: loading model.",
    ], failed
    assert "takes no other option" in pgembedd(*command, "--answers", database=database.conninfo).err

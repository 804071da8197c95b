"""Answers by a real language model on a real llama.cpp server, through the worker."""

from __future__ import annotations

import json

import pytest

from pgembedd.loop.role import Role
from pgembedd.loop.worker import Worker
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import LanguageSettings
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, make_documents
from tests.support.embedders import Wrapped, only
from tests.support.servers.llama import CONTEXT_TOKENS, NAME, llama
from tests.support.sql import rows
from tests.support.worker import brisk, running

__all__ = ["llama"]

ANSWER_TOKENS = 48
SOURCES = 8


@pytest.mark.slow
def test_a_model_answers_from_as_many_sources_as_it_reads(database: Database, model: Session, llama: str) -> None:
    language = LanguageSettings(
        language_host=llama,
        language_mode="openaicompatible",
        language_model=NAME,
        language_max_answer_tokens=ANSWER_TOKENS,
    )
    worker = Worker(database.conninfo, brisk(), ModelRegistry(only(Wrapped(model))), Role(language=language))
    with database.connect() as connection, running(worker):
        make_documents(connection)
        for number in range(SOURCES):
            text = f"To reset your password on page {number}, open Settings, then Security, then press Reset."
            connection.execute("insert into documents values (%s, %s)", (number, text))
        await_quiet(connection)

        asked = pgembedd("ask", "How do I reset my password?", "documents", "--json", database=database.conninfo)
        events = [json.loads(line) for line in asked.out.splitlines()]
        ((status, answer, tokens),) = rows(connection, "select status, answer, tokens from pgembedd.answers")

    assert (asked.code, asked.err, status) == (0, "", "complete")
    deltas = [one["data"]["text"] for one in events if one["event"] == "delta"]
    assert "".join(deltas) == answer
    assert answer.strip()
    (done,) = [one["data"] for one in events if one["event"] == "done"]
    assert done["left_out"], "the model reads fewer tokens than the sources have"
    assert 0 < tokens["prompt"] <= CONTEXT_TOKENS - ANSWER_TOKENS
    assert 0 < tokens["answer"] <= ANSWER_TOKENS

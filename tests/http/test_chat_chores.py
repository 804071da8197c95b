"""What chat programs send between questions is told from questions by how it begins.

The requests begin as those of Open WebUI and LibreChat (`@librechat/agents`) do; the rest is this test's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgembedd.http.generation.chat_chores import chore_reply
from tests.support.bounded import said_by

QUESTION = "How do I reset my password?"
HISTORY = f"\n### Chat History:\n<chat_history>\nUSER: {QUESTION}\nASSISTANT: Open the settings.\n</chat_history>"
LIBRECHAT = "Provide a concise, 5-word-or-less title for the conversation, using title case conventions."
STRUCTURED = "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise title"


@pytest.mark.parametrize(
    ("task", "reply"),
    [
        (
            '### Task:\nGenerate a concise title.\n### Output:\nJSON format: { "title": "your title" }',
            {"title": QUESTION},
        ),
        ('### Task:\nGenerate 1-3 broad tags.\n### Output:\nJSON format: { "tags": ["tag1"] }', {"tags": []}),
        ('### Task:\nSuggest 3-5 questions.\nJSON format: { "follow_ups": ["Question 1?"] }', {"follow_ups": []}),
        ('### Task:\nAnalyze the chat history.\n{\n  "queries": ["query1"]\n}', {"queries": []}),
        ('### Task:\nYou are an autocompletion system. If unsure, return: `{ "text": "" }`.', {"text": ""}),
        ('### Task:\nGenerate a detailed prompt.\n{\n    "prompt": "Your description."\n}', {"prompt": QUESTION}),
    ],
)
def test_tasks_of_open_webui(task: str, reply: dict[str, Any]) -> None:
    assert json.loads(chore_reply([("user", task + HISTORY)]) or "null") == reply


def test_other_chores_of_open_webui() -> None:
    emoji = "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Message: ```Hi```"
    assert chore_reply([("user", emoji)]) == "🙂"
    tools = "Available Tools: []\n\nYour task is to choose and return the correct tool(s) from the list."
    assert chore_reply([("system", tools), ("user", f"Query: {QUESTION}")]) == '{"tool_calls": []}'


@pytest.mark.parametrize(
    "messages",
    [
        [("user", f"{LIBRECHAT} Only return the title itself.\n\nConversation:\nUser: {QUESTION}\nAI: So.")],
        [("user", f"{STRUCTURED} in it.\n\nUser: {QUESTION}\nAI: So.")],
        [("system", f'Please generate {LIBRECHAT[8:]}\n\n||>User:\n"{QUESTION}"\n||>Response:\n"So."\n\n||>Title:')],
        [("user", QUESTION), ("assistant", "So."), ("user", LIBRECHAT)],
        [("system", LIBRECHAT), ("user", QUESTION)],
        [("user", f"Please generate a concise title (max 40 characters) for a conversation.\nUser: {QUESTION}")],
    ],
)
def test_titles_of_librechat(messages: list[tuple[str, str]]) -> None:
    assert chore_reply(messages) == QUESTION


@pytest.mark.parametrize(
    "messages",
    [
        [("user", "How do I generate a title for a page?")],
        [("user", "Generate a title for an article about passwords.")],
        [("user", f'LibreChat sends "{LIBRECHAT}": where do I turn that off?')],
        [("user", LIBRECHAT), ("assistant", "Passwords"), ("user", QUESTION)],
        [("user", f"What does this mean: {LIBRECHAT}"), ("assistant", "So."), ("user", QUESTION)],
        [("user", "### Task:\nExplain how a password is reset.")],
        [("user", f"What is <chat_history>, and what is ### Task: for?{HISTORY}")],
        [("system", "Be kind. Your task is to choose."), ("user", "Which tools are available?")],
        [("user", "")],
        [],
    ],
)
def test_questions_are_no_chores(messages: list[tuple[str, str]]) -> None:
    assert chore_reply(messages) is None


def test_a_long_question_makes_a_short_title() -> None:
    long = "word " * 100
    title = chore_reply([("user", long), ("user", LIBRECHAT)])
    assert title is not None
    assert len(title) <= 61
    assert title.endswith("word…")
    assert chore_reply([("user", LIBRECHAT)]) == "Questions"


def test_many_empty_lines_take_a_moment() -> None:
    program = "from pgembedd.http.generation.chat_chores import chore_reply as r; "
    program += f"print(r([('user', {LIBRECHAT!r} + '\\n' * 1_000_000)]))"
    assert said_by(program) == "Questions\n"

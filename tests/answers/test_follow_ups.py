"""Questions of a thread, with a real model: each is judged by itself, and its quotes and dashes mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_quiet
from tests.support.embedders import Wrapped, only
from tests.support.sql import column, value
from tests.support.worker import worker_thread

TEXTS = (
    "Reset your password: open the settings, then Security, then Reset. We send you a mail with a link.",
    "On a phone the settings are behind the picture at the top left.",
    "Doors of the building open with a card or badge. Visitors get one at the reception.",
    "Cancel a subscription at any time under Billing. It ends with the month that you have paid for.",
    "Refunds are paid within ten days to the card that you paid with.",
    "The canteen serves vegetarian meals every day; on Fridays there is fish.",
)
FIRST = "How do I reset my password?"


@pytest.fixture
def articles(database: Database, model: Session) -> Iterator[psycopg.Connection]:
    """`articles` with TEXTS, and a worker that embeds questions."""
    with database.connect() as connection, worker_thread(database, only(Wrapped(model))):
        connection.execute("create table articles (id bigint generated always as identity primary key, body text)")
        for text in TEXTS:
            connection.execute("insert into articles (body) values (%s)", [text])
        connection.execute("""select pgembedd.create_pipeline(
            'articles', 'public.articles', array['body'], model => 'all-MiniLM-L6-v2')""")
        await_quiet(connection)
        yield connection


def ask(connection: psycopg.Connection, question: str, thread: UUID | None = None) -> UUID:
    asked: UUID = value(connection, "select pgembedd.ask('articles', %s, thread => %s)", question, thread)
    return asked


def status(connection: psycopg.Connection, answer: UUID) -> str:
    found: str = value(connection, "select status from pgembedd.answers where id = %s", answer)
    return found


def bodies(connection: psycopg.Connection, answer: UUID) -> list[str]:
    """The texts that the answer is made of, the best first."""
    return column(
        connection, "select excerpt from pgembedd_internal.answer_source where answer = %s order by n", answer
    )


@pytest.mark.slow
def test_a_question_off_the_topic_is_refused_as_the_second_as_well(articles: psycopg.Connection) -> None:
    off_topic = (
        "Who wrote The Flying Dutchman?",
        "What is the capital of Mongolia?",
        "How do I bake sourdough bread?",
        "Explain quantum entanglement",
        "How far is the moon?",
        "tell me a joke",
    )
    on_topic = (
        "And on a phone?",
        "What if I get no mail with a link?",
        "Where exactly in the settings is that?",
    )
    statuses = {}
    for question in (*off_topic, *on_topic):
        thread = value(articles, "select thread from pgembedd.answers where id = %s", ask(articles, FIRST))
        statuses[question] = status(articles, ask(articles, question, thread))
    assert statuses == dict.fromkeys(off_topic, "refused") | dict.fromkeys(on_topic, "queued")


def test_a_follow_up_is_searched_with_what_was_asked_before_but_for_what_was_refused(
    articles: psycopg.Connection,
) -> None:
    thread = value(articles, "select thread from pgembedd.answers where id = %s", ask(articles, FIRST))
    assert status(articles, ask(articles, "Who wrote The Flying Dutchman?", thread)) == "refused"
    assert bodies(articles, ask(articles, "What if I get no mail with a link?", thread))[0] == TEXTS[0]


def test_quotes_and_dashes_of_a_question_are_no_operators(articles: psycopg.Connection) -> None:
    quoted = ask(articles, 'Which door needs a "card and a badge"?')
    assert (status(articles, quoted), bodies(articles, quoted)[0]) == ("queued", TEXTS[2])
    dashed = ask(articles, "When does my subscription end -month or -billing?")
    assert bodies(articles, dashed)[0] == TEXTS[3]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="The question is empty"):
        ask(articles, '"-"')

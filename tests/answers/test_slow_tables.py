"""A role whose table is locked or slow, and that asks again and again, keeps no others waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.answers.test_answerer import FINE, answering, said, streamed
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY, make_source
from tests.support.servers.ollama import StandInOllama, ollama
from tests.support.servers.stand_in import Answer, Hang, Received
from tests.support.sql import create_pipeline, rows, value
from tests.support.waiting import eventually

__all__ = ["ollama"]

ASK = "select pgembedd.ask(%s, %s, embedding => %s)"
UNANSWERED = "select count(*) from pgembedd_internal.answer where role = any (%s) and status <> 'complete'"
QUESTIONS = 99
# A text of a type of the owner's, whose cast runs the owner's code: for ever, once the owner wants that.
OWNED = """
    create table waits (it bool);
    create type text_of_mine as (content text);
    create function to_text(text_of_mine) returns text language plpgsql as $$
    begin
        if exists (select from public.waits) then perform pg_catalog.pg_sleep(3600); end if;
        return ($1).content;
    end $$;
    create cast (text_of_mine as text) with function to_text(text_of_mine);
    create table owned (id int primary key, title text, content text_of_mine);
    insert into owned values (1, 'of mallory', row('more'));
"""


@pytest.fixture
def mallory(roles: Roles, database: Database) -> Iterator[str]:
    """A role that owns the table `owned`, and asks about it."""
    name = roles.make("mallory")
    with database.connect() as connection:
        make_source(connection, 20)
        connection.execute(f"grant create on schema public to {name}")
        with connect_as(database, name) as own:
            own.execute(OWNED)
        create_pipeline(
            connection, pipeline="owned", source="owned", content_columns=["title", "content"], backfill=False
        )
        connection.execute("set session_replication_role = replica")
        connection.execute("update owned set embedding = %s", [QUERY])
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'; reset session_replication_role")
        connection.execute("select pgembedd.grant_ask(%s)", [name])
        for pipeline in ("documents", "owned"):
            connection.execute("select pgembedd.configure_answers(%s, min_similarity => -1)", [pipeline])
        yield name
        connection.execute(f"drop owned by {name} cascade")


def ask_much(database: Database, role: str, pipeline: str, questions: int, *, as_users: bool) -> None:
    with connect_as(database, role) as asking, asking.transaction():
        for nth in range(questions):
            if as_users:
                asking.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "user {nth}"}}'])
            asking.execute(ASK, [pipeline, f"question of {role}", QUERY])


@contextmanager
def locked(database: Database, role: str) -> Iterator[None]:
    with connect_as(database, role) as locking, locking.transaction():
        locking.execute("lock table owned in access exclusive mode")
        yield


@contextmanager
def slow(database: Database, role: str) -> Iterator[None]:
    with connect_as(database, role) as own:
        own.execute("insert into waits values (true)")
        yield
        own.execute("delete from waits")


ATTACKS = {"locked": locked, "slow": slow}


def answer_as(role: str) -> Any:
    """The language model: it never ends an answer to that role."""
    hangs = streamed(*said("Open"), Hang())

    def answer(received: Received) -> Answer:
        return hangs if role in str(received.body) else FINE

    return answer


@pytest.mark.slow
@pytest.mark.parametrize("as_users", [False, True], ids=["as one", "as many users"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_who_asks_about_a_table_that_cannot_be_read_keeps_no_others_waiting(
    roles: Roles,
    database: Database,
    mallory: str,
    ollama: StandInOllama,
    attack: str,
    as_users: bool,
) -> None:
    others = [roles.make("ann"), roles.make("bob")]
    ollama.answer = answer_as(mallory)
    with ExitStack() as ended:
        connection = ended.enter_context(database.connect())
        for role in others:
            connection.execute("select pgembedd.grant_ask(%s)", [role])
            connection.execute(f"grant select on documents to {role}")
        ask_much(database, mallory, "owned", QUESTIONS, as_users=as_users)
        ended.enter_context(answering(database, ollama.url, owner_timeout_s=5.0, language_at_once=2))
        with ATTACKS[attack](database, mallory):
            eventually(
                lambda: value(connection, "select exists (select from pgembedd_internal.answer where postponed > 0)")
            )
            for _ in range(3):
                for role in others:
                    ask_much(database, role, "documents", 1, as_users=False)
                eventually(lambda: value(connection, UNANSWERED, others) == 0)
            read = "select count(*) from pgembedd.answer_events e join pgembedd_internal.answer a on a.id = e.answer"
            of_mallory = f"{read} where a.role = %s and e.event = 'delta'"
            assert value(connection, of_mallory, mallory) == 0
            told = value(
                connection,
                "select min(reason) from pgembedd_internal.answer where role = %s and reason is not null",
                mallory,
            )
            assert "tried ever more rarely, after those of others" in told
        connection.execute(
            "update pgembedd_internal.answer set due_at = now() where status = 'queued' and role = %s", [mallory]
        )
        # One slot at a time, which hangs in the language model here, and never the last.
        eventually(lambda: value(connection, of_mallory, mallory) == 1)
        for role in others:
            ask_much(database, role, "documents", 3, as_users=False)
        eventually(lambda: value(connection, UNANSWERED, others) == 0)
        assert value(connection, of_mallory, mallory) == 1


def hold(connection: psycopg.Connection) -> tuple[UUID, int]:
    ((answer, attempt),) = rows(
        connection, "select id, attempt from pgembedd_internal.claim_answers(1, 60, slow => true)"
    )
    return answer, attempt


def test_a_question_whose_rows_are_never_read_waits_longer_and_fails(database: Database, mallory: str) -> None:
    ask_much(database, mallory, "owned", 1, as_users=False)
    with database.connect() as connection:
        ((answer, attempt),) = rows(
            connection, "select id, attempt from pgembedd_internal.claim_answers(1, 60, slow => false)"
        )
        for times in range(1, 5):
            postpone = "select pgembedd_internal.postpone_answer(%s, %s, 'Its rows could not be read within 60 s.', 4)"
            began = value(connection, "select clock_timestamp()")
            assert value(connection, postpone, answer, attempt) == ("dead" if times == 4 else "waits")
            assert value(connection, postpone, answer, attempt) == "lost"
            if times < 4:
                ((due, ended),) = rows(connection, "select due_at, clock_timestamp() from pgembedd_internal.answer")
                assert due - began >= timedelta(seconds=0.75 * 2**times)
                assert due - ended <= timedelta(seconds=1.25 * 2**times)
                connection.execute("update pgembedd_internal.answer set due_at = due_at + interval '1 min'")
                assert rows(connection, "select id from pgembedd_internal.claim_answers(1, 60, slow => true)") == []
                connection.execute("update pgembedd_internal.answer set due_at = now()")
                assert rows(connection, "select id from pgembedd_internal.claim_answers(1, 60, slow => false)") == []
                answer, attempt = hold(connection)
        status = rows(connection, "select status, reason from pgembedd_internal.answer")
        assert status == [("failed", "Its rows could not be read within 60 s.")]

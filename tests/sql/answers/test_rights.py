"""Answers are seen by those who asked and those they are shared with, and their sources as far as they may be read."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from pgembedd.answers.questions import Question, Questions
from pgembedd.errors import SearchError
from pgembedd.search.run import in_transactions
from tests.support.answers import ask, asker
from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.search import make_source
from tests.support.sql import qualified, rows, value
from tests.support.transaction import connection

__all__ = ["asker", "connection"]

SEEN = ("pgembedd.answers", "pgembedd_internal.answer", "pgembedd.answer_events", "pgembedd_internal.answer_thread")

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go


@pytest.mark.parametrize("claims", ["{broken", "ada", '"ada"', '["ada"]', "null", '{"sub": "\\u0000"}', "[" * 100_000])
def test_claims_that_cannot_be_read_are_one_sentence(connection: psycopg.Connection, asker: str, claims: str) -> None:
    answer = ask(connection)
    connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
    statements: list[tuple[str, list[object]]] = [
        ("select pgembedd.ask('documents', 'what is it')", []),
        ("select pgembedd.stop_answer(%s)", [answer]),
        ("select * from pgembedd.answer_sources(%s)", [answer]),
        *((f"select * from {table}", []) for table in SEEN),
        ("insert into pgembedd_internal.answer_thread (id, role, subject) values (%s, current_user, '')", [uuid4()]),
    ]
    for statement, values in statements:
        with refused("request.jwt.claims is no JSON object.", "Set it to the claims of a user"):
            connection.execute(statement.encode(), values)


def test_answers_are_watched_through_a_publication_by_those_who_may_see_them(
    connection: psycopg.Connection, asker: str
) -> None:
    """The statements of the how-to. Realtime asks with the role and claims of a subscriber whether it sees a row."""
    page = (Path(__file__).parents[3] / "docs/how-to/answers.md").read_text(encoding="utf-8")
    (statements,) = re.findall(r"^```sql\n(alter publication .*?)^```", page, re.MULTILINE | re.DOTALL)
    connection.execute("reset role; create publication supabase_realtime")
    connection.execute(statements.replace("'authenticated'", f"'{asker}'").encode())
    published = "select schemaname, tablename, attnames from pg_publication_tables where pubname = 'supabase_realtime'"
    ((schema, table, columns),) = rows(connection, published)
    assert (schema, table, columns) == (
        "pgembedd",
        "answer_events",
        ["answer", "seq", "attempt", "event", "data", "at"],
    )
    connection.execute(f"set local role {asker}")
    become = "select set_config('request.jwt.claims', %s, true)"
    connection.execute(become, ['{"sub": "ada", "role": "authenticated"}'])
    answer = ask(connection)
    seen = "select seq, event from pgembedd.answer_events where answer = %s order by seq"
    assert rows(connection, seen, answer) == [(1, "status"), (2, "sources")]
    connection.execute(become, ['{"sub": "bob", "role": "authenticated"}'])
    assert rows(connection, seen, answer) == []


def test_a_role_that_may_search_and_not_ask_is_told_who_lets_it(roles: Roles, connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    role = roles.make("searcher")
    connection.execute("select pgembedd.grant_search(%s)", [role])
    connection.execute(f"grant select on documents to {role}; set local role {role}")
    with pytest.raises(SearchError, match=r"one that asks pgembedd\.grant_ask\(\)") as told, connection.transaction():
        Questions(in_transactions(connection)).ask(Question("documents", "what is it", embedding=[1.0, 0.0, 0.0]))
    assert told.value.sqlstate == "42501"
    connection.execute("reset role")
    connection.execute("select pgembedd.grant_ask(%s)", [role])
    connection.execute(f"set local role {role}")
    assert Questions(in_transactions(connection)).ask(Question("documents", "what is it", embedding=[1.0, 0.0, 0.0]))


def test_an_answer_is_seen_by_those_it_is_shared_with(roles: Roles, connection: psycopg.Connection, asker: str) -> None:
    other = roles.make("other")
    connection.execute("reset role")
    connection.execute("select pgembedd.grant_ask(%s)", [other])

    def become(role: str, subject: str) -> None:
        connection.execute(f"set local role {role}")
        claims = f'{{"sub": "{subject}"}}' if subject else ""
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])

    def seen() -> tuple[int, ...]:
        return tuple(value(connection, f"select count(*) from {table}") for table in SEEN)

    become(asker, "ada")
    answer = ask(connection)
    thread = value(connection, "select thread from pgembedd.answers")
    assert seen() == (1, 1, 2, 1)
    for function in ("share_thread", "unshare_thread"):
        with refused("There is no role NULL."):
            connection.execute(f"select {qualified(function)}(%s, null)".encode(), [thread])
    for role, subject in ((asker, "bob"), (asker, ""), (other, "ada"), (other, "")):
        become(role, subject)
        assert seen() == (0, 0, 0, 0)
        with refused(
            f"There is no thread {thread}, or it is of others.",
            "Leave it out to begin one; share_thread() lets others go on with it.",
        ):
            ask(connection, "and why", thread)
        with refused(f"There is no thread {thread} that you have begun.", "Only its first asker shares it."):
            connection.execute("select pgembedd.share_thread(%s, %s, %s)", [thread, role, subject])
        with refused(f"There is no thread {thread} that you have begun.", "Only its first asker shares it."):
            connection.execute("select pgembedd.unshare_thread(%s, %s, %s)", [thread, role, subject])
        for statement in (
            (
                "insert into pgembedd_internal.thread_member (thread, role, subject, by_role, by_subject)"
                " values (%(thread)s, %(role)s, %(subject)s, %(role)s, %(subject)s)"
            ),
            (
                "insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject)"
                " values (gen_random_uuid(), %(thread)s, 'documents', 'x', %(role)s, %(subject)s)"
            ),
            (
                "insert into pgembedd_internal.answer_source (answer, n, pipeline, key, excerpt)"
                " values (%(answer)s, 9, 'documents', '1', 'x')"
            ),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement, {"thread": thread, "role": role, "subject": subject, "answer": answer})
    become(asker, "ada")
    begin = (
        "insert into pgembedd_internal.answer (id, thread, pipeline, question, role, subject)"
        " values (%s, %s, 'documents', 'x', current_user, 'ada')"
    )
    with connection.transaction(force_rollback=True):
        connection.execute(begin, [uuid4(), thread])
    connection.execute("select pgembedd.share_thread(%s, %s, 'bob')", [thread, other])
    become(other, "bob")
    assert seen() == (1, 1, 2, 1)
    assert rows(connection, "select * from pgembedd.answer_sources(%s)", answer) == []  # it may not read the table
    assert rows(connection, "select * from pgembedd_internal._readable_sources") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute("select excerpt from pgembedd_internal.answer_source")
    connection.execute("reset role")
    connection.execute(f"grant select (id, embedding) on documents to {other}")
    become(other, "bob")
    assert rows(connection, "select distinct excerpt from pgembedd.answer_sources(%s)", answer) == [(None,)]

    become(asker, "ada")
    for found in (True, False):
        assert value(connection, "select pgembedd.unshare_thread(%s, %s, 'bob')", thread, other) is found
    become(other, "bob")
    assert seen() == (0, 0, 0, 0)

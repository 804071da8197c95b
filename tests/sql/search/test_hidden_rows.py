"""Nothing that a role may call tells what is in the rows that policies hide from it, or how many there are.

The role calls everything that it may call, twice: the second time there are other hidden rows, which hold the words of
the questions, are counted, and wait in the queues. The outcomes are the same, byte for byte; how long it took is not
compared.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.sql.search.test_words import sample
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import call, column, connected, create_pipeline, value, work

KEYS = "array(select to_jsonb(i) from generate_series(1, 200) i)"
VECTOR = "embedding => '[1,0.5,0.25]'"
SEARCH = "select s::text from pgembedd.search('documents', {}) s"
EXPLAIN = "select pgembedd.explain_search('documents', {})::text"

SEARCHES = [
    f"'common rare', {VECTOR}",
    f"'common rare', {VECTOR}, per => 'chunk', k => 100",
    "'common rare', mode => 'text'",
    f"""'shared "only one" -missing', {VECTOR}, skip => 0""",
    f"""'{" ".join(f"word{n}" for n in range(40))} common', {VECTOR}, k => 30""",
    f"'secret', {VECTOR}, min_similarity => 0.1",
    f"null, {VECTOR}, k => 1000",
    f"""'common', {VECTOR}, filter => '{{"id": {{"$lt": 30}}}}'""",
]
EXPLAINED = [asked.replace(", skip => 0", "") for asked in SEARCHES] + [f"'common', {VECTOR}, mode => 'semantic'"]

# Every function that the role may call and that may say something of rows: the public ones, and those that run with
# more rights than the role's. The rest runs as the role and sees what it sees.
CALLS: dict[str, list[str]] = {
    "search": [SEARCH.format(asked) for asked in SEARCHES]
    + [f"select s::text from pgembedd.search(null::documents, 'common rare', {VECTOR}) s"],
    "explain_search": [EXPLAIN.format(asked) for asked in EXPLAINED],
    "search_many": ["select s::text from pgembedd.search_many(array['documents'], 'common', mode => 'text') s"],
    "similar": ["select s::text from pgembedd.similar('documents', '1', k => 50) s"],
    "search_row": ["select pgembedd.search_row('documents', to_jsonb(i))::text from generate_series(1, 200) i"],
    "search_pipelines": ["select s::text from pgembedd.search_pipelines() s"],
    "pipeline_status": ["select s::text from pgembedd.pipeline_status('documents') s"],
    "row_status": [
        f"select s::text from pgembedd.row_status('documents', {KEYS}) s",
    ],
    "schema_version": ["select s::text from pgembedd.schema_version() s"],
    "embed": ["select pgembedd.embed(null)::text"],  # a vector is of its text alone
    "_search_target": [  # how large a table is, everyone may read in pg_class
        """select (to_jsonb(t) - '{rows,disk_pages}'::text[])::text
           from pgembedd_internal._search_target('documents', null) t"""
    ],
    "_search_shares": [
        """select pgembedd_internal._search_shares(p, array['common', 'rare', 'secret'])::text
           from generate_series(1, 9) p"""
    ],
    "_search_waiting": [f"select pgembedd_internal._search_waiting({p}, 'documents')::text" for p in (1, 9)],
    "_searched_pipelines": ["select s::text from pgembedd_internal._searched_pipelines(null) s"],
    "_row_statuses": [
        f"select s::text from pgembedd_internal._row_statuses(1, {KEYS}, array_fill('x'::text, array[200])) s",
    ],
}
CALLED = """
    select distinct p.proname from pg_proc p
    where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
        and has_function_privilege('{}', p.oid, 'execute') and (p.prosecdef or p.proname not like '\\_%') order by 1
"""


def outcome(connection: psycopg.Connection, statement: str) -> tuple[Any, ...]:
    """The rows of a statement, or its refusal, and what it noted."""
    notices: list[str | None] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        notices.append(notice.message_primary)

    connection.add_notice_handler(note)
    try:
        found: Any = connection.execute(statement).fetchall()
    except psycopg.Error as error:
        found = (error.sqlstate, error.diag.message_primary, error.diag.message_hint)
    connection.remove_notice_handler(note)
    return found, notices


def outcomes(database: Database, role: str) -> dict[str, tuple[Any, ...]]:
    with connect_as(database, role) as theirs:
        asked = sorted({one for statements in CALLS.values() for one in statements})
        found = {statement: outcome(theirs, statement) for statement in asked}
        answer = value(theirs, f"select pgembedd.ask('documents', 'common rare', {VECTOR})")
        found["ask"] = outcome(theirs, f"select s::text from pgembedd.answer_sources('{answer}') s")
    return found


@pytest.mark.parametrize("table", [None, "chunks"], ids=["column", "table"])
def test_the_outcome_of_every_call_is_the_same_whatever_the_hidden_rows_are(
    roles: Roles, database: Database, table: str | None
) -> None:
    reader = roles.make("reader")
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text, own boolean)")
        create_pipeline(connection, text_config="english", embedding_table=table)
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        connection.execute(
            "insert into documents select i, 'Title ' || i, 'common text number' || i || case when i % 7 = 0"
            " then ' rare shared' when i % 2 = 0 then ' shared only one' else '' end, true"
            " from generate_series(1, 60) i"
        )
        connection.execute(
            f"alter table documents enable row level security; grant select on documents to {reader};"
            " create policy own on documents using (own)"
        )
        call(connection, "grant_search", role=reader)
        work(connection)
        sample(connection)
        connection.execute("select pgembedd.tick(0, 0); analyze")
        assert column(connection, CALLED.format(reader)) == sorted(CALLS)
        call(connection, "grant_ask", role=reader)
        before = outcomes(database, reader)

        connection.execute(
            "insert into documents select i, 'Secret ' || i, 'rare secret word1 word2 number' || i, false"
            " from generate_series(61, 160) i"
        )
        work(connection)
        sample(connection)
        connection.execute("analyze")
        connection.execute("insert into documents select i, 'late', 'rare', false from generate_series(161, 170) i")
        connection.execute("select pgembedd.backfill('documents', force => true)")
        connection.execute("delete from pgmq.q_pgembedd_backfill where (message ->> 'id')::int <= 60")
        assert value(connection, "select count(*) from pgmq.q_pgembedd_backfill") > 0
        after = outcomes(database, reader)
    for statement, found in before.items():
        assert after[statement] == found, statement
    assert len(before[SEARCH.format(SEARCHES[0])][0]) == 10
    assert before["ask"][0]


def test_words_are_weighed_by_the_rows_that_a_role_may_read(roles: Roles, database: Database) -> None:
    """As by all rows for a role that may read all."""
    reader = roles.make("reader")
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text, own boolean)")
        create_pipeline(connection, text_config="english")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        connection.execute(
            "insert into documents select i, '', case when i % 2 = 0 then 'often' when i % 9 = 0 then 'seldom'"
            " else 'other' end, true from generate_series(1, 90) i"
        )
        call(connection, "grant_search", role=reader)
        connection.execute(f"grant select on documents to {reader}")
        work(connection)
        sample(connection)
        call(connection, "sweep")
        statement = (
            "select key, round(score::numeric, 6) from pgembedd.search('documents', 'often seldom', 50, mode => 'text')"
        )
        with connect_as(database, reader) as theirs:
            of_all = theirs.execute(statement).fetchall()
            connection.execute(
                "alter table documents enable row level security; create policy own on documents using (own)"
            )
            call(connection, "sweep")
            assert theirs.execute(statement).fetchall() == of_all


def test_words_are_weighed_by_the_same_rows_whatever_processes_a_search_may_take(
    roles: Roles, database: Database
) -> None:
    """The policy hides every row from a parallel worker, so a sample that one reads is empty."""
    reader = roles.make("reader")
    with connected(database) as connection:
        connection.execute("create table documents (id int primary key, title text, content text)")
        create_pipeline(connection, text_config="english")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        connection.execute("insert into documents select i, 'a', 'often text' from generate_series(1, 30) i")
        work(connection)
        call(connection, "grant_search", role=reader)
        connection.execute(f"grant select on documents to {reader}")
        call(connection, "sweep")
        connection.execute(
            "create function leads() returns boolean language plpgsql parallel safe as"
            " $$ begin return pg_backend_pid() = current_setting('test.leader')::integer; end $$"
        )
        connection.execute("create policy own on documents using (leads())")
        connection.execute("alter table documents enable row level security")
        call(connection, "sweep")
    found = "select key, score from pgembedd.search('documents', 'often', mode => 'text')"
    with connect_as(database, reader) as theirs:
        theirs.execute("select set_config('test.leader', pg_backend_pid()::text, false)")
        alone = theirs.execute(found).fetchall()
        assert len(alone) == 10
        theirs.execute("set min_parallel_table_scan_size = 0")
        theirs.execute("set parallel_setup_cost = 0")
        theirs.execute("set parallel_tuple_cost = 0")
        theirs.execute("set parallel_leader_participation = off")
        assert theirs.execute(found).fetchall() == alone

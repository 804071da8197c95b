"""Code of one table's owner that does not end stops no other pipeline, whatever it is and wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.database.connect import connect_unpinned
from pgembedd.database.limit import SessionLimit
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_embedded, insert, make_documents, put_off_upkeep, waiting
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import end_sessions, let_leases_run_out, value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

TIMEOUT_S = 0.5
MOST_HITS = 4  # of two workers, while ROWS of each other pipeline are embedded one by one
ROWS = 20

# What the function does that all code of the attacker's calls, once its pipeline is there.
ENDLESS = {
    "sleeps": "perform pg_sleep(100000);",
    "loops": "loop end loop;",
    "catches": "loop begin perform pg_sleep(100000); exception when query_canceled then null; end; end loop;",
    "sets": "perform set_config('statement_timeout', '0', false), pg_sleep(100000);",
}


@dataclass(frozen=True)
class Kind:
    """Code of an owner: statements before the pipeline is made, and after; its body, and where the vectors go."""

    before: str = ""
    after: str = ""
    body: str = "sleeps"
    content: str = "content_columns => array['body']"
    chunks: bool = False


FIRED = """
    create function fired() returns trigger language plpgsql as $$ begin perform slow(); return new; end $$;
"""
CONTENT = """
    create function content_of(s slow) returns text language plpgsql as $$ begin perform slow(); return s.body; end $$
"""
BEFORE = FIRED + "create trigger fired before update on slow for each row execute function fired()"
BY_FUNCTION = "content_function => 'content_of'"
KINDS = {
    "content function": Kind(CONTENT, content=BY_FUNCTION),
    "content function that loops": Kind(CONTENT, content=BY_FUNCTION, body="loops"),
    "content function that catches its cancellation": Kind(CONTENT, content=BY_FUNCTION, body="catches"),
    "before trigger": Kind(after=BEFORE),
    "before trigger that catches its cancellation": Kind(after=BEFORE, body="catches"),
    "before trigger that takes the limit away": Kind(after=BEFORE, body="sets"),
    "after trigger": Kind(after=BEFORE.replace("before update", "after update")),
    "deferred trigger": Kind(
        after=FIRED + "create constraint trigger fired after update on slow "
        "deferrable initially deferred for each row execute function fired()"
    ),
    "trigger that runs at COMMIT": Kind(
        after="""
        create function fired() returns trigger language plpgsql as $$ begin
            if pg_trigger_depth() > 1 then return null; end if;
            if new.body like '%again' then perform slow(); return null; end if;
            set constraints all deferred;
            update slow set body = body || ' again' where id = new.id;
            return null;
        end $$;
        create constraint trigger fired after update on slow
            deferrable initially deferred for each row execute function fired()"""
    ),
    "check": Kind(after="alter table slow add check (slow() or body > '')"),
    "domain of the key": Kind(
        "create domain number as int check (slow() or value > 0); alter table slow alter id type number"
    ),
    "generated column": Kind(
        "alter table slow add made text generated always as (case when slow() then body end) stored;"
        "create function fired() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger fired before update on slow for each row execute function fired()"
    ),
    "index expression": Kind(after="create index on slow ((case when slow() then body end))"),
    "index predicate": Kind(after="create index on slow (id) where slow()"),
    "trigger of the embedding table": Kind(
        after=FIRED + "create trigger fired before insert on slow_chunks for each row execute function fired()",
        chunks=True,
    ),
    "default of the embedding table": Kind(
        after="alter table slow_chunks add extra boolean default slow()", chunks=True
    ),
}
QUICK = ["content function", "trigger that runs at COMMIT", "before trigger that catches its cancellation"]


def slow(body: str) -> str:
    """The function that all the attacker's code calls."""
    return (
        "create or replace function slow() returns boolean language plpgsql immutable as "
        f"$$ begin {body} return true; end $$"
    )


@contextmanager
def attacker(
    database: Database, connection: psycopg.Connection, roles: Roles, kind: Kind
) -> Iterator[psycopg.Connection]:
    """The owner of `slow`, a role without a right of ours; its pipeline is made, and its code is as it should be."""
    role = roles.make("attacker")
    connection.execute(f"grant create, usage on schema public to {role}")
    with connect_as(database, role) as owner:
        owner.execute(slow(""))
        owner.execute("create table slow (id int primary key, body text)")
        owner.execute(kind.before.encode())
        connection.execute(
            f"select pgembedd.create_pipeline('slow', 'slow', {kind.content}, model => '{MODEL}', max_attempts => 1, "
            f"embedding_table => {repr('slow_chunks') if kind.chunks else 'null'})".encode()
        )
        if kind.chunks:
            connection.execute(f"alter table slow_chunks owner to {role}")
        owner.execute(kind.after.encode())
        yield owner


@contextmanager
def workers(database: Database, roles: Roles, model: Session, connection: psycopg.Connection) -> Iterator[None]:
    """Two workers, with no right but a worker's."""
    role = roles.make("worker")
    connection.execute(f"select pgembedd.grant_worker('{role}')")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(
                worker_thread(conninfo_as(database, role), only(Wrapped(model)), owner_timeout_s=TIMEOUT_S)
            )
        yield


def others_go_on(connection: psycopg.Connection, first: int = 1) -> None:
    """Rows of the two other pipelines are embedded, each as soon as it is there."""
    for i in range(first, first + ROWS):
        for table in ("one", "two"):
            insert(connection, [i], table)
        for table in ("one", "two"):
            await_embedded(connection, [i], table)


def hits(log: list[EventDict]) -> int:
    """How often code of an owner used up what it is allowed."""
    return len([event for event in log if event["event"] == "owner_timeout"])


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_other_pipelines_go_on(
    roles: Roles, database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict], name: str
) -> None:
    kind = KINDS[name]
    for table in ("one", "two"):
        make_documents(connection, table)
    with attacker(database, connection, roles, kind) as owner:
        put_off_upkeep(connection)
        insert(connection, range(1, 9), "slow")
        owner.execute(slow(ENDLESS[kind.body]).encode())
        with workers(database, roles, model, connection):
            eventually(lambda: hits(log))
            before = hits(log)
            others_go_on(connection)
            assert hits(log) - before <= MOST_HITS
            assert value(connection, "select state from pgembedd.status where pipeline = 'one'") == "running"
            reason = value(
                connection,
                "select pgembedd_internal._shown_reason(p) from pgembedd_internal.pipeline p where name = 'slow'",
            )
            assert reason.startswith("Code of the owner of public.slow did not end within 0.")
            owner.execute(slow(""))
            assert_mended(connection)


def assert_mended(connection: psycopg.Connection) -> None:
    """Once its code ends again and it is resumed, all rows of the slow pipeline are embedded."""
    connection.execute("select pgembedd.resume('slow')")

    def is_done() -> bool:
        connection.execute("select pgembedd.retry_dead_letters('slow')")
        let_leases_run_out(connection)
        return not waiting(connection) and not value(connection, "select count(*) from pgembedd.dead_letters")

    eventually(is_done)


def test_a_row_that_fails_in_time_holds_up_no_others_of_a_slow_pipeline(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    connection.execute(
        "create table slow (id int primary key, body text);"
        "create function content_of(s slow) returns text language plpgsql as $$ begin return s.body::int; end $$"
    )
    connection.execute(
        f"select pgembedd.create_pipeline('slow', 'slow', {BY_FUNCTION}, model => '{MODEL}', "
        "max_attempts => 1)".encode()
    )
    put_off_upkeep(connection)
    insert(connection, range(1, 5), "slow")
    connection.execute("select pgembedd_internal.note_slow(1, 3600, 3600, false)")
    connection.execute("update pgembedd_internal.pipeline set slow_until = clock_timestamp()")
    with worker_thread(database, only(Wrapped(model)), owner_timeout_s=3600.0):
        eventually(lambda: not waiting(connection))
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 4


@pytest.mark.parametrize(
    ("limit_s", "asked_s", "allowed_s"),
    [(60.0, 2.0, 2.0), (2.0, 60.0, 2.0), (60.0, None, 60.0), (None, 2.0, 2.0), (None, None, None)],
)
def test_a_statement_is_allowed_the_lower_of_two_limits(
    limit_s: float | None, asked_s: float | None, allowed_s: float | None
) -> None:
    assert SessionLimit(limit_s, "store", lambda _: None, pooled=False).allowed(asked_s) == allowed_s


@pytest.mark.slow
def test_no_owner_is_blamed_where_the_database_is_away(database: Database, connection: psycopg.Connection) -> None:
    def end(_: int) -> None:
        raise DatabaseUnavailableError("It cannot be reached.")

    limit = SessionLimit(0.1, "store", end, pooled=False)
    limited = connect_unpinned(database.conninfo, autocommit=True)
    process = limited.info.backend_pid
    with pytest.raises(DatabaseUnavailableError), limit.over(limited, 0.1):
        limited.execute(f"do $$ begin {ENDLESS['catches']} end $$".encode())
    assert end_sessions(connection, f"pid = {process}") == 1

"""What binds a version to the last release: its migrations, and what its workers call.

Two versions of one interface work next to each other in either order of `migrate` and the new workers, because each of
these tests fails where they would not.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.own_version import HEAD, INTERFACE
from tests.migration.releases import Program, released
from tests.migration.signatures import describe, queries, routines, serves, statements
from tests.support.databases import Database
from tests.support.owners import REPOSITORY
from tests.support.sql import column

LIST = Path(__file__).with_name("released_migrations.txt")
# Each function for workers with all its parameters: a release keeps what those before it had.
CALLS = """
    select format('select pgembedd.%I(%s)', p.proname, (
        select string_agg('null::' || t::regtype, ', ' order by n)
        from unnest(p.proargtypes::oid[]) with ordinality as a(t, n)))
    from pgembedd_internal._worker_functions() f join pg_proc p on p.oid = f
"""
# By which a worker takes and stores work. Where the interface was raised, none of the release's may be accepted.
TAKE_AND_STORE = (
    *("due", "claim", "claim_pushed", "claim_changed", "claim_answers", "take_embed_requests"),
    *("read", "read_chunks", "store", "store_chunks", "finish_embed_requests", "write_answers", "finish_answer"),
)


def listed() -> list[tuple[str, str]]:
    """The SHA-256 and the name of each released migration; the last one of a name is how it is now."""
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(digest, name) for digest, name in map(str.split, lines)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_released_migration_changes() -> None:
    now = {path.name: digest(path) for path in (REPOSITORY / "migrations" / "versions").glob("*.py")}
    digests = {name: digest for digest, name in listed()}
    assert {name: now.get(name) for name in digests} == digests


@pytest.mark.slow
def test_the_migrations_of_the_last_release_are_listed() -> None:
    paths = [*released().file("migrations/versions").glob("*.py")]
    assert {(digest(path), path.name) for path in paths} <= set(listed())
    assert {name for _, name in listed()} == {path.name for path in paths}


@pytest.fixture
def upgraded(empty_database: Database) -> tuple[Database, Program]:
    """A database of the last release, and that release."""
    release = released()
    release.migrate(empty_database.conninfo)
    return empty_database, release


@pytest.mark.slow
def test_a_running_worker_of_the_last_release_finds_what_it_calls(
    upgraded: tuple[Database, Program], connection: psycopg.Connection
) -> None:
    """Else it waits from the migration to its end: then raise the interface, of which it is told at once."""
    database, release = upgraded
    text, interface = queries(release.folder / "pgembedd"), release.interface or 1  # which had no number
    called = statements(text, interface)
    assert len(called) > 40
    with database.connect() as before:
        if interface != INTERFACE:
            accepted = [
                name for name in TAKE_AND_STORE if describe(connection, called[name]) == describe(before, called[name])
            ]
            assert accepted == [], "the interface was raised, and the last release's worker would go on"
            return
        changed = {
            name: now
            for name, statement in called.items()
            if not serves(now := describe(connection, statement), describe(before, statement), name)
        }
        now, then = routines(connection, text), routines(before, text)
        of_earlier_releases = [call for call in column(before, CALLS) if isinstance(describe(connection, call), str)]
    assert changed == {}
    assert of_earlier_releases == []
    assert {name: routine for name, routine in then.items() if not now[name].takes_calls_of(routine)} == {}


@pytest.mark.slow
def test_a_new_worker_that_works_on_the_last_releases_schema_finds_what_it_calls(
    upgraded: tuple[Database, Program], connection: psycopg.Connection
) -> None:
    """Else it has to wait for its migration: add one, if only to have a revision."""
    database, release = upgraded
    if (release.interface, release.head) != (INTERFACE, HEAD):
        pytest.skip("The last release has another schema.")
    text = queries(REPOSITORY / "worker" / "pgembedd")
    with database.connect() as before:
        lacking = {
            name: then
            for name, statement in statements(text, INTERFACE).items()
            if (then := describe(before, statement)) != describe(connection, statement)
        }
    assert lacking == {}

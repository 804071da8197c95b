"""What grant_…() gave, revoke_…() takes back: afterwards the role can be dropped, and has what other grants gave it."""

from __future__ import annotations

from itertools import combinations, permutations

import psycopg
import pytest

from tests.sql.rights.test_worker import MAY_EXECUTE, MAY_TOUCH, names
from tests.support.refusals import refused
from tests.support.sql import call, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

GRANTS = ("ask", "demand", "embed", "operator", "search", "worker")
INCLUDED = {"ask": {"search", "embed"}, "operator": {"search", "embed", "demand"}, "search": {"embed"}}
RIGHTS = "select objid::regclass::text, classid::regclass::text from pg_shdepend where refobjid = %s::regrole"


@pytest.fixture
def role(connection: psycopg.Connection) -> str:
    """A role that goes with the transaction."""
    connection.execute('create role "a reader"')
    return '"a reader"'


def grant(connection: psycopg.Connection, role: str, *granted: str) -> None:
    for name in granted:
        call(connection, f"grant_{name}", role=role)


def revoke(connection: psycopg.Connection, role: str, *granted: str) -> None:
    for name in granted:
        call(connection, f"revoke_{name}", role=role)


def has(connection: psycopg.Connection, role: str) -> tuple[set[str], set[str]]:
    return names(connection, MAY_EXECUTE, role.strip('"')), names(connection, MAY_TOUCH, role.strip('"'))


@pytest.mark.parametrize(
    "granted", [one for size in (1, 2, 3, 6) for one in combinations(GRANTS, size)], ids=lambda one: "+".join(one)
)
def test_a_role_can_be_dropped_after_what_it_was_granted_is_revoked(
    connection: psycopg.Connection, role: str, granted: tuple[str, ...]
) -> None:
    grant(connection, role, *granted)
    # Those that include others first.
    revoke(connection, role, *sorted(granted, key=lambda name: -len(INCLUDED.get(name, ()))))
    assert has(connection, role) == (set(), set())
    assert rows(connection, RIGHTS, role) == []
    connection.execute(f"drop role {role}")


@pytest.mark.parametrize(("taken", "kept"), list(permutations(GRANTS, 2)), ids="-".join)
def test_a_role_keeps_what_its_other_grants_give(
    connection: psycopg.Connection, role: str, taken: str, kept: str
) -> None:
    grant(connection, role, taken, kept)
    if taken in INCLUDED.get(kept, ()):
        sentence = f"The role {role} has this by grant_{kept}(), too."
        with refused(sentence, f"revoke_{kept}() takes back both."), connection.transaction():
            revoke(connection, role, taken)
        return
    revoke(connection, role, taken)
    found = has(connection, role)
    connection.execute("create role other")
    if kept not in INCLUDED.get(taken, ()):
        grant(connection, "other", kept)
    assert found == has(connection, "other")


def test_what_was_granted_by_hand_stays(connection: psycopg.Connection, role: str) -> None:
    connection.execute(f"grant select on pgembedd.answers to {role}")
    connection.execute(f"grant usage on schema pgembedd to {role}")
    grant(connection, role, "operator")
    revoke(connection, role, "operator")
    revoke(connection, role, "operator")  # which it has not any more
    assert has(connection, role) == (set(), {"answers"})


@pytest.mark.parametrize("name", GRANTS)
def test_the_schema_of_the_type_is_given_and_taken_where_not_all_may_use_it(
    connection: psycopg.Connection, role: str, name: str
) -> None:
    connection.execute("revoke usage on schema public from public")
    may = f"select has_schema_privilege('{role}'::regrole, 'public', 'usage')"
    grant(connection, role, name)
    assert value(connection, may)
    revoke(connection, role, name)
    assert not value(connection, may)
    connection.execute(f"drop role {role}")


def test_the_owner_is_no_role_to_take_it_from(connection: psycopg.Connection) -> None:
    for role in ("pgembedd", "postgres"):
        with refused(f"The role {role} owns pgembedd."), connection.transaction():
            revoke(connection, role, "worker")


def test_a_member_of_another_role_is_told_of(connection: psycopg.Connection, role: str) -> None:
    said: list[str | None] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    connection.execute(f"grant pgembedd_worker to {role}")
    grant(connection, role, "worker")
    revoke(connection, role, "worker")
    assert said == [f"the role {role} may still call claim(), by a role that it is a member of"]


def test_a_role_that_embed_connected_as_before_has_no_rights(connection: psycopg.Connection, role: str) -> None:
    connection.execute("select pgembedd.embed_through(username => 'a reader', password => 'x')")
    assert len(has(connection, role)[0]) == 3
    connection.execute("create role other login; select pgembedd.embed_through(username => 'other', password => 'x')")
    assert len(has(connection, "other")[0]) == 3
    connection.execute(f"drop role {role}")

"""Code that the owner of a table plants in it never runs with more rights than that owner's."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import call, create_pipeline, owned_table, qualified, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

# A call by a superuser makes the owner a superuser.
TRAP = """
    create function trap() returns void language plpgsql as $$
    begin
        if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
            execute 'alter role {owner} superuser';
        end if;
    end $$;
    create function trapped(integer) returns boolean immutable language plpgsql as $$
    begin
        perform public.trap();
        return true;
    end $$;
"""

PLANTED = {
    "a domain's check": """
        create domain checked as int check (public.trapped(value));
        alter table documents alter id type checked""",
    "an index's condition": "create index on documents (id) where public.trapped(1)",
    "an index's expression": "create index on documents ((public.trapped(1)))",
    "a column's default and check": "alter table documents add check (public.trapped(1))",
}


@pytest.mark.parametrize("destination", ["column", "table"])
@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_what_is_planted_in_a_table_gains_nothing(
    roles: Roles, database: Database, connection: psycopg.Connection, planted: str, destination: str
) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    with connect_as(database, owner) as theirs:
        theirs.execute(TRAP.format(owner=owner))
        theirs.execute(planted)
    assert not superuser(connection, owner)
    options = {"embedding_table": "chunks"} if destination == "table" else {}
    create_pipeline(connection, index_type="hnsw", **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    with connect_as(database, owner) as theirs:
        theirs.execute("insert into documents values (1, 'text'), (2, ' ')")
    work(connection)
    for function in ("tick(0, 0)", "sweep()", "retention()", "diagnose(1)"):
        connection.execute(f"select {qualified(function)}")
        assert not superuser(connection, owner), function
    change = {"type": "UPDATE", "schema": "public", "table": "documents", "record": {"id": 1}, "old_record": {"id": 2}}
    connection.execute("select * from pgembedd_internal.claim_changed(%s, 60)", [Jsonb(change)])
    connection.execute("select * from pgembedd.status")
    call(connection, "backfill", pipeline="documents", force=True)
    work(connection)
    assert not superuser(connection, owner)


def superuser(connection: psycopg.Connection, role: str) -> bool:
    return bool(value(connection, "select rolsuper from pg_roles where rolname = %s", role))


def test_the_owner_of_generated_code_cannot_alter_it(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    create_pipeline(connection)
    connection.execute(f"grant usage on schema pgembedd, pgembedd_internal to {owner}")  # as who searches needs it
    with (
        connect_as(database, owner) as theirs,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema pgembedd_code"),
    ):
        theirs.execute("alter function pgembedd_code.pipeline_1_read(jsonb[]) security invoker")

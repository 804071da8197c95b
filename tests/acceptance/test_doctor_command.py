"""`pgembedd doctor` as roles with few rights, after a restore, and where the cache of models cannot be written."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database
from tests.support.documents import make_documents
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import value


def remedies(conninfo: str) -> dict[str, str]:
    """The lines that are not ok, each with its remedy."""
    lines = pgembedd("doctor", database=conninfo).out.splitlines()
    return {
        line: after.removeprefix("      → ")
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith(("note", "BAD"))
    }


@pytest.mark.parametrize(("grant", "may"), [("search", "search"), ("operator", "watch, retry and search")])
def test_a_role_that_is_no_workers_is_well(roles: Roles, database: Database, grant: str, may: str) -> None:
    role = roles.make("stranger")
    with database.connect() as connection:
        connection.execute(f"select pgembedd.grant_{grant}('{role}')".encode())
    done = pgembedd("doctor", database=conninfo_as(database, role))
    assert (done.code, done.err) == (0, "")
    assert f"note  rights: this role may {may}, and not work the queue" in done.out


def test_what_an_administrator_may_do_before_the_migration(roles: Roles, empty_database: Database) -> None:
    owner = roles.make("owner")
    with empty_database.connect() as admin:
        admin.execute(f"alter database {empty_database.name} owner to {owner}".encode())
    conninfo = conninfo_as(empty_database, owner)
    asked = [text for text in remedies(conninfo).values() if text.startswith("As an administrator: ")]
    with empty_database.connect() as admin:
        for text in asked:
            statement, _, _ = text.removeprefix("As an administrator: ").partition(";")
            admin.execute(statement.encode())
        # The role pgembedd is that of other databases of the server.
        admin.execute(f"grant pgembedd to {owner} with inherit true, set true".encode())
    assert [text.split(";")[0].rsplit(" ", 1)[-1] for text in asked] == ["vector", "dblink", "createrole"]
    migrate(conninfo)
    assert not any("administrator" in text for text in remedies(conninfo).values())
    downgrade(conninfo)  # with embed()'s role


def test_an_owner_who_may_not_create_roles_is_told_how_embed_is_set_up(roles: Roles, empty_database: Database) -> None:
    owner = roles.make("owner")
    with empty_database.connect() as admin:
        admin.execute(f"alter database {empty_database.name} owner to {owner}".encode())
        admin.execute("create extension vector; create extension dblink")
    migrate(conninfo_as(empty_database, owner))
    told = remedies(conninfo_as(empty_database, owner))["note  embed(): not set up: no vectors of questions inside SQL"]
    assert told.startswith(f"As an administrator, because {owner} may not create roles: create role asker login")
    with connect_as(empty_database, owner) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute("select pgembedd.embed_through()")
        assert str(caught.value.diag.message_primary).startswith(f"The role {owner} may not make the role pgembedd_emb")
        assert caught.value.diag.message_hint == told


def test_after_a_restore_elsewhere_migrate_is_the_remedy(server: EmbeddedPostgres, database: Database) -> None:
    """The role of embed() is not on the other server, and the functions are the restoring role's."""
    with fresh_database(server, database.name) as copy, copy.connect() as connection:
        connection.execute("update pgembedd_internal.loopback set username = 'pgembedd_embed_0'")
        connection.execute("alter function pgembedd.tick owner to postgres")
        found = remedies(copy.conninfo)
        missing = "BAD   embed(): the role pgembedd_embed_0, as which it connects, is not on this server"
        assert found[missing] == "Run `pgembedd migrate`."
        theirs = "note  rights: our functions run with the rights of postgres, and not of a role without any"
        assert found[theirs] == "pgembedd migrate"
        migrate(copy.conninfo)
        assert {missing, theirs}.isdisjoint(remedies(copy.conninfo))
        made = value(connection, "select username from pgembedd_internal.loopback")
        connection.execute(f"drop owned by {made}; drop role {made}".encode())


def test_a_large_index_of_few_links_is_noticed(database: Database) -> None:
    with database.connect() as connection:
        make_documents(connection)
        large = "update pg_class set reltuples = 600000 where relname = 'documents_embedding_hnsw'"
        connection.execute(large)
        found = remedies(database.conninfo)
        line = (
            'note  pipeline "documents": its index public.documents_embedding_hnsw has m = 16 for 600000 vectors,'
            " so a search misses some of the nearest"
        )
        assert found[line] == "See docs/how-to/search.md, It is complete: an index with more links."
        connection.execute("alter index documents_embedding_hnsw set (m = 32, ef_construction = 128)")
        connection.execute("reindex index concurrently documents_embedding_hnsw")
        connection.execute(large)
        assert not any("nearest" in one for one in remedies(database.conninfo))


def test_a_fingerprint_that_may_be_that_of_int8_is_a_note(database: Database) -> None:
    with database.connect() as connection:
        make_documents(connection)
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'all-MiniLM-L6-v2@0123456789abcdef'")
    ((line, remedy),) = [found for found in remedies(database.conninfo).items() if "its vectors are of" in found[0]]
    assert line.startswith('note  pipeline "documents": its vectors are of all-MiniLM-L6-v2@0123456789abcdef, and this')
    assert line.endswith("unless at int8")
    assert remedy.startswith("Nothing, where its workers run at int8.")


def test_a_cache_that_cannot_be_written_is_not_ok(database: Database, tmp_path: Path) -> None:
    """Below a file no folder can be made, not even by root."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    done = pgembedd("doctor", "--quiet", database=database.conninfo, PGEMBEDD_CACHE_DIR=str(in_the_way / "cache"))
    assert done.code == 1
    assert done.out == (
        f"BAD   disk: no file can be made in {in_the_way}/cache: models that are not there cannot be fetched\n"
        "      → Set PGEMBEDD_CACHE_DIR to a folder that this account may write.\n"
    )

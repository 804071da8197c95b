"""Our code never calls an object that another role put before ours in the search path."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    column,
    create_pipeline,
    made_up,
    make_documents,
    qualified,
    rows,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A pipeline, so that there is generated code, too."""
    make_documents(connection, 2)
    create_pipeline(connection, on_update="clear")


SHADOWS = """
    create table public.caught (what text);
    grant insert on public.caught to public;
    create function public.count(bigint) returns bigint language plpgsql as $$
    begin insert into public.caught values ('count'); return 0; end $$;
    create function public.format(text, text) returns text language plpgsql as $$
    begin insert into public.caught values ('format'); return $1; end $$;
    create function public.concat_ws(text, text, text) returns text language plpgsql as $$
    begin insert into public.caught values ('concat_ws'); return 'evil'; end $$;
    create function public.sha256(bytea) returns bytea language plpgsql as $$
    begin insert into public.caught values ('sha256'); return 'evil'; end $$;
    create function public.convert_to(text, text) returns bytea language plpgsql as $$
    begin insert into public.caught values ('convert_to'); return 'evil'; end $$;
    create function public.jsonb_build_object(text, jsonb) returns jsonb language plpgsql as $$
    begin insert into public.caught values ('jsonb_build_object'); return '{}'; end $$;
    create function public.to_jsonb(integer) returns jsonb language plpgsql as $$
    begin insert into public.caught values ('to_jsonb'); return '1'; end $$;
    create function public.equal(integer, integer) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = integer, rightarg = integer, procedure = public.equal);
    create function public.equal(bytea, bytea) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = bytea, rightarg = bytea, procedure = public.equal);
    create function public.equal(bigint, bigint) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = bigint, rightarg = bigint, procedure = public.equal);
    create function public.differ(record, record) returns boolean language plpgsql as $$
    begin insert into public.caught values ('*<>'); return true; end $$;
    create operator public.*<> (leftarg = record, rightarg = record, procedure = public.differ);
    create domain public.jsonb as text; create domain public.text as int; create domain public.record as int;
"""


@pytest.mark.slow
def test_what_shadows_ours_is_not_called(
    roles: Roles, database: Database, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    """A role with CREATE on `public` shadows what we call, and the caller has that schema before pg_catalog."""
    evil = roles.make("evil")
    connection.execute(f"grant create on schema public to {evil}")
    make_documents(connection, 1)
    with connect_as(database, evil) as theirs:
        theirs.execute(SHADOWS)
    assert rows(connection, "select 1 from public.caught") == []
    connection.execute("set search_path to public, pg_catalog")
    with pytest.raises(psycopg.Error):
        connection.execute("select count from (select 1 = 1) x(count), caught where caught")  # the trap is set
    create_pipeline(connection, on_update="clear")
    connection.execute("insert into documents values (2, 'x', 'y')")
    connection.execute("update documents set title = 'z' where id operator(pg_catalog.=) 2")
    for function in (
        "tick(0, 0)",
        "sweep()",
        "_repair()",
        "pause('documents')",
        "resume('documents')",
        "retry_dead_letters()",
    ):
        connection.execute(f"select {qualified(function)}")
    assert set(work(other).values()) == {"written"}
    connection.execute("reset search_path")
    assert column(connection, "select what from public.caught") == []
    assert vectors(connection) == [made_up("title 1\n\ncontent 1"), made_up("z\n\ny")]


def test_everything_of_ours_has_its_path_pinned(documents: psycopg.Connection) -> None:
    """But create_pipeline, alter_pipeline, _asked_pipeline, _text_config, answer, wait_for_*; what checks the path.

    So is a user's code.
    """
    unpinned = column(
        documents,
        """select distinct proname from pg_proc
           where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace) and not exists (
           select from unnest(proconfig) c
           where c in ('search_path=pg_catalog, pgembedd_internal, pgembedd, pg_temp',
                      'search_path=pg_catalog, pg_temp'))
           order by 1""",
    )
    paths = ["_asked_pipeline", "_check_path", "_check_session", "_text_config"]
    public = ["alter_pipeline", "answer", "create_pipeline", "wait_for_pipeline", "wait_for_row"]
    assert unpinned == [*paths, "_wait_for_row", *public]


def test_definers_that_read_users_tables_have_row_security_off(documents: psycopg.Connection) -> None:
    named = """select distinct proname from pg_proc where prosecdef and pronamespace = any (%s::text[]::regnamespace[])
               and coalesce('row_security=off' = any (proconfig), false) = %s order by 1"""
    triggers = ["pipeline_1_on_insert", "pipeline_1_on_update"]  # which read the row that they are given
    assert column(documents, named, ["pgembedd_code"], False) == ["dblink_connect_u", *triggers]
    assert column(documents, named, ["pgembedd", "pgembedd_internal"], True) == [
        *("_coverage_of", "_read_push_answers", "_row_statuses", "_statuses"),
        *("claim", "claim_changed", "claim_pushed", "continue_backfill", "finish_listing", "pipeline_status"),
        *(
            "read",
            "read_chunks",
            "read_files",
            "read_uris",
            "retention",
            "store",
            "store_chunks",
            "store_pages",
            "sweep",
        ),
    ]

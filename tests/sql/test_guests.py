"""The queue of a project with triggers after a guide is processed without create_pipeline()."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.guide import INSERT, embed, follow_guide, guide_table
from tests.support.roles import Roles
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    claim_one,
    column,
    let_leases_run_out,
    queued,
    read,
    rows,
    store,
    value,
    work,
)


def worked(connection: psycopg.Connection) -> dict[Any, str]:
    """Claim and store everything; the outcome by key."""
    return work(connection, embed=embed)


@pytest.fixture
def guide(connection: psycopg.Connection) -> psycopg.Connection:
    """The guide's table, empty, and no pipeline."""
    follow_guide(connection)
    guide_table(connection)
    return connection


def refusal(connection: psycopg.Connection) -> str:
    """Claim, and why the only job became a dead letter."""
    assert claim(connection) == []
    ((pipeline, reason, error),) = rows(connection, "select pipeline, reason, error from pgembedd.failures")
    assert (pipeline, reason) == (None, "unknown_pipeline")
    assert column(connection, "select name from pgembedd.pipeline") == []
    assert error.endswith("Then call pgembedd.retry_failed().")
    return str(error)


def test_the_first_job_makes_a_pipeline_without_triggers(guide: psycopg.Connection) -> None:
    guide.execute(INSERT, [1])
    job = claim_one(guide)
    assert job.pipeline == "documents.embedding"
    (content,) = read(guide, [job])
    assert content.text == "# one\n\ntext"
    assert store(guide, [job], [content], embed=embed) == ["written"]
    assert value(guide, "select own_triggers from pgembedd.pipeline") is False
    assert rows(guide, "select state, destination, queued from pgembedd.status") == [("running", "embedding", 0)]
    assert column(guide, "select tgname from pg_trigger where not tgisinternal and tgname like 'pgembedd%'") == []


def test_many_new_jobs_of_one_claim_are_all_worked(guide: psycopg.Connection) -> None:
    guide.execute("insert into documents (id, title, content) select i, 'a', 'b' from generate_series(1, 5) i")
    guide.execute("delete from documents where id = 2")
    assert worked(guide) == {1: "written", 2: "gone", 3: "written", 4: "written", 5: "written"}
    assert column(guide, "select name from pgembedd.pipeline") == ["documents.embedding"]


def test_jobs_of_send_batch(guide: psycopg.Connection) -> None:
    guide.execute("alter table documents disable trigger documents_on_insert")
    guide.execute("insert into documents (id, title, content) select i, 'a', 'b' from generate_series(1, 3) i")
    guide.execute("alter table documents enable trigger documents_on_insert")
    guide.execute(
        "select pgmq.send_batch('embedding_jobs', array_agg(jsonb_build_object('id', id, 'schema', 'public', 'table',"
        " 'documents', 'contentFunction', 'embedding_input', 'embeddingColumn', 'embedding'))) from documents"
    )
    assert worked(guide) == dict.fromkeys((1, 2, 3), "written")


def test_an_update_is_worked_and_leaves_no_job_behind(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, clear=True)
    connection.execute(INSERT, [1])
    worked(connection)
    connection.execute("update documents set other = 1")
    assert queued(connection) == []
    connection.execute("update documents set title = 'two'")
    assert value(connection, "select embedding is null from documents")
    assert worked(connection) == {1: "written"}
    assert value(connection, "select embedding is not null from documents")
    assert queued(connection) == []


def test_keys_and_names_of_any_kind(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    connection.execute('create schema "My Schema"')
    guide_table(
        connection,
        'The "T%"',
        schema="My Schema",
        key="uuid default gen_random_uuid() primary key",
        column="Mein Vektor",
        function="Input",
        clear=True,
    )
    connection.execute('insert into "My Schema"."The ""T%""" (title, content) values (\'a\', \'b\')')
    assert set(worked(connection).values()) == {"written"}
    assert column(connection, "select name from pgembedd.pipeline") == ["The_T_.Mein_Vektor"]


def test_a_partitioned_table_is_one_guest(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    connection.execute(
        "create table documents (id int primary key, title text, content text, embedding halfvec(384)) "
        "partition by range (id)"
    )
    connection.execute("create table early partition of documents for values from (0) to (10)")
    connection.execute("create table late partition of documents for values from (10) to (20)")
    connection.execute("create function embedding_input(one documents) returns text return one.title")
    connection.execute(
        "create trigger t after insert on documents for each row "
        "execute function util.queue_embeddings('embedding_input', 'embedding')"
    )
    for number in (1, 11):
        connection.execute(INSERT, [number])
    assert worked(connection) == {1: "written", 11: "written"}
    assert column(connection, "select source_name from pgembedd.pipeline") == ["public.documents"]


def test_names_stay_unique(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    for table in ("a b", "a.b", "a/b"):
        guide_table(connection, table)
        connection.execute(f"""insert into "{table}" (id, title, content) values (1, 'a', 'b')""".encode())
    worked(connection)
    names = column(connection, "select name from pgembedd.pipeline order by name")
    assert names == ["a.b.embedding", "a_b.embedding", "a_b.embedding-2"]


def test_the_sweep_finds_what_was_missed(guide: psycopg.Connection) -> None:
    guide.execute(INSERT, [1])
    worked(guide)
    guide.execute("set session_replication_role = replica")
    guide.execute(INSERT, [2])
    guide.execute("reset session_replication_role")
    assert value(guide, "select pgembedd.sweep()") == 1
    assert worked(guide) == {2: "written"}


def test_the_sweep_leaves_out_what_a_condition_leaves_out(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, triggers=False)
    connection.execute(
        "create trigger t after insert on documents for each row when (new.other = 1) "
        "execute function util.queue_embeddings('embedding_input', 'embedding')"
    )
    connection.execute("insert into documents values (1, 'a', 'b', 1), (2, 'a', 'b', 2)")
    assert worked(connection) == {1: "written"}
    assert value(connection, "select pgembedd.sweep()") == 0


# -- Whose word counts -------------------------------------------------------------------------------------


def test_a_message_without_a_trigger_is_refused(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, triggers=False)
    connection.execute("insert into documents values (1, 'a', 'b')")
    message = {"id": 1, "schema": "public", "table": "documents", "embeddingColumn": "embedding"}
    connection.execute(
        "select pgmq.send('embedding_jobs', %s)", [Jsonb(message | {"contentFunction": "embedding_input"})]
    )
    assert "No trigger on public.documents has the arguments ('embedding_input', 'embedding')" in refusal(connection)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("alter table documents drop constraint documents_pkey", "has no primary key"),
        ("alter table documents drop constraint documents_pkey, add primary key (id, title)", "a key of 2 columns"),
        ("alter table documents drop constraint documents_pkey, add primary key (title)", 'its primary key is "title"'),
        ("drop function embedding_input", "There is no function embedding_input(public.documents)"),
        ("alter table documents drop embedding", "ADD COLUMN embedding halfvec(384)"),
        ("alter table documents alter embedding type text", 'no column "embedding" of the type halfvec or vector'),
        ("drop table documents cascade", "There is no table public.documents"),
    ],
)
def test_what_cannot_be_served_is_a_dead_letter_that_says_why(
    guide: psycopg.Connection, damage: str, error: str
) -> None:
    guide.execute(INSERT, [1])
    guide.execute(damage.encode())
    assert error in refusal(guide)


def test_mended_it_is_worked(guide: psycopg.Connection) -> None:
    guide.execute(INSERT, [1])
    guide.execute("alter function embedding_input rename to mislaid")
    assert "There is no function" in refusal(guide)
    guide.execute("alter function mislaid rename to embedding_input")
    assert call(guide, "retry_failed") == 1
    assert worked(guide) == {1: "written"}


def test_a_function_of_somebody_else_is_not_run_as_the_owner(roles: Roles, guide: psycopg.Connection) -> None:
    owner, other = roles.make("owner"), roles.make("other")
    guide.execute(f"alter table documents owner to {owner}".encode())
    guide.execute(f"grant create on schema public to {other}".encode())
    guide.execute(f"alter function embedding_input owner to {other}".encode())
    guide.execute(INSERT, [1])
    error = refusal(guide)
    assert f"belongs to {other}, but would run as {owner}" in error
    guide.execute(f"grant create on schema public to {owner}".encode())
    guide.execute(f"alter function embedding_input owner to {owner}".encode())
    call(guide, "retry_failed")
    assert worked(guide) == {1: "written"}
    read_owner = value(guide, "select proowner::regrole::text from pg_proc where proname = 'pipeline_1_read'")
    assert read_owner == owner


# -- What becomes of guests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ("vector(1536)", "create_pipeline(..., adopt => true, model => ..., dimensions => 1536)"),
        (
            "halfvec",
            "ALTER COLUMN embedding TYPE public.halfvec(384), then call pgembedd.resume(",
        ),
    ],
)
def test_another_size_waits_for_a_decision(connection: psycopg.Connection, vector: str, reason: str) -> None:
    follow_guide(connection)
    guide_table(connection, vector=vector)
    connection.execute(INSERT, [1])
    assert claim(connection) == []
    ((state, why, waiting),) = rows(connection, "select state, reason, queued from pgembedd.status")
    assert (state, waiting) == ("stopped", 1)
    assert reason in why
    connection.execute("alter table documents alter embedding type halfvec(384)")
    if vector == "halfvec":
        call(connection, "resume", name="documents.embedding")
        assert worked(connection) == {1: "written"}


def take_over(connection: psycopg.Connection) -> None:
    connection.execute(
        "select pgembedd.create_pipeline('documents.embedding', 'documents', content_columns => '{title}', "
        "create_index => false, backfill => false)"
    )


def test_create_pipeline_takes_a_guests_place(guide: psycopg.Connection) -> None:
    for number in (1, 2):
        guide.execute(INSERT, [number])
    (first, _second) = claim(guide)
    call(guide, "pause", name="documents.embedding")
    guide.execute(INSERT, [3])
    assert claim(guide) == []  # parked
    guide.execute("set session_replication_role = replica")
    guide.execute(INSERT, [4])
    guide.execute("reset session_replication_role")
    value(guide, "select pgembedd.backfill('documents.embedding')")
    take_over(guide)
    assert rows(guide, "select name, own_triggers from pgembedd.pipeline") == [("documents.embedding", True)]
    assert value(guide, "select count(*) from pg_proc where proname like 'pipeline\\_1\\_%'") == 0
    assert value(guide, "select pgembedd.diagnose(%s)", first.pipeline_id) == "The pipeline was dropped."
    let_leases_run_out(guide)
    assert worked(guide) == dict.fromkeys((1, 2, 3, 4), "written")
    assert value(guide, "select count(*) from pgembedd.failures") == 0


def test_a_guest_that_is_dropped_comes_back_with_its_triggers(guide: psycopg.Connection) -> None:
    guide.execute(INSERT, [1])
    worked(guide)
    notices: list[str] = []
    guide.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
    call(guide, "drop_pipeline", name="documents.embedding")
    assert len(notices) == 1
    assert "documents_on_insert, documents_on_update" in notices[0]
    assert value(guide, "select count(*) from pg_proc where proname like 'pipeline\\_1\\_%'") == 0
    guide.execute(INSERT, [2])
    assert worked(guide) == {2: "written"}


def test_a_guests_model_is_changed_by_a_pipeline_in_its_place(guide: psycopg.Connection) -> None:
    guide.execute(INSERT, [1])
    worked(guide)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is a guest"):
        call(guide, "change_model", name="documents.embedding", model="all-MiniLM-L6-v2")


def test_two_claims_meet_the_same_newcomer(guide: psycopg.Connection, other: psycopg.Connection) -> None:
    for number in (1, 2):
        guide.execute(INSERT, [number])
    with guide.transaction():
        assert [job.id for job in claim(guide, size=1)] == [1]
        assert claim(other) == []
    assert value(guide, "select count(*) from pgembedd.failures") == 0
    let_leases_run_out(guide)
    assert worked(other) == {1: "written", 2: "written"}


def test_the_triggers_other_function_is_followed(guide: psycopg.Connection) -> None:
    for number in (1, 2):
        guide.execute(INSERT, [number])
    worked(guide)
    guide.execute("update documents set title = 'late' where id = 2")
    guide.execute("create function shout(one documents) returns text return upper(one.title)")
    guide.execute("drop trigger documents_on_insert on documents; drop trigger documents_on_update on documents")
    guide.execute(
        "create trigger t after insert or update of title on documents for each row "
        "execute function util.queue_embeddings('public.shout', 'embedding')"
    )
    guide.execute("update documents set title = 'new' where id = 1")
    jobs = claim(guide)
    assert [content.text for content in read(guide, jobs)] == ["LATE", "NEW"]
    assert store(guide, jobs, embed=embed) == ["written", "written"]
    assert column(guide, "select name from pgembedd.pipeline") == ["documents.embedding"]


def test_ours_need_no_call_more(guide: psycopg.Connection) -> None:
    """A claim of messages that name their pipeline costs as much as before."""
    guide.execute(INSERT, [1])
    worked(guide)
    guide.execute("update documents set embedding = null")
    guide.execute("select pgembedd.backfill('documents.embedding')")
    guide.execute("set track_functions = 'all'")
    with guide.transaction():
        assert len(claim(guide, BACKFILL)) == 1
        called = column(guide, "select funcname from pg_stat_xact_user_functions")
    assert "claim" in called
    assert not {"_guest", "_claimed_for", "_pipeline_of"} & set(called)

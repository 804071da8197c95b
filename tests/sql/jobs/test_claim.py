"""What is due is found by pipeline, and a claim takes jobs of one pipeline, whatever else is in the queue."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.database.queries import query
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    BACKFILL,
    FRESH,
    call,
    claim,
    create_pipeline,
    due,
    make_documents,
    release,
    rows,
    store,
    value,
)
from tests.support.waiting import eventually

INDEX = f"pgmq.q_{FRESH}_by_pipeline"


def make_pipelines(connection: psycopg.Connection, *names: str) -> None:
    """Pipelines of one table, numbered from 1."""
    make_documents(connection)
    for name in names:
        create_pipeline(connection, pipeline=name, embedding_column=f"{name}_vector", backfill=False)


def send(connection: psycopg.Connection, pipeline: int | str | None, count: int, queue: str = FRESH) -> None:
    """So many jobs of a pipeline, as its trigger would queue them."""
    connection.execute(
        f"insert into pgmq.q_{queue} (vt, message) select clock_timestamp(), "
        "jsonb_strip_nulls(jsonb_build_object('id', i, 'pipeline', %s::text)) from generate_series(1, %s) i",
        (None if pipeline is None else str(pipeline), count),
    )


def claim_of(connection: psycopg.Connection, pipeline_id: int, size: int = 100, queue: str = FRESH) -> list[int]:
    """Claims from one pipeline; the rows' ids."""
    values = {"pipeline_id": pipeline_id, "queue": queue, "claim_size": size, "lease_s": 60}
    return [int(row[3]) for row in connection.execute(query("claim"), values)]


@prepared
def two(connection: psycopg.Connection) -> None:
    """The pipelines big and small, 1 and 2, without jobs."""
    make_pipelines(connection, "big", "small")


def test_what_is_due_by_pipeline_and_queue(two: psycopg.Connection) -> None:
    assert due(two) == []
    send(two, 1, 1000)
    send(two, 2, 1)
    send(two, 1, 5, BACKFILL)
    assert (due(two), due(two, BACKFILL)) == ([1, 2], [1])
    named = two.execute(
        query("due"),
        {"names": ["small", "none"], "poll_s": 0, "unserved": [], "queue": None, "idle": False, "task": "embed"},
    ).fetchall()
    assert named == [(2, FRESH)]


def test_a_claim_takes_jobs_of_its_pipeline_alone_in_their_order(two: psycopg.Connection) -> None:
    send(two, 1, 500)
    send(two, 2, 10)
    assert claim_of(two, 2, 4) == [1, 2, 3, 4]
    assert claim_of(two, 2) == [5, 6, 7, 8, 9, 10]
    assert (claim_of(two, 2), due(two)) == ([], [1])
    assert claim_of(two, 1, 3, BACKFILL) == []


def test_a_job_that_comes_back_goes_to_the_end(two: psycopg.Connection) -> None:
    send(two, 1, 3)
    assert release(two, claim(two, size=1)) == 1
    assert claim_of(two, 1, 2) == [2, 3]


def test_claims_at_the_same_time_never_overlap(two: psycopg.Connection, other: psycopg.Connection) -> None:
    send(two, 1, 100)
    with two.transaction():
        first = claim_of(two, 1, 40)
        second = claim_of(other, 1, 40)
        assert not {*first} & {*second}
        rest = claim_of(two, 1, 1000)
        assert claim_of(other, 1, 1000) == []
    assert sorted([*first, *second, *rest]) == list(range(1, 101))


def test_a_claim_does_to_a_message_what_pgmq_does(two: psycopg.Connection) -> None:
    send(two, 1, 2)
    before = value(two, "select clock_timestamp()")
    (first, _) = claim(two, lease_s=600)
    assert first.read_ct == 1
    seen = rows(
        two,
        "select read_ct, vt between %s + interval '600 s' and clock_timestamp() + interval '600 s', "
        f"last_read_at >= %s from pgmq.q_{FRESH}",
        before,
        before,
    )
    assert seen == [(1, True, True)] * 2


def test_jobs_of_a_paused_pipeline_stay_where_they_are(two: psycopg.Connection) -> None:
    send(two, 1, 50)
    send(two, 2, 3)
    call(two, "pause", pipeline="big")
    assert due(two) == [2]
    assert claim_of(two, 1) == []
    assert value(two, f"select count(*) from pgmq.q_{FRESH} where read_ct = 0") == 53
    call(two, "resume", pipeline="big")
    assert len(claim_of(two, 1)) == 50


def test_whatever_lands_in_the_queue_the_claims_go_on(two: psycopg.Connection) -> None:
    odd = ["null", "[]", '"pipeline"', "{}", '{"pipeline": {}}', '{"pipeline": null, "table": 3}', '{"id": 1}']
    odd += [f'{{"id": 1, "pipeline": "{"x" * 10_000}"}}', '{"id": 1, "pipeline": "9999"}', '{"id": 1, "table": "\\"é"}']
    for message in odd:
        two.execute(f"insert into pgmq.q_{FRESH} (vt, message) values (clock_timestamp(), %s)", (message,))
    two.execute(f"insert into pgmq.q_{FRESH} (vt, message) values (clock_timestamp(), null)")
    send(two, 1, 3)
    assert claim_of(two, 1) == [1, 2, 3]
    assert due(two) == []
    assert value(two, "select count(*) from pgembedd.dead_letters where reason = 'unknown_pipeline'") == len(odd) + 1


def test_much_of_a_stranger_is_taken_away_bit_by_bit(two: psycopg.Connection) -> None:
    """A claim waits for it, and under a statement_timeout all of it might be undone, again and again."""
    two.execute(
        f"insert into pgmq.q_{FRESH} (vt, message) "
        "select clock_timestamp(), jsonb_build_object('id', i, 'pipeline', 'x' || i) from generate_series(1, 250) i"
    )
    left = []
    for _ in range(3):
        assert due(two) == []
        left.append(value(two, f"select count(*) from pgmq.q_{FRESH}"))
    assert left == [150, 50, 0]


def test_a_look_waits_for_a_first_job(two: psycopg.Connection, other: psycopg.Connection) -> None:
    """For poolers that do not pass LISTEN."""
    pid = two.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(
            lambda: two.execute(
                query("due"),
                {"names": None, "poll_s": 60, "unserved": [], "queue": None, "idle": False, "task": "embed"},
            ).fetchall()
        )
        sleeps = "select wait_event = 'PgSleep' from pg_stat_activity where pid = %s"
        eventually(lambda: value(other, sleeps, pid))
        send(other, 2, 1)
        assert looking.result() == [(2, FRESH)]


@pytest.mark.slow
def test_many_pipelines(connection: psycopg.Connection) -> None:
    make_pipelines(connection, *(f"p{number}" for number in range(50)))
    for pipeline in range(1, 51):
        send(connection, pipeline, 1000 if pipeline == 1 else 4)
    assert due(connection) == list(range(1, 51))


@pytest.mark.parametrize("queue", ["nowhere", "PGEMBEDD_JOBS", "x; drop table documents", "", 'a"b', "embedding_jobs"])
def test_no_other_queue_of_pgmq_is_reached(two: psycopg.Connection, queue: str) -> None:
    """By no function that a worker may call."""
    two.execute("select pgmq.create('embedding_jobs'); select pgmq.send('embedding_jobs', '{\"id\": 1}')")
    for statement in (
        "select pgembedd_internal.due(lane => %s)",
        "select pgembedd_internal.claim(1, %s, 10, 60)",
        "select pgembedd_internal.fail(%s, 1, 0, 'x', 'x', true)",
        "select pgembedd_internal.release(%s, array[1], array[0], 0)",
        "select pgembedd_internal.extend(%s, array[1], array[0], 60)",
        "select pgembedd_internal.mark_alone(%s, 1, 0)",
        "select pgembedd_internal.store(%s, 1, array[1], array[0], array[null::bytea], array[null::vector], array[0])",
    ):
        with pytest.raises(psycopg.errors.UndefinedObject, match="pgembedd has no queue"):
            two.execute(statement, (queue,))
    assert rows(two, "select read_ct, message from pgmq.q_embedding_jobs") == [(0, {"id": 1})]


# -- What it costs -------------------------------------------------------------------------------------------


def read_from_index(connection: psycopg.Connection) -> int:
    connection.execute("select pg_stat_force_next_flush()")
    counted = "select idx_tup_read from pg_stat_user_indexes where indexrelid = %s::regclass"
    return int(value(connection, counted, INDEX))


@pytest.mark.slow
def test_jobs_that_cannot_be_claimed_are_not_looked_at(two: psycopg.Connection) -> None:
    """However many are under a lease or wait, and whatever the planner knows of it."""
    for pipeline in (1, 2):
        send(two, pipeline, 20_000)
    two.execute(f"update pgmq.q_{FRESH} set vt = now() + '1 h'")
    send(two, 1, 5)
    two.execute(f"vacuum pgmq.q_{FRESH}")
    before = read_from_index(two)
    assert (due(two), claim_of(two, 1), due(two), claim_of(two, 1)) == ([1], [1, 2, 3, 4, 5], [], [])
    assert read_from_index(two) - before < 100


def test_a_claim_does_not_believe_that_the_queue_is_empty(
    connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    """An ANALYZE before the commit of a bulk load has seen none of its jobs."""
    make_pipelines(connection, "big")
    with connection.transaction():
        send(connection, 1, 5000)
        other.execute(f"analyze pgmq.q_{FRESH}")
    assert value(connection, "select reltuples from pg_class where oid = %s::regclass", f"pgmq.q_{FRESH}") == 0
    before = read_from_index(connection)
    assert len(claim_of(connection, 1, 50)) == 50
    assert read_from_index(connection) - before < 1000


def explain_all(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Returns a list that the plan of each statement is added to from now on."""
    plans: list[dict[str, Any]] = []
    connection.add_notice_handler(lambda notice: plans.append(plan_of(notice)))
    connection.execute(
        "load 'auto_explain'; set auto_explain.log_level = notice; set auto_explain.log_min_duration = 0; "
        "set auto_explain.log_nested_statements = on; set auto_explain.log_format = json; "
        "set auto_explain.log_analyze = on; set auto_explain.log_timing = off; set client_min_messages = notice"
    )
    return plans


def test_a_store_compares_no_job_with_each_other(connection: psycopg.Connection) -> None:
    """Also where a nested loop seems cheaper, as it does to a planner that expects one job of the pipeline."""
    make_pipelines(connection, "documents")
    connection.execute("insert into documents (id, title) select i, 'title' from generate_series(1, 300) i")
    jobs = claim(connection, size=300)
    connection.execute("set enable_hashjoin = off")
    plans = explain_all(connection)
    assert set(store(connection, jobs)) == {"written"}
    locks = [plan["Plan"] for plan in plans if "order by q.msg_id for update of q" in plan["Query Text"]]
    assert [node.get("Rows Removed by Join Filter", 0) for plan in locks for node in nodes_of(plan)] != []
    assert max(node.get("Rows Removed by Join Filter", 0) for plan in locks for node in nodes_of(plan)) < 300


@pytest.mark.slow
def test_the_plans_of_claim_and_store_at_a_million_queued(connection: psycopg.Connection) -> None:
    """Every statement on the queues goes by an index; nothing sorts, and nothing scans."""
    make_pipelines(connection, "big", "small")
    connection.execute("insert into documents (id, title) select i, 'title' from generate_series(1, 100) i")
    connection.execute(f"truncate pgmq.q_{FRESH}")
    send(connection, 1, 900_000)
    send(connection, 2, 100_000)
    connection.execute(f"vacuum analyze pgmq.q_{FRESH}")
    plans = explain_all(connection)
    assert due(connection) == [1, 2]
    jobs = claim(connection, size=100)
    assert set(store(connection, jobs)) == {"written"}
    nodes = [node for plan in plans for node in nodes_of(plan["Plan"])]
    on_queue = [node for node in nodes if node.get("Relation Name") == f"q_{FRESH}" and "Scan" in node["Node Type"]]
    assert len(on_queue) >= 4, "the looks, the claim, the lock and the acknowledgement"
    assert {node["Node Type"] for node in on_queue} <= {
        "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan"
    }  # fmt: skip


def plan_of(notice: psycopg.errors.Diagnostic) -> dict[str, Any]:
    """The plan that auto_explain tells of."""
    plan: dict[str, Any] = json.loads((notice.message_primary or "").partition("plan:")[2])
    return plan


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A node of a plan and all below it."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes_of(child))]


# -- The index -----------------------------------------------------------------------------------------------


def test_the_queues_have_one_index_besides_their_key(connection: psycopg.Connection) -> None:
    for queue in (FRESH, BACKFILL):
        indexes = rows(
            connection, "select indexname from pg_indexes where tablename = %s order by indexname", f"q_{queue}"
        )
        assert indexes == [(f"q_{queue}_by_pipeline",), (f"q_{queue}_pkey",)]


def test_a_queue_of_another_role_needs_its_index_from_it(
    roles: Roles, empty_database: Database, connection: psycopg.Connection
) -> None:
    """As where an administrator made the queue, because pgmq lets only its owner."""
    role = roles.make("installer")
    with empty_database.connect() as admin:
        admin.execute("create extension vector")
        admin.execute(f"grant create on database {admin.info.dbname} to {role}")
    installer = psycopg.conninfo.make_conninfo(empty_database.conninfo, user=role, password="for tests")
    migrate(installer)
    with empty_database.connect() as admin, connect_as(empty_database, role) as owner:
        admin.execute(f"drop index pgmq.q_{FRESH}_by_pipeline; alter table pgmq.q_{FRESH} owner to postgres")
        admin.execute(f"grant select, insert, update, delete on pgmq.q_{FRESH} to {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="belongs to another role") as refused:
            owner.execute("select pgembedd_internal._ensure_queue(%s)", [FRESH])
        remedy = str(refused.value.diag.message_hint)
        assert remedy.startswith("Have an administrator run: create index q_pgembedd_fresh_by_pipeline on pgmq.")
        admin.execute(remedy.partition(": ")[2].rstrip("."))
        owner.execute("select pgembedd_internal._ensure_queue(%s)", [FRESH])

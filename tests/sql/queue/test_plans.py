"""No statement over a queue compares each of its messages with each job or key, whatever statistics it has.

Nor does a store compare each chunk, or each page, with each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.support.pages import contracts, read_files, store_pages
from tests.support.prepared import prepared_for
from tests.support.sql import BACKFILL, FRESH, claim, create_pipeline, extend, make_documents, release, store, value

ROWS, BATCH = 2000, 100
STORED = 200


def statistics_of_an_empty_queue(connection: psycopg.Connection) -> None:
    """As autovacuum leaves them where it comes when all is done, and the pages are still there."""
    for queue in (FRESH, BACKFILL):
        connection.execute(f"insert into pgmq.q_{queue} (vt, message) select now(), '{{}}' from generate_series(1, 9)")
        connection.execute(f"delete from pgmq.q_{queue}")
        connection.execute(f"analyze pgmq.q_{queue}")


def statistics_of_another_pipeline(connection: psycopg.Connection) -> None:
    """As during a large backfill of another pipeline, of whose messages alone they tell."""
    create_pipeline(connection, pipeline="other", embedding_column="other_vector", backfill=False)
    for queue in (FRESH, BACKFILL):
        connection.execute(
            f"insert into pgmq.q_{queue} (vt, message) select 'infinity', jsonb_build_object('id', i, 'pipeline', "
            "(select id from pgembedd_internal.pipeline where name = 'other')) from generate_series(1, %s) i",
            (ROWS,),
        )
        connection.execute(f"analyze pgmq.q_{queue}")


def statistics_of_an_emptied_table(connection: psycopg.Connection) -> None:
    """As an ANALYZE leaves them that comes between a DELETE and a load."""
    connection.execute("alter table documents set (autovacuum_enabled = off)")
    connection.execute("create table kept as table documents; delete from documents")
    connection.execute("analyze documents")
    connection.execute("insert into documents table kept")
    for queue in (FRESH, BACKFILL):
        connection.execute(f"delete from pgmq.q_{queue}")


def update_every_row(connection: psycopg.Connection) -> None:
    connection.execute("update documents set title = 'another'")


def ask_for_the_status_of_rows(connection: psycopg.Connection) -> None:
    connection.execute(
        f"select * from pgembedd.row_status('documents', array(select to_jsonb(i) from generate_series(1, {BATCH}) i))"
    )


def requeue(connection: psycopg.Connection) -> None:
    connection.execute(
        "select pgembedd.requeue('documents', array(select to_jsonb(i) from generate_series(1, %s) i))", (BATCH,)
    )


STATEMENTS: dict[str, Callable[[psycopg.Connection], object]] = {
    "claim and store": lambda connection: store(connection, claim(connection, size=BATCH)),
    "release": lambda connection: release(connection, claim(connection, size=BATCH)),
    "extend": lambda connection: extend(connection, claim(connection, size=BATCH)),
    "update": update_every_row,
    "backfill": lambda connection: value(connection, "select pgembedd.backfill('documents')"),
    "sweep": lambda connection: value(connection, "select pgembedd.sweep()"),
    "requeue": requeue,
    "row_status": ask_for_the_status_of_rows,
    "verify": lambda connection: connection.execute(
        "select * from pgembedd_internal._look_at('documents', "
        "array(select to_jsonb(i) from generate_series(1, %s) i), true)",
        (BATCH,),
    ),
}


STATISTICS = {
    made.__name__: made
    for made in (statistics_of_an_empty_queue, statistics_of_another_pipeline, statistics_of_an_emptied_table)
}


@prepared_for(*STATISTICS)
def queued(connection: psycopg.Connection, statistics: str) -> None:
    """A table all of whose rows are queued in both lanes, and statistics that know of none of them."""
    make_documents(connection, ROWS)
    create_pipeline(connection, backfill=False)
    for queue in (FRESH, BACKFILL):
        connection.execute(f"alter table pgmq.q_{queue} set (autovacuum_enabled = off)")
    STATISTICS[statistics](connection)
    for queue in (FRESH, BACKFILL):
        connection.execute(
            f"insert into pgmq.q_{queue} (vt, message) select clock_timestamp(), jsonb_build_object("
            "'id', i, 'pipeline', (select id from pgembedd_internal.pipeline where name = 'documents')) "
            "from generate_series(1, %s) i",
            (ROWS,),
        )


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_statement_compares_all_with_all(queued: psycopg.Connection, statement: str) -> None:
    with explained(queued) as seen:
        STATEMENTS[statement](queued)
    assert any(node.get("Relation Name", "").startswith("q_pgembedd_") for node in seen)
    assert max(map(rows_seen, seen)) <= 10 * ROWS


def store_chunks(connection: psycopg.Connection) -> None:
    """Rows of which each gets a chunk, and keeps four that are there already, in other places."""
    make_documents(connection)
    create_pipeline(connection, embedding_column=None, embedding_table="chunks")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'model'")
    connection.execute(
        "insert into documents (id, content) select i, format(E'a%%1$s\\n\\nb%%1$s\\n\\nc%%1$s\\n\\nd%%1$s', i) "
        "from generate_series(1, %s) i",
        (STORED,),
    )
    for _ in range(2):
        assert set(store(connection, claim(connection, size=STORED))) == {"written"}
        connection.execute("update documents set content = format(E'new %s\\n\\n', id) || content")


def store_files(connection: psycopg.Connection) -> None:
    """Files of four pages, of which one changes."""
    contracts(connection)
    connection.execute(
        "insert into contracts (id, file) select i, convert_to(format(E'a%%1$s\\fb\\fc\\fd', i), 'UTF8') "
        "from generate_series(1, %s) i",
        (STORED,),
    )
    for _ in range(2):
        jobs = claim(connection, size=STORED, pipeline=value(connection, "select id from pgembedd_internal.pipeline"))
        assert set(store_pages(connection, jobs, read_files(connection, jobs, most_bytes=10**6))) == {"written"}
        connection.execute("update contracts set file = 'new'::bytea || file")


@pytest.mark.parametrize("work", [store_chunks, store_files])
def test_no_store_compares_all_chunks_with_all(
    connection: psycopg.Connection, work: Callable[[psycopg.Connection], None]
) -> None:
    with explained(connection) as seen:
        work(connection)
    assert {"had", "due"} & {node.get("CTE Name") for node in seen}
    assert max(map(rows_seen, seen)) <= 50 * STORED


@contextmanager
def explained(connection: psycopg.Connection) -> Iterator[list[dict[str, Any]]]:
    """The nodes of the plans of all statements of the block, once it has ended."""
    plans: list[str] = []
    seen: list[dict[str, Any]] = []
    connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    connection.execute(
        "load 'auto_explain'; set auto_explain.log_level = notice; set auto_explain.log_min_duration = 0; "
        "set auto_explain.log_nested_statements = on; set auto_explain.log_format = json; "
        "set auto_explain.log_analyze = on; set auto_explain.log_timing = off; set client_min_messages = notice"
    )
    yield seen
    seen += (node for plan in plans if "plan:" in plan for node in nodes_of(json.loads(plan.partition("plan:")[2])))


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan."""
    if "Node Type" in plan:
        yield plan
    for child in plan.get("Plans", [plan["Plan"]] if "Plan" in plan else []):
        yield from nodes_of(child)


def rows_seen(node: dict[str, Any]) -> float:
    """Rows that a node of a plan gave and left out."""
    removed = sum(number for name, number in node.items() if name.startswith("Rows Removed"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])

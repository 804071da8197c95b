"""The servers that offer pgmq as an extension do offer it, each in its version."""

from __future__ import annotations

from tests.support.databases import Database
from tests.support.pgmq_extension import CURRENT, PgmqServer

COLUMNS = """
    select attname from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
"""


def columns(database: Database, relation: str) -> list[str]:
    with database.connect() as connection:
        return [name for (name,) in connection.execute(COLUMNS, [relation]).fetchall()]


def test_the_extension_installs_in_its_version(pgmq_server: PgmqServer, pgmq_database: Database) -> None:
    with pgmq_database.connect() as connection:
        connection.execute("create extension pgmq")
        found = connection.execute("select extversion from pg_extension where extname = 'pgmq'").fetchone()
        connection.execute("select pgmq.create('jobs')")
    assert found == (pgmq_server.version,)
    record, queue = columns(pgmq_database, "pgmq.message_record"), columns(pgmq_database, "pgmq.q_jobs")
    print(f"pgmq {pgmq_server.version}: message_record {record}, queue table {queue}")
    old = ["msg_id", "read_ct", "enqueued_at", "vt", "message", "headers"]
    assert set(old) <= set(record)
    assert set(old) <= set(queue)
    assert ("last_read_at" in record) == ("last_read_at" in queue) == (pgmq_server.version == CURRENT)


def test_a_message_goes_round(pgmq_database: Database) -> None:
    with pgmq_database.connect() as connection:
        connection.execute("create extension pgmq")
        connection.execute("select pgmq.create('jobs')")
        connection.execute("""select pgmq.send('jobs', '{"id": 1}'::jsonb)""")
        read = connection.execute("select msg_id, read_ct, message from pgmq.read('jobs', 30, 5)").fetchall()
        assert read == [(1, 1, {"id": 1})]
        assert connection.execute("select msg_id from pgmq.set_vt('jobs', 1, 0)").fetchall() == [(1,)]
        assert connection.execute("select queue_length from pgmq.metrics('jobs')").fetchone() == (1,)
        assert connection.execute("select pgmq.delete('jobs', 1)").fetchone() == (True,)
        assert connection.execute("select queue_name from pgmq.list_queues()").fetchall() == [("jobs",)]

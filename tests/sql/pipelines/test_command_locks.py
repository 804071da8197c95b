"""What locks a table does not wait long for it, because its writers stand in line behind."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import create_pipeline, make_documents, value
from tests.support.waiting import PATIENCE_S

ON_UPDATE = "select tgname from pg_trigger where tgrelid = 'documents'::regclass and tgname like '%update'"
COMMANDS = {
    "create": "select pgembedd.create_pipeline('again', 'documents', array['title'], embedding_column => 'second', "
    "dimensions => 3)",
    "alter": "select pgembedd.alter_pipeline('documents', content_columns => array['title'])",
    "drop": "select pgembedd.drop_pipeline('documents')",
    "change": "select pgembedd.change_model('documents', 'another', 3)",
    "resume": "select pgembedd.resume('documents')",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_up_soon_behind_a_long_transaction(
    connection: psycopg.Connection, other: psycopg.Connection, command: str
) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    if command == "resume":
        connection.execute("select pgembedd.pause('documents')")
        connection.execute(f"drop trigger {value(connection, ON_UPDATE)} on documents")
    before = value(
        connection, "select array_agg((p.name, p.state) order by p.id)::text from pgembedd_internal.pipeline p"
    )
    with other.transaction(force_rollback=True):
        other.execute("update documents set title = 'later'")
        connection.execute(f"set statement_timeout = '{PATIENCE_S}s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(COMMANDS[command].encode())
    assert before == value(
        connection, "select array_agg((p.name, p.state) order by p.id)::text from pgembedd_internal.pipeline p"
    )
    connection.execute(COMMANDS[command].encode())

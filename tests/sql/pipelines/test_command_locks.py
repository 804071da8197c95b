"""What locks a table does not wait long for it, because its writers stand in line behind."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.refusals import refused
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
DONE = {"create": "created", "alter": "altered", "drop": "dropped", "change": "created", "resume": "resumed"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["alter", "drop", "resume"])
def test_of_two_that_change_a_pipeline_the_later_is_told_of_the_other(
    connection: psycopg.Connection, other: psycopg.Connection, command: str
) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    sentence = f'The pipeline "documents" cannot be {DONE[command]} now: another session changes it.'
    with other.transaction(force_rollback=True):
        other.execute("select pgembedd.pause('documents')")
        with refused(sentence, "Call it again"):
            connection.execute(COMMANDS[command].encode())


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
        pid, name = (
            value(other, "select pg_backend_pid()"),
            {"create": "again", "change": "documents.next"}.get(command),
        )
        sentence = f'The pipeline "{name or "documents"}" cannot be {DONE[command]} now: '
        with refused(f"{sentence}public.documents is in use by pid {pid}.", "Call it again when that transaction has"):
            connection.execute(COMMANDS[command].encode())
    assert before == value(
        connection, "select array_agg((p.name, p.state) order by p.id)::text from pgembedd_internal.pipeline p"
    )
    connection.execute(COMMANDS[command].encode())

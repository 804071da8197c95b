"""The errors of `pgembedd run` when it cannot start: one sentence and the documented exit code."""

from __future__ import annotations

import signal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import insert, make_documents, waiting
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

CONFIGURATION, UNREACHABLE = 2, 3


def refusal(database: str, code: int) -> str:
    """The sentence that `pgembedd run` ends with."""
    return pgembedd("run", database=database).refused(code)


@pytest.mark.parametrize("command", ["run", "status"])
@pytest.mark.parametrize(
    ("changed", "code", "sentence"),
    [
        (
            "postgresql://me@127.0.0.1:1/db",
            UNREACHABLE,
            'The database "db" at 127.0.0.1:1 (as me) cannot be reached: Connection refused.',
        ),
        ("postgresql://me@no-such-host.invalid/db", UNREACHABLE, '"db" at no-such-host.invalid'),
        (
            {"password": "guessed"},
            UNREACHABLE,
            'refuses the connection: password authentication failed for user "postgres". Correct the',
        ),
        ({"dbname": "nowhere"}, UNREACHABLE, 'database "nowhere" does not exist'),
        ("my database", CONFIGURATION, "DATABASE_URL cannot be read"),
    ],
)
def test_a_database_that_cannot_be_had(
    database: Database, command: str, changed: str | dict[str, str], code: int, sentence: str
) -> None:
    conninfo = changed if isinstance(changed, str) else make_conninfo(database.conninfo, **changed)
    said = pgembedd(command, database=conninfo).refused(code)
    assert sentence in said
    assert "guessed" not in said


def test_no_database_is_named() -> None:
    assert "No database is named" in pgembedd("status", PGEMBEDD_POSTGRES_DIR="/nonexistent/here").refused(2)


def test_a_role_without_rights(database: Database, roles: Roles) -> None:
    role = roles.make("stranger")
    said = refusal(conninfo_as(database, role), CONFIGURATION)
    assert f"pgembedd.grant_worker('\"{role}\"')" in said


def test_a_role_that_may_only_search(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    role = roles.make("searcher")
    connection.execute("select pgembedd.grant_search(%s)", [role])
    said = refusal(conninfo_as(database, role), CONFIGURATION)
    grant = f"select pgembedd.grant_worker('\"{role}\"')"
    assert said == (
        f'pgembedd: The role "{role}" may not work the queue: as the role that ran the migrations, run `{grant}`.'
    )
    connection.execute(grant.encode())
    with WorkerProcess(conninfo_as(database, role)) as worker:
        worker.await_event("worker_started")


def test_a_pipeline_that_is_not_there(database: Database, connection: psycopg.Connection) -> None:
    run = ("run", "--pipeline", "letter")
    none = pgembedd(*run, database=database.conninfo)
    assert none.refused(CONFIGURATION) == 'pgembedd: There is no pipeline "letter". There is none yet.'
    make_documents(connection, "letters")
    other = pgembedd(*run, database=database.conninfo)
    assert other.refused(CONFIGURATION) == 'pgembedd: There is no pipeline "letter". There are: letters.'


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("eval", "x", "y", "--tolerance", "nan"), "Invalid value for '--tolerance': 'nan' is no number."),
        (("ask", "x", "--timeout-s", "nan"), "Invalid value for '--timeout-s': 'nan' is no number."),
        (("ask", "x", "--k", "few"), "Invalid value for '--k' / '-n': 'few' is not a valid integer."),
        (("verify", "--sample", "few"), "Invalid value for '--sample': 'few' is not a valid integer."),
    ],
)
def test_an_option_that_is_no_number(command: tuple[str, ...], sentence: str) -> None:
    refused = pgembedd(*command, database="postgresql://me@127.0.0.1:1/db")
    assert (refused.code, refused.err.splitlines()[-1]) == (CONFIGURATION, f"Error: {sentence}")


def test_settings_out_of_range(database: Database) -> None:
    assert pgembedd("nonsense").code == CONFIGURATION
    for arguments in (["--lease-s", "0"], ["--wait", "long"], ["--claim-size", "many"], ["--claim-size", "-1"]):
        outcome = pgembedd("run", *arguments, database=database.conninfo)
        assert outcome.code == CONFIGURATION
        assert arguments[0] in outcome.err
        assert "Traceback" not in outcome.err
    many = pgembedd("run", database=database.conninfo, PGEMBEDD_CLAIM_SIZE="many").err
    assert "(env var: 'PGEMBEDD_CLAIM_SIZE'): 'many' is not a valid integer." in many
    long = pgembedd("run", "--grace-s", "long", database=database.conninfo).err
    assert "'--grace-s' (env var: 'PGEMBEDD_GRACE_S'): 'long' is not a valid number." in long


@pytest.mark.slow
def test_a_model_that_is_not_here_is_never_replaced(
    database: Database, connection: psycopg.Connection, tmp_path: object
) -> None:
    """gte-small without network and with an empty cache, although the stand-in's files could be had."""
    make_documents(connection, model="gte-small")
    insert(connection, [1])
    away = {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{tmp_path}/hub"}
    with WorkerProcess(database.conninfo, **away, PGEMBEDD_CACHE_DIR=f"{tmp_path}/cache") as worker:
        worker.await_event("worker_started")
        eventually(lambda: value(connection, "select state from pgembedd.status") == "unserved")
        sentence = value(connection, "select reason from pgembedd.status")
        assert sentence.startswith("gte-small could not be fetched from the Hugging Face Hub (HF_HUB_OFFLINE is set)")
        assert "take the model all-MiniLM-L6-v2" in sentence
        checked = pgembedd("doctor", database=database.conninfo)
        assert checked.code == 1
        assert f"unserved\n      → {sentence}" in checked.out
        listed = pgembedd("status", database=database.conninfo).out
        assert "unserved" in listed
        assert f"documents: {sentence}" in listed
        refused = pgembedd("backfill", "documents", database=database.conninfo).refused(1)
        assert f"is unserved, with 1 job waiting: {sentence}" in refused
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert len(worker.named("model_refused")) == 1
    assert [job.read_ct for job in waiting(connection)] == [0]

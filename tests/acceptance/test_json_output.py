"""What `--json` prints of times: numbers of seconds with `_s`, moments in ISO 8601. `ask` is tested with its worker."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from pgembedd.cli import COMMANDS, cli
from tests.acceptance.test_cli import documents, model
from tests.acceptance.test_events_command import following
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.json_fields import breaches

__all__ = ["documents", "model"]

ARGUMENTS = {
    "status": [],
    "truncated": [],
    "search": ["engine oil", "--mode", "text"],
    "verify": ["docs"],
    "eval": ["docs", "{questions}"],
    "parse": ["{questions}"],
}
ELSEWHERE = {"ask", "events", "try"}


def test_every_command_that_prints_json_is_here() -> None:
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    printing = {
        name
        for name, command in commands.items()
        if command is not None and any("--json" in option.opts for option in command.params)
    }
    assert printing == ARGUMENTS.keys() | ELSEWHERE


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("verify", "eval"))) for name in ARGUMENTS],
)
def test_times_have_their_unit(documents: Database, tmp_path: Path, command: str) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "oil for the engine of a car", "relevant": ["car"]}')
    with documents.connect() as connection:
        connection.execute("insert into pgembedd_internal.row_state values (1, '\"car\"', 'truncated', 7)")
        connection.execute("insert into pgembedd_internal.activity values (now(), 1, 3, 0, 0, 0, '1 min')")
        connection.execute("update pgembedd_internal.pipeline set index_due_at = now() + interval '1 h'")
        connection.execute("select pgembedd.sweep()")
    arguments = [one.format(questions=questions) for one in ARGUMENTS[command]]
    printed = pgembedd(command, *arguments, "--json", database=documents.conninfo)
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert lines, printed
    assert [*breaches(lines)] == []
    if command == "status":
        assert {name for name, shown in lines[0].items() if name.endswith(("_s", "_at")) and shown is not None} == {
            "oldest_age_s", "lag_s", "time_left_s", "index_due_at"
        }  # fmt: skip


def test_times_of_events(documents: Database) -> None:
    with documents.connect() as connection, following(documents, connection, "--json") as follower:
        connection.execute("select pgembedd_internal._notify_stored(1, 'letters', array['written'], '1.5 s')")
        event = json.loads(follower.line())
        assert follower.interrupted() == (0, "", "")
    assert event["lag_s"] == 1.5
    assert [*breaches(event)] == []


@pytest.mark.parametrize(
    "field",
    [
        {"lag": 3.5}, {"lag_s": "00:00:03"}, {"took": "00:00:03"}, {"a": [{"time_left": 3}]}, {"since": "yesterday"},
        {"died_at": 1764000000}, {"died_at": "2026-11-24T17:00:00"}, {"pause": "1 day 02:00:00"},
    ],
)  # fmt: skip
def test_what_breaks_the_rule(field: dict[str, object]) -> None:
    assert len([*breaches(field)]) == 1

"""The group of commands: its help without their modules, and where a command logs to."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest

from pgembedd.cli import COMMANDS, cli
from pgembedd.cli.options import open_database
from pgembedd.log import get_logger

LOADED = """
import sys
from pgembedd.cli import COMMANDS, cli
cli.main(["--help"], standalone_mode=False)
print([module for module in COMMANDS.values() if f"pgembedd.cli.{module}" in sys.modules])
"""


def test_the_help_names_every_command_with_its_own_words() -> None:
    context = click.Context(cli, info_name="pgembedd", terminal_width=400)
    lines = cli.get_help(context).splitlines()
    for name, module in COMMANDS.items():
        command = import_module(f"pgembedd.cli.{module}").command
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.removeprefix(f"  {name}").strip() == command.get_short_help_str(limit=400)


def test_the_help_loads_no_command() -> None:
    outcome = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert outcome.stdout.splitlines()[-1] == "[]"


def test_a_command_logs_warnings_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with open_database("postgresql://here/db"):
        get_logger().info("quiet")
        get_logger().warning("loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert "loud" in err
    assert "quiet" not in err

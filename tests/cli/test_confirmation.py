"""What cannot be had back is deleted after a yes on a terminal, or with --yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.sql import connected, value

HAS_SCHEMA = "select to_regnamespace('pgembedd') is not null"


def answered(answer: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a command on a terminal, where this is typed, and what it printed there."""
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "pgembedd", *arguments]
    with subprocess.Popen(
        command, stdin=its_end, stdout=its_end, stderr=its_end, env={**os.environ, **environment}
    ) as process:
        os.close(its_end)
        os.write(terminal, f"{answer}\n".encode())
        said = b""
        with suppress(OSError):  # the other side has closed
            while part := os.read(terminal, 65536):
                said += part
    os.close(terminal)
    return process.returncode, said.decode()


@pytest.mark.slow
def test_uninstall_asks_on_a_terminal(database: Database) -> None:
    with connected(database) as connection:
        code, said = answered("n", "uninstall", "-d", database.conninfo)
        assert (code, value(connection, HAS_SCHEMA)) == (1, True)
        assert f'from "{database.name}" at' in said
        assert "Nothing was removed." in said
        assert answered("", "uninstall", "-d", database.conninfo)[0] == 1, "no is the default"
        assert pgembedd("uninstall", database=database.conninfo).refused(2).endswith("add --yes.")
        assert value(connection, HAS_SCHEMA) is True
        code, said = answered("y", "uninstall", "-d", database.conninfo)
        assert (code, "is removed from" in said, value(connection, HAS_SCHEMA)) == (0, True, False), said


def test_removing_the_private_server_asks(tmp_path: Path) -> None:
    data_dir = tmp_path / "postgres"
    data_dir.mkdir()
    where = str(data_dir)
    assert (
        pgembedd("postgres", "remove", PGEMBEDD_POSTGRES_DIR=where)
        .refused(2)
        .endswith("There is no terminal to ask at: add --yes.")
    )
    code, said = answered("n", "postgres", "remove", PGEMBEDD_POSTGRES_DIR=where)
    assert (code, data_dir.exists()) == (1, True), said
    assert str(data_dir) in said
    assert pgembedd("postgres", "remove", "--quiet", "--yes", PGEMBEDD_POSTGRES_DIR=where).code == 0
    assert not data_dir.exists()
    assert pgembedd("postgres", "remove", PGEMBEDD_POSTGRES_DIR=where).code == 0, (
        "where there is nothing, it does not ask"
    )
